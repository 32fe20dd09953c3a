//! The transactional outbox: a row and the event that it causes commit together; a relay publishes.
//!
//! The relay publishes, then forgets what it published: a crash between the two publishes again,
//! and consumers know an event by its id. It reads whatever is there, oldest first, and keeps no
//! position: a transaction that commits late is not skipped, only later.
//!
//! Of several replicas one relay at a time publishes, so that the order of a key's events is kept:
//! the one that holds the store's lease. The others notify it of what they committed. What waits is
//! measured by each of them, and not by the relay: it might be the relay that hangs.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use jiff::Timestamp;
use prometheus::{IntGaugeVec, opts, register_int_gauge_vec};
use shared_middleware::{
    back_off::BackOff,
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
    db::{Db, DbError, Tx, many},
    lease::{Held, LeasedTask},
    log::{
        CONTENT_TYPE, EVENT_ID, EVENT_TYPE, EventLog, LogError, PROTOBUF, Record, TRACEPARENT,
        headers_json, parse_headers,
    },
    params,
    task::Task,
};

/// This many events are published at once at most.
const BATCH_MAX: u32 = 512;
/// When events come one after the other, so much time passes between two looks.
const GATHERED_FOR: Duration = Duration::from_millis(3);
/// A relay that was not woken looks anyway: another process may have written, and died since.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// What waits is measured so often.
const MEASURED_EVERY: Duration = Duration::from_secs(1);
/// The lease of the relay that publishes.
const LEASE: &str = "outbox";
const BACK_OFF: BackOff = BackOff::new(Duration::from_millis(100), Duration::from_secs(5));

static PENDING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("outbox_pending", "Events that are committed and not yet published.");
    register_int_gauge_vec!(options, &["service"]).expect("the name is registered once")
});
static OLDEST_AGE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("outbox_oldest_age_seconds", "Age of the oldest event not yet published.");
    register_int_gauge_vec!(options, &["service"]).expect("the name is registered once")
});
static RELAYING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("outbox_relaying", "Whether this process publishes what waits: 1 or 0.");
    register_int_gauge_vec!(options, &["service"]).expect("the name is registered once")
});
static PUBLISHED: LazyLock<prometheus::IntCounterVec> =
    LazyLock::new(|| counter("events_published_total", "Events published.", &["topic"]));

/// An event to be.
#[derive(Clone)]
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
    let values =
        params![event.topic, event.key, headers_json(&headers), event.payload, event.at].to_vec();
    tx.insert_at_commit("outbox", "topic, record_key, headers, payload, created_at", values).await
}

// === impl Outbox ===

impl Outbox {
    /// The outbox in this store, published to this log.
    pub fn new(service: Part, db: Db, log: Arc<dyn EventLog>, clock: Clock) -> Self {
        Self { service, db, log, clock, wake: Arc::new(Notify::new()) }
    }

    /// Notifies the relay that there is something to publish.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The task that publishes.
    pub fn relay(&self) -> Task {
        let outbox = self.clone();
        Task::new("outbox relay", move |stop| async move { outbox.run(stop).await })
    }

    /// The task that measures what waits, for the metrics.
    pub fn gauge(&self) -> Task {
        let outbox = self.clone();
        Task::new("outbox gauge", move |stop| async move { outbox.measure(stop).await })
    }

    async fn run(&self, stop: CancellationToken) {
        let lease = LeasedTask::new(self.db.clone(), LEASE, Arc::clone(&self.wake));
        let relaying = RELAYING.with_label_values(&[self.service.as_str()]);
        relaying.set(0);
        let publish = |held| async {
            relaying.set(1);
            self.publish_while_held(held, &stop).await;
            relaying.set(0);
        };
        lease.run(&stop, publish).await;
    }

    async fn publish_while_held(&self, lease: Held, stop: &CancellationToken) {
        let mut back_off = BACK_OFF;
        let mut last_look = None::<Instant>;
        while lease.is_held() {
            // Checked before it looks: what was committed before the stop is seen by this
            // look.
            let stopping = stop.is_cancelled();
            // A batch costs more than an event: when they come one after the other, some are waited
            // for. Where nothing came for a while, nothing waits.
            if let Some(last) = last_look.filter(|_| !stopping) {
                sleep(GATHERED_FOR.saturating_sub(last.elapsed())).await;
            }
            last_look = Some(Instant::now());
            let pause = match self.publish_some().await {
                Ok(true) => {
                    back_off.reset();
                    continue;
                }
                Ok(false) if stopping => return,
                Ok(false) => {
                    back_off.reset();
                    LOOKED_AT_EVERY
                }
                Err(_) if stopping => return,
                Err(error) => {
                    self.warn(&error);
                    back_off.next_pause()
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

    /// Publishes what waits, at most a batch; returns whether there may be more.
    async fn publish_some(&self) -> Result<bool, RelayError> {
        let waiting = self.db.read_by_key(|tx| Box::pin(waiting(tx))).await?;
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
        // Should it be lost, they are published once more.
        let may_be_more = ids.len() >= BATCH_MAX as usize;
        self.db.write_soon(|tx| Box::pin(forget(tx, ids))).await?;
        Ok(may_be_more)
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

    /// Shows what waits, until it is stopped. While the store does not say, the oldest event that
    /// is known of grows older.
    async fn measure(&self, stop: CancellationToken) {
        let (mut pending, mut oldest) = (0, None::<Timestamp>);
        loop {
            match self.db.read_by_key(|tx| Box::pin(measured(tx))).await {
                Ok(measured) => (pending, oldest) = measured,
                Err(error) => tracing::debug!(error = causes(&error), "outbox not measured"),
            }
            let age_s = |at: Timestamp| self.clock.now().duration_since(at).as_secs().max(0);
            PENDING.with_label_values(&[self.service.as_str()]).set(pending);
            OLDEST_AGE.with_label_values(&[self.service.as_str()]).set(oldest.map_or(0, age_s));
            tokio::select! {
                () = sleep(MEASURED_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
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

async fn waiting(tx: &mut Tx<'_>) -> Result<Waiting, DbError> {
    let rows = tx
        .query(
            "select id, topic, record_key, headers, payload from outbox order by id limit $1",
            params![BATCH_MAX],
        )
        .await?;
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
    Ok(Waiting { ids, records })
}

/// How many wait, and since when the first one does.
async fn measured(tx: &mut Tx<'_>) -> Result<(i64, Option<Timestamp>), DbError> {
    let sql = "select count(*), (select created_at from outbox order by id limit 1) from outbox";
    let row = tx.query_one(sql, &[]).await?;
    Ok((row.get(0)?, row.get(1)?))
}

async fn forget(tx: &mut Tx<'_>, ids: Vec<i64>) -> Result<(), DbError> {
    let sql = format!("delete from outbox where id {}", tx.among_numbers("$1"));
    tx.execute(&sql, &[many::numbers(ids)]).await.map(drop)
}
