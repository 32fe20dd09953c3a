//! Dead letters: events that a consumer group gave up, and what may become of them.
//!
//! A row is written in the transaction that moves the position past the event. It says where the
//! event is and why it is here, and nothing of what the event says: to show or retry it, the record
//! is read again from the log.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use jiff::Timestamp;
use prometheus::{IntGaugeVec, opts, register_int_gauge_vec};
use tokio::time::timeout;

use crate::{
    consumer::{Handler, HandlerError},
    db::{Db, DbError, Engine, Row, Tx},
    log::{ConsumedRecord, EVENT_ID, EVENT_TYPE, EventLog, LogError, Record, Start},
    params,
};

/// Headers may be anybody's: no more of them is kept than ours take.
const HEADER_CHARS_MAX: usize = 100;
/// A log that does not bring the record by then is not available.
const READ_WITHIN: Duration = Duration::from_secs(10);

static WAITING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("dead_letters", "Events given up that wait for somebody to decide.");
    register_int_gauge_vec!(options, &["group"]).expect("the name is registered once")
});

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number in the store of the group.
    pub id: i64,
    /// The topic that it is in.
    pub topic: String,
    /// The partition.
    pub partition: i64,
    /// The offset there.
    pub offset: i64,
    /// The event's id, from its header; empty without one.
    pub event_id: String,
    /// The event's type, from its header; empty without one.
    pub event_type: String,
    /// Why it was given up. Names no person.
    pub error: String,
    /// When.
    pub died_at: Timestamp,
}

/// An event to be given up.
pub struct NewDeadLetter<'a> {
    /// Who gives it up.
    pub group: &'a str,
    /// Where it was read.
    pub topic: &'a str,
    /// In which partition.
    pub partition: i64,
    /// At which offset.
    pub offset: i64,
    /// Its headers.
    pub headers: &'a [(String, String)],
    /// Why; a text that names no person.
    pub error: &'a str,
    /// When.
    pub at: Timestamp,
}

/// The dead letters of one consumer group.
#[derive(Clone)]
pub struct DeadLetters {
    group: &'static str,
    db: Db,
    log: Arc<dyn EventLog>,
    handler: Arc<dyn Handler>,
}

/// What a retry came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Retried {
    /// The event has taken effect, or had before; the letter is gone.
    Done,
    /// It failed again, for this reason; the letter stays.
    Failed(String),
    /// The log has the record no more; the letter stays.
    Gone,
    /// There is no such letter, or somebody else was faster.
    Unknown,
}

/// Why dead letters cannot be dealt with now.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The store failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Why a letter was not brought to life.
enum RetryError {
    Unknown,
    Handler(HandlerError),
}

/// Writes a dead letter in the caller's transaction; once, however often it is buried.
pub async fn insert_dead_letter(tx: &mut Tx<'_>, burial: NewDeadLetter<'_>) -> Result<(), DbError> {
    tx.execute(
        "insert into dead_letter (consumer_group, topic, part, log_offset, event_id, event_type,
                                  error, died_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (consumer_group, topic, part, log_offset) do update
         set error = excluded.error, died_at = excluded.died_at",
        params![
            burial.group,
            burial.topic,
            burial.partition,
            burial.offset,
            burial.header(EVENT_ID),
            burial.header(EVENT_TYPE),
            burial.error,
            burial.at,
        ],
    )
    .await
    .map(drop)
}

/// Shows how many letters a group has. An operator may have dealt with some elsewhere, so anyone
/// who shows it asks again now and then.
pub(crate) async fn show(group: &'static str, db: &Db) -> Result<(), DbError> {
    let sql = "select count(*) from dead_letter where consumer_group = $1";
    let counted = db.read(move |tx| {
        Box::pin(async move { tx.query_one(sql, params![group]).await?.get::<i64>(0) })
    });
    WAITING.with_label_values(&[group]).set(counted.await?);
    Ok(())
}

// === impl NewDeadLetter ===

impl NewDeadLetter<'_> {
    fn header(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map_or_else(String::new, |(_, value)| kept(value))
    }
}

// === impl DeadLetters ===

impl DeadLetters {
    /// Those of this group, kept in its store; what they are of is in the log.
    pub fn new(
        group: &'static str,
        db: Db,
        log: Arc<dyn EventLog>,
        handler: Arc<dyn Handler>,
    ) -> Self {
        Self { group, db, log, handler }
    }

    /// Whose they are.
    pub const fn group(&self) -> &'static str {
        self.group
    }

    /// Those with a higher number than `after`, oldest first.
    pub async fn list(&self, after: i64, count_max: u32) -> Result<Vec<DeadLetter>, DbError> {
        let group = self.group;
        self.db.read(move |tx| Box::pin(list(tx, group, after, count_max))).await
    }

    /// The letter of this number.
    pub async fn find(&self, id: i64) -> Result<Option<DeadLetter>, DbError> {
        let group = self.group;
        self.db.read(move |tx| Box::pin(find(tx, group, id, false))).await
    }

    /// The event itself; nothing when the log has it no more.
    pub async fn record(&self, letter: &DeadLetter) -> Result<Option<Record>, LogError> {
        Ok(self.delivered(letter).await?.map(|delivered| delivered.record))
    }

    /// Lets the group handle the event once more; when that works, the letter goes with the effect.
    pub async fn retry(&self, id: i64) -> Result<Retried, DeadLetterError> {
        let Some(letter) = self.find(id).await? else { return Ok(Retried::Unknown) };
        let Some(delivered) = self.delivered(&letter).await? else { return Ok(Retried::Gone) };
        let (group, handler) = (self.group, Arc::clone(&self.handler));
        let applied = self.db.write(move |tx| {
            Box::pin(async move {
                // Locked: of two who retry it, the second finds it gone.
                find(tx, group, id, true).await?.ok_or(RetryError::Unknown)?;
                handler.retry(tx, &delivered).await.map_err(RetryError::Handler)?;
                forget(tx, group, id).await.map(drop).map_err(RetryError::from)
            })
        });
        match applied.await {
            Ok(()) => {
                self.handler.committed();
                Ok(Retried::Done)
            }
            Err(RetryError::Unknown) => Ok(Retried::Unknown),
            Err(RetryError::Handler(HandlerError::Db(error @ DbError::Unavailable(_)))) => {
                Err(error.into())
            }
            Err(RetryError::Handler(error)) => {
                self.failed_again(id, error.to_string()).await?;
                Ok(Retried::Failed(error.to_string()))
            }
        }
    }

    /// Forgets the letter: the event will never take effect for this group. Returns whether there
    /// was one.
    pub async fn forget(&self, id: i64) -> Result<bool, DbError> {
        let group = self.group;
        self.db.write(move |tx| Box::pin(forget(tx, group, id))).await
    }

    async fn failed_again(&self, id: i64, error: String) -> Result<(), DbError> {
        let group = self.group;
        let sql = "update dead_letter set error = $1 where consumer_group = $2 and id = $3";
        self.db
            .write(move |tx| {
                Box::pin(async move { tx.execute(sql, params![error, group, id]).await.map(drop) })
            })
            .await
    }

    async fn delivered(&self, letter: &DeadLetter) -> Result<Option<ConsumedRecord>, LogError> {
        let found = read_at(&*self.log, letter);
        let found = timeout(READ_WITHIN, found)
            .await
            .map_err(|_| LogError::new("it did not bring the record in time"))??;
        let is_it = |found: &ConsumedRecord| {
            let id = found.record.header(EVENT_ID).map_or_else(String::new, kept);
            // Another log may have another event there.
            found.offset == letter.offset && id == letter.event_id
        };
        Ok(found.filter(is_it))
    }
}

// === impl DeadLetter ===

impl DeadLetter {
    fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get(0)?,
            topic: row.get(1)?,
            partition: row.get(2)?,
            offset: row.get(3)?,
            event_id: row.get(4)?,
            event_type: row.get(5)?,
            error: row.get(6)?,
            died_at: row.get(7)?,
        })
    }
}

// === impl RetryError ===

impl From<DbError> for RetryError {
    fn from(error: DbError) -> Self {
        Self::Handler(error.into())
    }
}

const SELECT: &str = "select id, topic, part, log_offset, event_id, event_type, error, died_at
                      from dead_letter";

async fn list(
    tx: &mut Tx<'_>,
    group: &str,
    after: i64,
    count_max: u32,
) -> Result<Vec<DeadLetter>, DbError> {
    let sql = format!("{SELECT} where consumer_group = $1 and id > $2 order by id limit $3");
    let rows = tx.query(&sql, params![group, after, count_max]).await?;
    rows.iter().map(DeadLetter::read).collect()
}

async fn find(
    tx: &mut Tx<'_>,
    group: &str,
    id: i64,
    locked: bool,
) -> Result<Option<DeadLetter>, DbError> {
    let lock = if locked && tx.engine() == Engine::Postgres { " for update" } else { "" };
    let sql = format!("{SELECT} where consumer_group = $1 and id = $2{lock}");
    let row = tx.query_opt(&sql, params![group, id]).await?;
    row.as_ref().map(DeadLetter::read).transpose()
}

async fn forget(tx: &mut Tx<'_>, group: &str, id: i64) -> Result<bool, DbError> {
    let sql = "delete from dead_letter where consumer_group = $1 and id = $2";
    Ok(tx.execute(sql, params![group, id]).await? == 1)
}

/// The first record from there on, if the log reaches so far.
async fn read_at(
    log: &dyn EventLog,
    letter: &DeadLetter,
) -> Result<Option<ConsumedRecord>, LogError> {
    let DeadLetter { partition, offset, .. } = *letter;
    let mut reader = log.read(&letter.topic, Start::At { partition, offset }).await?;
    loop {
        let batch = reader.next(1).await?;
        if let Some(first) = batch.records.into_iter().next() {
            return Ok(Some(first));
        }
        let here = batch.progress.iter().find(|of| of.partition == partition);
        if here.is_none_or(|here| here.lag() == 0) {
            return Ok(None);
        }
    }
}

/// A header's value, as far as it is kept. PostgreSQL's texts have no NUL.
fn kept(value: &str) -> String {
    value.chars().filter(|char| *char != '\0').take(HEADER_CHARS_MAX).collect()
}
