//! The transactional outbox: a row and the event that it causes commit together; a relay publishes.
//!
//! The relay publishes, then forgets what it published: a crash between the two publishes again,
//! and consumers know an event by its id. It reads whatever is there, oldest first, and keeps no
//! position: a transaction that commits late is not skipped, only later.
//!
//! Of several replicas one relay at a time publishes, so that the order of a key's events is kept:
//! the one that holds the store's lease. The others tell it what they committed.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use jiff::Timestamp;
use prometheus::{IntGaugeVec, opts, register_int_gauge_vec};
use shared_middleware::{
    clock::Clock,
    error::causes,
    identity::Part,
    metrics::counter,
    spans::{self, Kind, Span, Value},
    trace_context::TraceContext,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    db::{Db, DbError, Engine, Tx},
    lease::{Held, Leased},
    log::{
        CONTENT_TYPE, EVENT_ID, EVENT_TYPE, EventLog, LogError, PROTOBUF, Record, TRACEPARENT,
        headers_json, parse_headers,
    },
    params,
    task::Task,
};

/// So many events are published at once at most.
const BATCH_MAX: u32 = 512;
/// A relay that was not woken looks anyway: another process may have written, and died since.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// A long outbox is counted no more often: to count takes as long as there are rows.
const COUNTED_EVERY: Duration = Duration::from_secs(1);
/// The lease of the relay that publishes.
const LEASE: &str = "outbox";
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
const BACK_OFF_LAST: Duration = Duration::from_secs(5);

static PENDING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("outbox_pending", "Events that are committed and not yet published.");
    register_int_gauge_vec!(options, &["service"]).expect("the name is registered once")
});
static OLDEST_AGE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("outbox_oldest_age_seconds", "Age of the oldest event not yet published.");
    register_int_gauge_vec!(options, &["service"]).expect("the name is registered once")
});
static PUBLISHED: LazyLock<prometheus::IntCounterVec> =
    LazyLock::new(|| counter("events_published_total", "Events published.", &["topic"]));

/// An event to be.
pub struct Event {
    /// Where it is published.
    pub topic: &'static str,
    /// Whose order is kept.
    pub key: String,
    /// Its id.
    pub id: uuid::Uuid,
    /// What happened.
    pub kind: &'static str,
    /// What is said of it: protobuf.
    pub payload: Vec<u8>,
    /// When it was caused.
    pub at: Timestamp,
    /// The trace that it was caused in.
    pub trace: Option<TraceContext>,
}

/// A service's outbox.
#[derive(Clone)]
pub struct Outbox {
    service: Part,
    db: Db,
    log: Arc<dyn EventLog>,
    clock: Clock,
    wake: Arc<Notify>,
}

/// What one look into the outbox found.
struct Waiting {
    ids: Vec<i64>,
    records: Vec<(String, Record)>,
    /// How many there are, if that was counted.
    pending: Option<i64>,
    oldest: Option<Timestamp>,
}

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Writes an event in the caller's transaction. Call [`Outbox::wake`] once that has committed.
pub async fn append(tx: &mut Tx<'_>, event: Event) -> Result<(), DbError> {
    let mut headers = vec![
        (EVENT_ID.to_owned(), event.id.to_string()),
        (EVENT_TYPE.to_owned(), event.kind.to_owned()),
        (CONTENT_TYPE.to_owned(), PROTOBUF.to_owned()),
    ];
    if let Some(trace) = event.trace {
        headers.push((TRACEPARENT.to_owned(), trace.traceparent()));
    }
    tx.execute(
        "insert into outbox (topic, record_key, headers, payload, created_at)
         values ($1, $2, $3, $4, $5)",
        params![event.topic, event.key, headers_json(&headers), event.payload, event.at],
    )
    .await?;
    Ok(())
}

// === impl Outbox ===

impl Outbox {
    /// The outbox in this store, published to this log.
    pub fn new(service: Part, db: Db, log: Arc<dyn EventLog>, clock: Clock) -> Self {
        Self { service, db, log, clock, wake: Arc::new(Notify::new()) }
    }

    /// Tells the relay that there is something to publish.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The task that publishes.
    pub fn relay(&self) -> Task {
        let outbox = self.clone();
        Task::new("outbox relay", move |stop| async move { outbox.run(stop).await })
    }

    async fn run(&self, stop: CancellationToken) {
        let lease = Leased::new(self.db.clone(), LEASE, Arc::clone(&self.wake));
        let publish = |held| async {
            self.publish_while_held(held, &stop).await;
            self.show_nothing();
        };
        lease.run(&stop, publish).await;
    }

    async fn publish_while_held(&self, lease: Held, stop: &CancellationToken) {
        let (mut back_off, mut counted) = (BACK_OFF_FIRST, None);
        while lease.is_held() {
            // Asked before it looks: what was committed before the stop is seen by this look.
            let stopping = stop.is_cancelled();
            let pause = match self.publish_some(&mut counted).await {
                Ok(true) => {
                    back_off = BACK_OFF_FIRST;
                    continue;
                }
                Ok(false) if stopping => return,
                Ok(false) => {
                    back_off = BACK_OFF_FIRST;
                    LOOKED_AT_EVERY
                }
                Err(_) if stopping => return,
                Err(error) => {
                    self.warn(&error);
                    let pause = back_off;
                    back_off = (back_off * 2).min(BACK_OFF_LAST);
                    pause
                }
            };
            tokio::select! {
                () = lease.woken() => {}
                () = sleep(pause) => {}
                // What is committed is published once more before the end, if it can be.
                () = stop.cancelled() => {}
            }
        }
    }

    /// Publishes what waits, at most a batch; tells whether there may be more.
    async fn publish_some(&self, counted: &mut Option<Instant>) -> Result<bool, RelayError> {
        let count = counted.is_none_or(|at| at.elapsed() >= COUNTED_EVERY);
        let waiting = self.db.read(move |tx| Box::pin(waiting(tx, count))).await?;
        if count && waiting.pending.is_some() {
            *counted = Some(Instant::now());
        }
        self.show(&waiting);
        if waiting.ids.is_empty() {
            return Ok(false);
        }
        let mut topics: Vec<(String, Vec<Record>)> = Vec::new();
        for (topic, record) in waiting.records {
            match topics.iter_mut().find(|(name, _)| *name == topic) {
                Some((_, records)) => records.push(record),
                None => topics.push((topic, vec![record])),
            }
        }
        for (topic, mut records) in topics {
            let (count, started) = (records.len() as u64, Instant::now());
            let traces: Vec<_> = records.iter_mut().filter_map(below_its_cause).collect();
            self.log.publish(&topic, records).await?;
            for trace in traces {
                spans::ended(&trace, started.elapsed(), || self.span());
            }
            PUBLISHED.with_label_values(&[topic.as_str()]).inc_by(count);
        }
        let ids = waiting.ids;
        self.db.write(|tx| Box::pin(forget(tx, ids))).await?;
        Ok(true)
    }

    fn span(&self) -> Span {
        Span {
            service: self.service,
            name: "publish".to_owned(),
            kind: Kind::Producer,
            failed: false,
            attributes: vec![("messaging.operation.type", Value::Text("send"))],
        }
    }

    fn warn(&self, error: &(dyn std::error::Error + 'static)) {
        let error = causes(error);
        tracing::warn!(service = %self.service, error, "cannot publish events");
    }

    fn show(&self, waiting: &Waiting) {
        let age_s = waiting
            .oldest
            .map_or(0, |oldest| self.clock.now().as_second().saturating_sub(oldest.as_second()));
        if let Some(pending) = waiting.pending {
            PENDING.with_label_values(&[self.service.as_str()]).set(pending);
        }
        OLDEST_AGE.with_label_values(&[self.service.as_str()]).set(age_s.max(0));
    }

    /// Another replica tells from now on.
    fn show_nothing(&self) {
        let _ = PENDING.remove_label_values(&[self.service.as_str()]);
        let _ = OLDEST_AGE.remove_label_values(&[self.service.as_str()]);
    }
}

/// The publication's own span in the trace of what caused the event, which readers go on from;
/// nothing when that trace is not kept.
fn below_its_cause(record: &mut Record) -> Option<TraceContext> {
    let (_, header) = record.headers.iter_mut().find(|(name, _)| name == TRACEPARENT)?;
    let cause = TraceContext::parse(header).filter(TraceContext::is_sampled)?;
    let trace = cause.child();
    *header = trace.traceparent();
    Some(trace)
}

async fn waiting(tx: &mut Tx<'_>, count: bool) -> Result<Waiting, DbError> {
    let rows = tx
        .query(
            "select id, topic, record_key, headers, payload, created_at from outbox
             order by id limit $1",
            params![BATCH_MAX],
        )
        .await?;
    let all = rows.len() < BATCH_MAX as usize;
    let pending = match (all, count) {
        (true, _) => Some(i64::try_from(rows.len()).unwrap_or(i64::MAX)),
        (false, true) => Some(tx.query_one("select count(*) from outbox", &[]).await?.get(0)?),
        (false, false) => None,
    };
    let oldest = rows.first().map(|row| row.get(5)).transpose()?;
    let (mut ids, mut records) = (Vec::new(), Vec::new());
    for row in rows {
        ids.push(row.get(0)?);
        let record = Record {
            key: row.get(2)?,
            headers: parse_headers(&row.get::<String>(3)?)?,
            payload: row.get(4)?,
        };
        records.push((row.get(1)?, record));
    }
    Ok(Waiting { ids, records, pending, oldest })
}

async fn forget(tx: &mut Tx<'_>, ids: Vec<i64>) -> Result<(), DbError> {
    let ids = serde_json::to_string(&ids).expect("numbers are JSON");
    let sql = match tx.engine() {
        Engine::Sqlite => "delete from outbox where id in (select value from json_each($1))",
        Engine::Postgres => {
            "delete from outbox where id in
             (select cast(value as bigint)
             from json_array_elements_text(cast(cast($1 as text) as json)))"
        }
    };
    tx.execute(sql, params![ids]).await.map(drop)
}
