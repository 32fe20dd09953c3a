//! A projection that is built beside the served one, and takes its place.
//!
//! One replay at a time: it has a claim that runs out when it is not renewed, so that one that was
//! killed keeps nobody out for long. What a replay leaves behind is a projection that is neither
//! served nor being built, and swept by anyone who comes first.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kit::{
    db::{DbError, Engine, Tx},
    params, position,
};

use super::{Store, count_in, lock};
use crate::domain::Event;

/// A claim that was not renewed for so long is nobody's.
const LEASE: SignedDuration = SignedDuration::from_secs(30);
/// This many rows are deleted at once at most.
const SWEPT_AT_ONCE: u32 = 1000;

/// Why a replay cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    /// Another replay has the claim.
    #[error("another replay is running, or was killed less than {} s ago", LEASE.as_secs())]
    Taken,
    /// This one was too slow to renew its claim.
    #[error("the replay took too long over a batch, and another one may have begun")]
    Lost,
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What became of a try to take the place of the served projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// Done: this one was served before.
    Done(i64),
    /// The group has read further.
    Behind,
}

// === impl Store ===

impl Store {
    /// Claims the replay and begins an empty projection: its number.
    pub(crate) async fn claim(&self, now: Timestamp) -> Result<i64, ClaimError> {
        self.0.write(move |tx| Box::pin(claim(tx, now))).await
    }

    /// Counts these events in the projection that is built, all of them or none.
    pub(crate) async fn build(
        &self,
        projection: i64,
        events: Vec<Event>,
        now: Timestamp,
    ) -> Result<(), ClaimError> {
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    renew(tx, projection, now).await?;
                    Ok(count_in(tx, projection, &events).await?)
                })
            })
            .await
    }

    /// Serves the projection that was built, if it has all that the group has read. In the same
    /// transaction the group's positions move on to what is in it.
    pub(crate) async fn switch(
        &self,
        projection: i64,
        group: &'static str,
        topic: &'static str,
        built: BTreeMap<i64, i64>,
        now: Timestamp,
    ) -> Result<Switch, ClaimError> {
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    // In the order of the consumers: positions, then the projection.
                    for (partition, next) in &built {
                        if position::locked(tx, group, topic, *partition).await? > *next {
                            return Ok(Switch::Behind);
                        }
                    }
                    // A partition that was added since was not read at all.
                    let all = position::all(tx, group, topic).await?;
                    if all.iter().any(|(partition, _)| !built.contains_key(partition)) {
                        return Ok(Switch::Behind);
                    }
                    let before = lock(tx).await?;
                    renew(tx, projection, now).await?;
                    for (partition, next) in &built {
                        position::keep(tx, group, topic, *partition, *next).await?;
                    }
                    let sql = "update projection set served = $1 where id = 1";
                    tx.execute(sql, params![projection]).await?;
                    Ok(Switch::Done(before))
                })
            })
            .await
    }

    /// Gives up the claim, if it is still ours.
    pub(crate) async fn release(&self, projection: i64) -> Result<(), DbError> {
        let sql = "update replay set building = null, lease_until = null
                   where id = 1 and building = $1";
        self.0
            .write(move |tx| {
                Box::pin(async move { tx.execute(sql, params![projection]).await.map(drop) })
            })
            .await
    }

    /// Deletes some of what is left over; returns whether there may be more.
    pub(crate) async fn sweep(&self, now: Timestamp) -> Result<bool, DbError> {
        self.0.write(move |tx| Box::pin(sweep(tx, now))).await
    }
}

async fn claim(tx: &mut Tx<'_>, now: Timestamp) -> Result<i64, ClaimError> {
    let (last, building) = replay(tx, now).await?;
    if building.is_some() {
        return Err(ClaimError::Taken);
    }
    let next = last + 1;
    tx.execute(
        "update replay set last = $1, building = $1, lease_until = $2 where id = 1",
        params![next, now + LEASE],
    )
    .await?;
    tx.execute(
        "insert into event_count (projection, created, updated, deleted) values ($1, 0, 0, 0)",
        params![next],
    )
    .await?;
    Ok(next)
}

async fn renew(tx: &mut Tx<'_>, projection: i64, now: Timestamp) -> Result<(), ClaimError> {
    let renewed = tx
        .execute(
            "update replay set lease_until = $1 where id = 1 and building = $2",
            params![now + LEASE, projection],
        )
        .await?;
    if renewed == 1 { Ok(()) } else { Err(ClaimError::Lost) }
}

/// The highest number given so far, and who builds; locked. A claim that has run out is taken away.
async fn replay(tx: &mut Tx<'_>, now: Timestamp) -> Result<(i64, Option<i64>), DbError> {
    let sql = match tx.engine() {
        Engine::Sqlite => "select last, building, lease_until from replay where id = 1",
        Engine::Postgres => {
            "select last, building, lease_until from replay where id = 1 for update"
        }
    };
    let row = tx.query_one(sql, &[]).await?;
    let (last, building) = (row.get(0)?, row.get::<Option<i64>>(1)?);
    let until: Option<Timestamp> = row.get(2)?;
    if building.is_some() && until.is_none_or(|until| until <= now) {
        tx.execute("update replay set building = null, lease_until = null where id = 1", &[])
            .await?;
        return Ok((last, None));
    }
    Ok((last, building))
}

async fn sweep(tx: &mut Tx<'_>, now: Timestamp) -> Result<bool, DbError> {
    // Nothing to do is the usual case, and is seen without a lock.
    let spare = "select projection from event_count
                 where projection <> (select served from projection where id = 1)
                 order by projection limit 2";
    if tx.query(spare, &[]).await?.is_empty() {
        return Ok(false);
    }
    let (_, building) = replay(tx, now).await?;
    let spare = tx.query(spare, &[]).await?;
    let spare = spare.iter().map(|row| row.get::<i64>(0)).collect::<Result<Vec<_>, _>>()?;
    let Some(projection) = spare.into_iter().find(|spare| Some(*spare) != building) else {
        return Ok(false);
    };
    let deleted = tx
        .execute(
            "delete from patient where projection = $1 and id in
             (select id from patient where projection = $1 limit $2)",
            params![projection, SWEPT_AT_ONCE],
        )
        .await?;
    if deleted > 0 {
        return Ok(true);
    }
    // No more rows than there are years and days. The last one goes last.
    for table in ["birth_year_count", "day_count", "event_count"] {
        let sql = format!("delete from {table} where projection = $1");
        tx.execute(&sql, params![projection]).await?;
    }
    Ok(true)
}
