//! Up to where a consumer group has read: kept in the consumer's own store, with the effects.
//!
//! A position moves in the transaction of the effects, under a lock, and only from where its reader
//! began. So it does not matter how many readers a partition has for a moment.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;

use crate::{
    db::{Db, DbError, Engine, Tx, Value, many},
    log::{ConsumedRecord, LogError, Positions},
    params,
};

/// Why a position was not moved.
#[derive(Debug, thiserror::Error)]
pub enum PositionError {
    /// It is not where this reader began: a replay took it back. Subscribe again.
    #[error("consumer offset was reset, reading on from there")]
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
    records: &'r [ConsumedRecord],
) -> Result<Vec<&'r ConsumedRecord>, PositionError> {
    let partitions: BTreeSet<i64> = records.iter().map(|record| record.partition).collect();
    let all = all_locked(tx, group, topic, &partitions).await?;
    let (mut unseen, mut moved) = (Vec::with_capacity(records.len()), Vec::new());
    for partition in partitions {
        let stored = all.get(&partition).copied().unwrap_or(0);
        let mut of_partition = records.iter().filter(|record| record.partition == partition);
        let first = of_partition.clone().next();
        if first.is_some_and(|first| stored < first.position) {
            return Err(PositionError::Moved);
        }
        let next = of_partition.clone().next_back().map_or(0, |last| last.offset + 1);
        unseen.extend(of_partition.by_ref().filter(|record| record.offset >= stored));
        if next > stored {
            moved.extend_from_slice(params![group, topic, partition, next]);
        }
    }
    tx.insert_all("consumer_position", COLUMNS, &moved, OR_MOVE).await?;
    Ok(unseen)
}

/// The positions of these partitions, locked to the end of the transaction, in the order of the
/// partitions; those that are there.
async fn all_locked(
    tx: &mut Tx<'_>,
    group: &str,
    topic: &str,
    partitions: &BTreeSet<i64>,
) -> Result<HashMap<i64, i64>, DbError> {
    let hold = if tx.engine() == Engine::Postgres { " for update" } else { "" };
    let sql = format!(
        "select part, next_offset from consumer_position
         where consumer_group = $1 and topic = $2 and part {} order by part{hold}",
        tx.among_numbers("$3")
    );
    let wanted = many::numbers(partitions.iter().copied());
    let mut found = HashMap::new();
    for again in [false, true] {
        let rows = tx.query(&sql, params![group, topic, wanted.clone()]).await?;
        let read = rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?)));
        found = read.collect::<Result<_, DbError>>()?;
        let is_missing = |partition: &&i64| !found.contains_key(*partition);
        let missing: Vec<_> = partitions.iter().filter(is_missing).collect();
        // SQLite has one writer: who is in a transaction that writes is alone.
        if missing.is_empty() || again || tx.engine() == Engine::Sqlite {
            break;
        }
        // A row that is not there cannot be locked.
        let first = missing
            .into_iter()
            .flat_map(|partition| [group.into(), topic.into(), (*partition).into(), 0_i64.into()]);
        let first: Vec<Value> = first.collect();
        tx.insert_all("consumer_position", COLUMNS, &first, "on conflict do nothing").await?;
    }
    Ok(found)
}

/// Sets a position, whatever it was.
pub async fn keep(
    tx: &mut Tx<'_>,
    group: &str,
    topic: &str,
    partition: i64,
    next_offset: i64,
) -> Result<(), DbError> {
    let values = params![group, topic, partition, next_offset];
    tx.insert_all("consumer_position", COLUMNS, values, OR_MOVE).await.map(drop)
}

/// All positions of a group in a topic, as partition and offset. Not locked.
pub async fn all(tx: &mut Tx<'_>, group: &str, topic: &str) -> Result<Vec<(i64, i64)>, DbError> {
    let sql = "select part, next_offset from consumer_position
               where consumer_group = $1 and topic = $2 order by part";
    let rows = tx.query(sql, params![group, topic]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// The position, locked to the end of the transaction; 0 when there is none. Anyone who locks
/// several does so in the order of the partitions.
pub async fn locked(
    tx: &mut Tx<'_>,
    group: &str,
    topic: &str,
    partition: i64,
) -> Result<i64, DbError> {
    let all = all_locked(tx, group, topic, &BTreeSet::from([partition])).await?;
    Ok(all.get(&partition).copied().unwrap_or(0))
}

const COLUMNS: &str = "consumer_group, topic, part, next_offset";
const OR_MOVE: &str = "on conflict (consumer_group, topic, part) do update
                       set next_offset = excluded.next_offset";
const SELECT: &str = "select next_offset from consumer_position
                      where consumer_group = $1 and topic = $2 and part = $3";

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
