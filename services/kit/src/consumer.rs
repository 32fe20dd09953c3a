//! Reads a topic as a consumer group, once in effect.
//!
//! The position is kept in the transaction that keeps the effect, so that a crash repeats neither
//! and loses neither. The same transaction locks the position first and looks whether it is still
//! where this member read on from: of two members that both believe a partition is theirs, as may
//! be for a moment while a group is rebalanced, one applies an event and the other passes over it.
//!
//! An event that fails [`TRIES_MAX`] times goes to the dead letters and blocks nobody; a store or
//! log that is away is waited for, as long as it takes.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::future::BoxFuture;
use prometheus::{HistogramVec, IntCounterVec};
use shared_middleware::{
    back_off::BackOff,
    clock::Clock,
    error::causes,
    identity::Part,
    metrics::{counter, histogram},
    spans::{self, Kind, Span, Value},
    trace_context::TraceContext,
};
use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

use crate::{
    db::{Db, DbError, Tx},
    dead_letter::{self, NewDeadLetter},
    lag::Lags,
    log::{
        ConsumedRecord, EVENT_TYPE, EventLog, LogError, Record, SOURCE_GROUP, SOURCE_OFFSET,
        SOURCE_PARTITION, SOURCE_TOPIC, Subscription, TRACEPARENT,
    },
    position::{self, PositionError, StoredPositions},
    task::Task,
};

/// So often an event is tried before it goes to the dead letters.
pub const TRIES_MAX: u32 = 5;

/// This many events share a transaction at most.
const BATCH_MAX: u32 = 256;
/// Retries and burials elsewhere are seen so soon.
const DEAD_LETTERS_COUNTED_EVERY: Duration = Duration::from_secs(5);
const BACK_OFF: BackOff = BackOff::new(Duration::from_millis(20), Duration::from_secs(2));

static CONSUMED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let labels = &["group", "type", "outcome"];
    counter("events_consumed_total", "Events consumed, by what became of them.", labels)
});
static DELAY: LazyLock<HistogramVec> = LazyLock::new(|| {
    let help = "Time from an event's publication until its effect was committed.";
    histogram("event_delay_seconds", help, &["group"])
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
        delivered: &'t ConsumedRecord,
    ) -> BoxFuture<'t, Result<(), HandlerError>>;

    /// As [`Handler::apply`], for several, which take effect in this order.
    fn apply_all<'t>(
        &'t self,
        tx: &'t mut Tx<'_>,
        delivered: &'t [&'t ConsumedRecord],
    ) -> BoxFuture<'t, Result<(), HandlerError>> {
        Box::pin(async move {
            for one in delivered {
                self.apply(tx, one).await?;
            }
            Ok(())
        })
    }

    /// As [`Handler::apply`], for an event that was given up and is tried again: newer events may
    /// have taken effect since.
    fn retry<'t>(
        &'t self,
        tx: &'t mut Tx<'_>,
        delivered: &'t ConsumedRecord,
    ) -> BoxFuture<'t, Result<(), HandlerError>> {
        self.apply(tx, delivered)
    }

    /// Called after effects were committed.
    fn committed(&self) {}

    /// The event types it knows: the closed set of a metric's label.
    fn types(&self) -> &'static [&'static str];
}

/// A member of a consumer group.
#[derive(Clone)]
pub struct Consumer {
    service: Part,
    group: &'static str,
    topic: &'static str,
    db: Db,
    log: Arc<dyn EventLog>,
    handler: Arc<dyn Handler>,
    clock: Clock,
}

/// Why a member subscribes again.
#[derive(Debug, thiserror::Error)]
enum ConsumerError {
    #[error(transparent)]
    Position(#[from] PositionError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Why a transaction was not committed.
#[derive(Debug, thiserror::Error)]
enum ApplyError {
    #[error(transparent)]
    Position(#[from] PositionError),
    /// The event is to blame, or seems so.
    #[error(transparent)]
    Handler(HandlerError),
}

// === impl Consumer ===

impl Consumer {
    /// A member of this service's group, reading this topic into this store.
    pub fn new(
        service: Part,
        group: &'static str,
        topic: &'static str,
        db: Db,
        log: Arc<dyn EventLog>,
        handler: Arc<dyn Handler>,
        clock: Clock,
    ) -> Self {
        Self { service, group, topic, db, log, handler, clock }
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
        let mut back_off = BACK_OFF;
        loop {
            let positions = Arc::new(StoredPositions::new(self.group, self.db.clone()));
            let failed = match self.log.subscribe(self.group, self.topic, positions).await {
                Ok(mut subscription) => self.read(&mut *subscription, &mut back_off).await,
                Err(error) => error.into(),
            };
            if let ConsumerError::Position(PositionError::Moved) = failed {
                tracing::info!(
                    group = self.group,
                    "consumer offset was reset, reading on from there"
                );
                continue;
            }
            tracing::warn!(group = self.group, error = causes(&failed), "cannot consume events");
            sleep(back_off.next_pause()).await;
        }
    }

    /// Reads until something is away; the caller subscribes again.
    async fn read(
        &self,
        subscription: &mut dyn Subscription,
        back_off: &mut BackOff,
    ) -> ConsumerError {
        let (mut lags, mut looked_at) = (Lags::default(), None::<Instant>);
        loop {
            if looked_at.is_none_or(|at| at.elapsed() >= DEAD_LETTERS_COUNTED_EVERY) {
                if let Err(error) = dead_letter::show(self.group, &self.db).await {
                    return PositionError::from(error).into();
                }
                looked_at = Some(Instant::now());
            }
            let batch = match subscription.next(BATCH_MAX).await {
                Ok(batch) => batch,
                Err(error) => return error.into(),
            };
            if !batch.records.is_empty() {
                if let Err(error) = self.consume(batch.records).await {
                    return error;
                }
                subscription.done();
            }
            back_off.reset();
            lags.show(self.group, self.topic, &batch.progress);
        }
    }

    /// All in one transaction; when that fails, one by one, to find out which is to blame.
    async fn consume(&self, records: Vec<ConsumedRecord>) -> Result<(), ConsumerError> {
        let records = Arc::new(records);
        match self.apply(Arc::clone(&records)).await {
            Ok(()) => {}
            Err(ApplyError::Position(error)) => return Err(error.into()),
            Err(ApplyError::Handler(_)) => {
                for record in records.iter() {
                    self.consume_one(record.clone()).await?;
                }
            }
        }
        self.handler.committed();
        Ok(())
    }

    async fn consume_one(&self, delivered: ConsumedRecord) -> Result<(), ConsumerError> {
        let one = Arc::new(vec![delivered.clone()]);
        let mut back_off = BACK_OFF;
        for tried in 1..=TRIES_MAX {
            let reason = match self.apply(Arc::clone(&one)).await {
                Ok(()) => return Ok(()),
                Err(ApplyError::Position(error)) => return Err(error.into()),
                Err(ApplyError::Handler(error)) => error,
            };
            if tried == TRIES_MAX {
                return self.insert_dead_letter(delivered, &reason).await;
            }
            self.count(&delivered.record, "retried");
            sleep(back_off.next_pause()).await;
        }
        Ok(())
    }

    async fn apply(&self, records: Arc<Vec<ConsumedRecord>>) -> Result<(), ApplyError> {
        let (group, topic) = (self.group, self.topic);
        let handler = Arc::clone(&self.handler);
        let applied = Arc::clone(&records);
        // What is lost with its position is read again.
        let work = self.db.write_soon(move |tx| {
            Box::pin(async move {
                let unseen = position::advance(tx, group, topic, &applied).await?;
                handler.apply_all(tx, &unseen).await?;
                Ok::<_, ApplyError>(())
            })
        });
        let trace = records.first().and_then(|first| first.record.header(TRACEPARENT));
        let trace = TraceContext::continued(trace);
        let span = tracing::info_span!("consume", group, trace.id = trace.trace_id());
        let started = Instant::now();
        trace.scope(work.instrument(span)).await?;
        let took = started.elapsed();
        for delivered in records.iter() {
            self.count(&delivered.record, "ok");
            self.tell(delivered, took);
        }
        Ok(())
    }

    /// To the dead letters' topic, then into their table and on. A crash between the two buries it
    /// once: its origin is the same.
    async fn insert_dead_letter(
        &self,
        dead: ConsumedRecord,
        reason: &HandlerError,
    ) -> Result<(), ConsumerError> {
        self.count(&dead.record, "dead_letter");
        tracing::error!(
            group = self.group,
            offset = dead.offset,
            error = causes(reason),
            "event moved to the dead letters"
        );
        let (group, topic) = (self.group, self.topic);
        let letter = dead_letter(group, topic, &dead, &reason.to_string());
        self.log.publish(&dead_letters_of(topic), vec![letter]).await?;
        let (dead, error, at) = (vec![dead], reason.to_string(), self.clock.now());
        let kept = self.db.write(move |tx| {
            Box::pin(async move {
                for dead in position::advance(tx, group, topic, &dead).await? {
                    let ConsumedRecord { partition, offset, ref record, .. } = *dead;
                    let (headers, error) = (&record.headers, error.as_str());
                    let burial =
                        NewDeadLetter { group, topic, partition, offset, headers, error, at };
                    dead_letter::insert_dead_letter(tx, burial).await?;
                }
                Ok::<_, PositionError>(())
            })
        });
        kept.await?;
        dead_letter::show(group, &self.db).await.map_err(PositionError::from)?;
        Ok(())
    }

    /// How long it was on its way, and for its trace that it has taken effect.
    fn tell(&self, delivered: &ConsumedRecord, took: Duration) {
        if let Some(at) = delivered.published_at {
            let delay = self.clock.now().duration_since(at);
            DELAY.with_label_values(&[self.group]).observe(delay.as_secs_f64().max(0.0));
        }
        let trace = delivered.record.header(TRACEPARENT).and_then(TraceContext::parse);
        if let Some(trace) = trace {
            spans::ended(&trace.child(), took, || self.span(delivered));
        }
    }

    fn span(&self, delivered: &ConsumedRecord) -> Span {
        Span {
            service: self.service,
            name: format!("consume {}", self.topic),
            kind: Kind::Consumer,
            failed: false,
            attributes: vec![
                ("messaging.destination.name", Value::Text(self.topic)),
                ("messaging.consumer.group.name", Value::Text(self.group)),
                ("messaging.event.type", Value::Text(self.kind(&delivered.record))),
                ("messaging.destination.partition", Value::Number(delivered.partition)),
                ("messaging.offset", Value::Number(delivered.offset)),
            ],
        }
    }

    fn count(&self, record: &Record, outcome: &str) {
        CONSUMED.with_label_values(&[self.group, self.kind(record), outcome]).inc();
    }

    /// The event's type, of the closed set of those that are known.
    fn kind(&self, record: &Record) -> &'static str {
        let told = record.header(EVENT_TYPE).unwrap_or_default();
        let known = self.handler.types().iter().find(|known| **known == told);
        known.copied().unwrap_or("unknown")
    }
}

// === impl ApplyError ===

impl From<HandlerError> for ApplyError {
    fn from(error: HandlerError) -> Self {
        match error {
            HandlerError::Db(error) => error.into(),
            HandlerError::Poison(_) => Self::Handler(error),
        }
    }
}

impl From<DbError> for ApplyError {
    fn from(error: DbError) -> Self {
        match error {
            // Nothing is wrong with the event.
            DbError::Unavailable(_) => Self::Position(error.into()),
            _ => Self::Handler(error.into()),
        }
    }
}

/// Where a topic's dead letters go.
pub fn dead_letters_of(topic: &str) -> String {
    format!("{topic}.dlq")
}

/// The same key and value, with where it came from and why it is here.
fn dead_letter(group: &str, topic: &str, dead: &ConsumedRecord, reason: &str) -> Record {
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
