//! Reads a topic as a consumer group, once in effect.
//!
//! The position is kept in the transaction that keeps the effect, so that a crash repeats neither
//! and loses neither. An event that fails [`TRIES_MAX`] times goes to the dead letters and blocks
//! nobody; a store or log that is away is waited for, as long as it takes.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use prometheus::{IntCounterVec, IntGaugeVec, opts, register_int_gauge_vec};
use shared_middleware::{error::causes, metrics::counter, trace_context::TraceContext};
use tokio::time::sleep;
use tracing::Instrument as _;

use crate::{
    db::{Db, DbError, Tx},
    log::{
        Batch, Delivered, EVENT_TYPE, EventLog, LogError, Positions, Record, SOURCE_GROUP,
        SOURCE_OFFSET, SOURCE_PARTITION, SOURCE_TOPIC, Subscription, TRACEPARENT,
    },
    params,
    task::Task,
};

/// So often an event is tried before it goes to the dead letters.
pub const TRIES_MAX: u32 = 5;

/// So many events share a transaction at most.
const BATCH_MAX: u32 = 256;
const BACK_OFF_FIRST: Duration = Duration::from_millis(20);
const BACK_OFF_LAST: Duration = Duration::from_secs(2);

static CONSUMED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let labels = &["group", "type", "outcome"];
    counter("events_consumed_total", "Events consumed, by what became of them.", labels)
});
static LAG: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("event_consumer_lag", "Events published and not yet consumed.");
    register_int_gauge_vec!(options, &["group", "topic", "partition"])
        .expect("the name is registered once")
});

/// Why an event had no effect.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The store failed: the event is not to blame.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The event cannot be handled. The text names no person.
    #[error("{0}")]
    Poison(&'static str),
}

/// What a service does with an event.
pub trait Handler: Send + Sync + 'static {
    /// Takes effect in the transaction that also keeps the position.
    ///
    /// It may see an event twice (a relay published it again, at another offset), and must then do
    /// nothing.
    fn apply<'t>(
        &'t self,
        tx: &'t mut Tx<'_>,
        delivered: &'t Delivered,
    ) -> BoxFuture<'t, Result<(), HandlerError>>;

    /// Called after effects were committed.
    fn committed(&self) {}

    /// The event types it knows: the closed set of a metric's label.
    fn types(&self) -> &'static [&'static str];
}

/// A member of a consumer group.
#[derive(Clone)]
pub struct Consumer {
    group: &'static str,
    topic: &'static str,
    db: Db,
    log: Arc<dyn EventLog>,
    handler: Arc<dyn Handler>,
}

/// Positions in a service's own store.
struct StoredPositions {
    group: &'static str,
    db: Db,
}

#[derive(Debug, thiserror::Error)]
enum ConsumerError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Handler(#[from] HandlerError),
}

// === impl Consumer ===

impl Consumer {
    /// A member of this group, reading this topic into this store.
    pub fn new(
        group: &'static str,
        topic: &'static str,
        db: Db,
        log: Arc<dyn EventLog>,
        handler: Arc<dyn Handler>,
    ) -> Self {
        Self { group, topic, db, log, handler }
    }

    /// The task that reads.
    pub fn task(&self) -> Task {
        let consumer = self.clone();
        Task::new("event consumer", move |stop| async move {
            tokio::select! {
                () = consumer.run() => {}
                // A batch in progress is dropped whole: its transaction was not committed, or was.
                () = stop.cancelled() => {}
            }
        })
    }

    async fn run(&self) {
        let mut back_off = BACK_OFF_FIRST;
        loop {
            let positions = Arc::new(StoredPositions { group: self.group, db: self.db.clone() });
            let failed = match self.log.subscribe(self.group, self.topic, positions).await {
                Ok(mut subscription) => self.read(&mut *subscription, &mut back_off).await,
                Err(error) => error.into(),
            };
            tracing::warn!(group = self.group, error = causes(&failed), "cannot consume events");
            sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF_LAST);
        }
    }

    /// Reads until something is away; the caller subscribes again.
    async fn read(
        &self,
        subscription: &mut dyn Subscription,
        back_off: &mut Duration,
    ) -> ConsumerError {
        loop {
            let batch = match subscription.next(BATCH_MAX).await {
                Ok(batch) => batch,
                Err(error) => return error.into(),
            };
            let behind = lag(&batch);
            if let Err(error) = self.consume(batch.records).await {
                return error;
            }
            *back_off = BACK_OFF_FIRST;
            for (partition, lag) in behind {
                let partition = partition.to_string();
                LAG.with_label_values(&[self.group, self.topic, partition.as_str()]).set(lag);
            }
        }
    }

    /// All in one transaction; when that fails, one by one, to find out which is to blame.
    async fn consume(&self, records: Vec<Delivered>) -> Result<(), ConsumerError> {
        if records.is_empty() {
            return Ok(());
        }
        let records = Arc::new(records);
        match self.apply(Arc::clone(&records)).await {
            Ok(()) => {}
            Err(HandlerError::Db(error)) if away(&error) => return Err(error.into()),
            Err(_) => {
                for record in records.iter() {
                    self.consume_one(record.clone()).await?;
                }
            }
        }
        self.handler.committed();
        Ok(())
    }

    async fn consume_one(&self, delivered: Delivered) -> Result<(), ConsumerError> {
        let one = Arc::new(vec![delivered.clone()]);
        let mut back_off = BACK_OFF_FIRST;
        for tried in 1..=TRIES_MAX {
            let reason = match self.apply(Arc::clone(&one)).await {
                Ok(()) => return Ok(()),
                Err(HandlerError::Db(error)) if away(&error) => return Err(error.into()),
                Err(error) => error,
            };
            if tried == TRIES_MAX {
                return self.bury(delivered, &reason).await;
            }
            self.count(&delivered.record, "retried");
            sleep(back_off).await;
            back_off *= 2;
        }
        Ok(())
    }

    async fn apply(&self, records: Arc<Vec<Delivered>>) -> Result<(), HandlerError> {
        let (group, topic) = (self.group, self.topic);
        let handler = Arc::clone(&self.handler);
        let applied = Arc::clone(&records);
        let work = self.db.write(move |tx| {
            Box::pin(async move {
                for delivered in applied.iter() {
                    handler.apply(tx, delivered).await?;
                    keep_position(tx, group, topic, delivered).await?;
                }
                Ok::<_, HandlerError>(())
            })
        });
        let trace = records.first().and_then(|first| first.record.header(TRACEPARENT));
        let trace = TraceContext::continued(trace);
        let span = tracing::info_span!("consume", group, trace.id = trace.trace_id());
        trace.scope(work.instrument(span)).await?;
        for delivered in records.iter() {
            self.count(&delivered.record, "ok");
        }
        Ok(())
    }

    /// To the dead letters, then on. A crash between the two buries it once: its origin is the
    /// same.
    async fn bury(&self, dead: Delivered, reason: &HandlerError) -> Result<(), ConsumerError> {
        self.count(&dead.record, "dead_letter");
        tracing::error!(
            group = self.group,
            offset = dead.offset,
            error = causes(reason),
            "event is dead"
        );
        let (group, topic) = (self.group, self.topic);
        let letter = dead_letter(group, topic, &dead, &reason.to_string());
        self.log.publish(&dead_letters_of(topic), vec![letter]).await?;
        self.db
            .write(move |tx| Box::pin(async move { keep_position(tx, group, topic, &dead).await }))
            .await?;
        Ok(())
    }

    fn count(&self, record: &Record, outcome: &str) {
        let told = record.header(EVENT_TYPE).unwrap_or_default();
        let known = self.handler.types().iter().find(|known| **known == told);
        let kind = known.copied().unwrap_or("unknown");
        CONSUMED.with_label_values(&[self.group, kind, outcome]).inc();
    }
}

// === impl StoredPositions ===

#[async_trait]
impl Positions for StoredPositions {
    async fn next_offset(&self, topic: &str, partition: i64) -> Result<i64, LogError> {
        let (group, topic) = (self.group, topic.to_owned());
        let read = self.db.read(move |tx| {
            Box::pin(async move {
                let row = tx
                    .query_opt(
                        "select next_offset from consumer_position
                         where consumer_group = $1 and topic = $2 and part = $3",
                        params![group, topic, partition],
                    )
                    .await?;
                row.map_or(Ok(0), |row| row.get(0))
            })
        });
        read.await.map_err(|error: DbError| LogError::new(error))
    }
}

async fn keep_position(
    tx: &mut Tx<'_>,
    group: &str,
    topic: &str,
    delivered: &Delivered,
) -> Result<(), DbError> {
    tx.execute(
        "insert into consumer_position (consumer_group, topic, part, next_offset)
         values ($1, $2, $3, $4)
         on conflict (consumer_group, topic, part) do update
         set next_offset = excluded.next_offset",
        params![group, topic, delivered.partition, delivered.offset + 1],
    )
    .await
    .map(drop)
}

/// Where a topic's dead letters go.
pub fn dead_letters_of(topic: &str) -> String {
    format!("{topic}.dlq")
}

/// The same key and value, with where it came from and why it is here.
fn dead_letter(group: &str, topic: &str, dead: &Delivered, reason: &str) -> Record {
    let mut record = dead.record.clone();
    record.headers.extend([
        ("error".to_owned(), reason.to_owned()),
        (SOURCE_TOPIC.to_owned(), topic.to_owned()),
        (SOURCE_PARTITION.to_owned(), dead.partition.to_string()),
        (SOURCE_OFFSET.to_owned(), dead.offset.to_string()),
        (SOURCE_GROUP.to_owned(), group.to_owned()),
    ]);
    record
}

fn lag(batch: &Batch) -> Vec<(i64, i64)> {
    let mut read: HashMap<i64, i64> = HashMap::new();
    for delivered in &batch.records {
        read.insert(delivered.partition, delivered.offset + 1);
    }
    let behind = |(partition, end): &(i64, i64)| {
        (*partition, read.get(partition).map_or(0, |next| (end - next).max(0)))
    };
    batch.ends.iter().map(behind).collect()
}

const fn away(error: &DbError) -> bool {
    matches!(error, DbError::Unavailable(_))
}
