//! Up to where a consumer group has read: kept in the consumer's own store, with the effects.
//!
//! A position moves in the transaction of the effects, under a lock, and only from where its reader
//! began. So it does not matter how many readers a partition has for a moment.

use async_trait::async_trait;

use crate::{
    db::{Db, DbError, Engine, Tx},
    log::{Delivered, LogError, Positions},
    params,
};

/// Why a position was not moved.
#[derive(Debug, thiserror::Error)]
pub enum PositionError {
    /// It is not where this reader began: a replay took it back. Subscribe again.
    #[error("the position was moved: reading on from there")]
    Moved,
    /// The store failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Positions in a service's own store.
pub(crate) struct StoredPositions {
    group: &'static str,
    db: Db,
}

/// Moves the positions of a group past these records, in the caller's transaction; hands back those
/// that had no effect yet. The positions stay locked to the end of the transaction.
///
/// # Errors
/// [`PositionError::Moved`] when the records do not follow on the position.
pub async fn advance<'r>(
    tx: &mut Tx<'_>,
    group: &str,
    topic: &str,
    records: &'r [Delivered],
) -> Result<Vec<&'r Delivered>, PositionError> {
    let mut partitions: Vec<i64> = records.iter().map(|record| record.partition).collect();
    // Locked in one order by everybody.
    partitions.sort_unstable();
    partitions.dedup();
    let mut unseen = Vec::with_capacity(records.len());
    for partition in partitions {
        let stored = locked(tx, group, topic, partition).await?;
        let mut of_partition = records.iter().filter(|record| record.partition == partition);
        let first = of_partition.clone().next();
        if first.is_some_and(|first| stored < first.position) {
            return Err(PositionError::Moved);
        }
        let next = of_partition.clone().next_back().map_or(0, |last| last.offset + 1);
        unseen.extend(of_partition.by_ref().filter(|record| record.offset >= stored));
        if next > stored {
            keep(tx, group, topic, partition, next).await?;
        }
    }
    Ok(unseen)
}

/// Sets a position, whatever it was.
pub async fn keep(
    tx: &mut Tx<'_>,
    group: &str,
    topic: &str,
    partition: i64,
    next_offset: i64,
) -> Result<(), DbError> {
    tx.execute(
        "insert into consumer_position (consumer_group, topic, part, next_offset)
         values ($1, $2, $3, $4)
         on conflict (consumer_group, topic, part) do update
         set next_offset = excluded.next_offset",
        params![group, topic, partition, next_offset],
    )
    .await
    .map(drop)
}

/// All positions of a group in a topic, as partition and offset. Not locked.
pub async fn all(tx: &mut Tx<'_>, group: &str, topic: &str) -> Result<Vec<(i64, i64)>, DbError> {
    let sql = "select part, next_offset from consumer_position
               where consumer_group = $1 and topic = $2 order by part";
    let rows = tx.query(sql, params![group, topic]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// The position, locked to the end of the transaction; 0 when there is none. Whoever locks several
/// does so in the order of the partitions.
pub async fn locked(
    tx: &mut Tx<'_>,
    group: &str,
    topic: &str,
    partition: i64,
) -> Result<i64, DbError> {
    // SQLite has one writer: who is in a transaction that writes is alone.
    let sql = match tx.engine() {
        Engine::Sqlite => SELECT,
        Engine::Postgres => {
            // A row that is not there cannot be locked.
            tx.execute(
                "insert into consumer_position (consumer_group, topic, part, next_offset)
                 values ($1, $2, $3, 0) on conflict do nothing",
                params![group, topic, partition],
            )
            .await?;
            SELECT_LOCKED
        }
    };
    let row = tx.query_opt(sql, params![group, topic, partition]).await?;
    row.map_or(Ok(0), |row| row.get(0))
}

const SELECT: &str = "select next_offset from consumer_position
                      where consumer_group = $1 and topic = $2 and part = $3";
const SELECT_LOCKED: &str = "select next_offset from consumer_position
                             where consumer_group = $1 and topic = $2 and part = $3 for update";

// === impl StoredPositions ===

impl StoredPositions {
    pub(crate) const fn new(group: &'static str, db: Db) -> Self {
        Self { group, db }
    }
}

#[async_trait]
impl Positions for StoredPositions {
    async fn next_offset(&self, topic: &str, partition: i64) -> Result<i64, LogError> {
        let (group, topic) = (self.group, topic.to_owned());
        let read = self.db.read(move |tx| {
            Box::pin(async move {
                let row = tx.query_opt(SELECT, params![group, topic, partition]).await?;
                row.map_or(Ok(0), |row| row.get(0))
            })
        });
        read.await.map_err(|error: DbError| LogError::new(error))
    }
}
