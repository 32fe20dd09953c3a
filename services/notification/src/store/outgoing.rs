//! What is to be delivered: taken by the sender, and what became of it.
//!
//! Of each patient the oldest one is due. In place of a change the last of those is delivered that
//! wait, if one message may tell of them all: it tells of the earlier ones, too, and what becomes
//! of it becomes of them.

use jiff::{SignedDuration, Timestamp};
use kit::{
    db::{DbError, Row, Tx},
    dead_letter::{self, Burial},
    params,
};
use proto::patient_events::TOPIC;
use uuid::Uuid;

use super::kind;
use crate::{
    consumer::GROUP,
    domain::{Kind, Medium, Status, Verdict},
};

/// What a sender needs of a notification, as [`Pending::read`] reads it.
const PENDING: &str = "n.seq, n.event_id, n.patient_id, n.kind, n.created_at, n.attempts, n.event,
                       n.headers, n.source_part, n.source_offset";
/// A notification that is to be delivered. It names a person, and is not printed.
#[derive(Clone)]
pub(crate) struct Pending {
    pub(crate) seq: i64,
    pub(crate) event_id: Uuid,
    pub(crate) patient: Uuid,
    pub(crate) kind: Kind,
    pub(crate) created_at: Timestamp,
    /// Tries, the one that begins included.
    pub(crate) tried: i64,
    /// The event's value, as it was read.
    pub(crate) event: Vec<u8>,
    /// Its headers.
    pub(crate) headers: Vec<(String, String)>,
    /// Where it was read from.
    pub(crate) source: Source,
    /// It tells of the changes before it, too, of which nothing was sent.
    pub(crate) tells_of_earlier: bool,
}

/// What a sender takes.
#[derive(Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) now: Timestamp,
    /// When the claim runs out.
    pub(crate) until: Timestamp,
    pub(crate) count_max: u32,
    /// Of a patient's changes one message tells in so much time.
    pub(crate) interval: SignedDuration,
}

/// Where an event was read from, when that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) partition: Option<i64>,
    pub(crate) offset: Option<i64>,
}

pub(super) async fn due(
    tx: &mut Tx<'_>,
    now: Timestamp,
    count_max: u32,
) -> Result<Vec<Pending>, DbError> {
    let rows = tx
        .query(
            &format!(
                "select {PENDING} from notification n
             where n.status = 'PENDING' and n.next_attempt_at <= $1
               and not exists (select 1 from notification e
                               where e.status = 'PENDING' and e.patient_id = n.patient_id
                                 and e.seq < n.seq)
             order by n.seq limit $2"
            ),
            params![now, count_max],
        )
        .await?;
    rows.iter().map(Pending::read).collect()
}

/// Those of the due ones that nobody has taken meanwhile; in place of a change the last of those
/// that one message can tell of.
pub(super) async fn claim(
    tx: &mut Tx<'_>,
    due: Vec<Pending>,
    claim: Claim,
) -> Result<Vec<Pending>, DbError> {
    let Claim { now, until, interval, .. } = claim;
    let mut claimed = Vec::with_capacity(due.len());
    for first in due {
        let merges = first.kind == Kind::Update && interval.is_positive();
        let pending = if merges { last_of(tx, first, now, interval).await? } else { Some(first) };
        let Some(pending) = pending else { continue };
        let changed = tx
            .execute(
                "update notification set attempts = attempts + 1, next_attempt_at = $1
                 where seq = $2 and status = 'PENDING' and next_attempt_at <= $3",
                params![until, pending.seq, now],
            )
            .await?;
        if changed == 1 {
            postpone_earlier(tx, &pending, until).await?;
            claimed.push(Pending { tried: pending.tried + 1, ..pending });
        }
    }
    Ok(claimed)
}

/// The last pending message of the patient whose change is due; none, and the change is postponed,
/// when the patient was told of one lately.
async fn last_of(
    tx: &mut Tx<'_>,
    first: Pending,
    now: Timestamp,
    interval: SignedDuration,
) -> Result<Option<Pending>, DbError> {
    let sql = format!(
        "select {PENDING} from notification n
         where n.patient_id = $1 and n.status = 'PENDING' and n.kind in ('UPDATE', 'FAREWELL')
         order by n.seq desc limit 1"
    );
    let last = tx.query_opt(&sql, params![first.patient]).await?;
    let last = last.as_ref().map(Pending::read).transpose()?.unwrap_or(first.clone());
    if last.kind == Kind::Update {
        let sql = "select max(sent_at) from notification
                   where patient_id = $1 and kind = 'UPDATE' and status = 'SENT'";
        let told: Option<Timestamp> = tx.query_one(sql, params![first.patient]).await?.get(0)?;
        if let Some(next) = told.map(|told| told + interval).filter(|next| *next > now) {
            let sql = "update notification set next_attempt_at = $1
                       where seq = $2 and status = 'PENDING'";
            tx.execute(sql, params![next, first.seq]).await?;
            return Ok(None);
        }
    }
    Ok(Some(Pending { tells_of_earlier: last.seq != first.seq, ..last }))
}

/// What a message tells of beside its own event is not due before it.
async fn postpone_earlier(
    tx: &mut Tx<'_>,
    pending: &Pending,
    until: Timestamp,
) -> Result<(), DbError> {
    if pending.tells_of_earlier {
        let sql = "update notification set next_attempt_at = $1
                   where patient_id = $2 and kind = 'UPDATE' and status = 'PENDING' and seq < $3";
        tx.execute(sql, params![until, pending.patient, pending.seq]).await?;
    }
    Ok(())
}

/// Once it is sent, or given up, nothing of the person stays. What is given up is a dead letter.
pub(super) async fn keep(
    tx: &mut Tx<'_>,
    medium: Medium,
    now: Timestamp,
    pending: &Pending,
    verdict: &Verdict,
) -> Result<(), DbError> {
    let (status, sent_at) = match verdict {
        Verdict::Retry { at, .. } => return put_off(tx, pending, *at, 0).await,
        Verdict::Postponed { at, .. } => return put_off(tx, pending, *at, 1).await,
        Verdict::Sent => (Status::Sent, Some(now)),
        Verdict::Failed { .. } => (Status::Failed, None),
    };
    let kept = tx
        .execute(
            "update notification
             set status = $1, channel = $2, sent_at = $3,
                 next_attempt_at = null, event = null, headers = null
             where seq = $4 and status = 'PENDING'",
            params![status.as_str(), medium.as_str(), sent_at, pending.seq],
        )
        .await?;
    if kept == 1 && pending.tells_of_earlier {
        let sql = "update notification
                   set status = $1, channel = $2, sent_at = $3,
                       next_attempt_at = null, event = null, headers = null
                   where patient_id = $4 and kind = 'UPDATE' and status = 'PENDING' and seq < $5";
        let values =
            params![status.as_str(), medium.as_str(), sent_at, pending.patient, pending.seq];
        tx.execute(sql, values).await?;
    }
    match verdict {
        Verdict::Failed { reason } if kept == 1 => bury(tx, pending, reason, now).await,
        _ => Ok(()),
    }
}

/// It is tried again then; so many tries do not count.
async fn put_off(
    tx: &mut Tx<'_>,
    pending: &Pending,
    at: Timestamp,
    not_counted: i64,
) -> Result<(), DbError> {
    let sql = "update notification set next_attempt_at = $1, attempts = attempts - $2
               where seq = $3 and status = 'PENDING'";
    tx.execute(sql, params![at, not_counted, pending.seq]).await?;
    postpone_earlier(tx, pending, at).await
}

/// An event that was read nobody knows where cannot be read again: then there is only the topic.
async fn bury(
    tx: &mut Tx<'_>,
    pending: &Pending,
    error: &str,
    at: Timestamp,
) -> Result<(), DbError> {
    let Source { partition: Some(partition), offset: Some(offset) } = pending.source else {
        return Ok(());
    };
    let headers = &pending.headers;
    let burial = Burial { group: GROUP, topic: TOPIC, partition, offset, headers, error, at };
    dead_letter::bury(tx, burial).await
}

// === impl Pending ===

impl Pending {
    fn read(row: &Row) -> Result<Self, DbError> {
        let headers = serde_json::from_str(&row.get::<String>(7)?)
            .map_err(|_| DbError::Corrupt("headers that are no JSON"))?;
        Ok(Self {
            seq: row.get(0)?,
            event_id: row.get(1)?,
            patient: row.get(2)?,
            kind: kind(row, 3)?,
            created_at: row.get(4)?,
            tried: row.get(5)?,
            event: row.get(6)?,
            headers,
            source: Source { partition: row.get(8)?, offset: row.get(9)? },
            tells_of_earlier: false,
        })
    }
}
