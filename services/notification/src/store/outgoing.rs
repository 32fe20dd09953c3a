//! What is to be delivered: taken by the sender, and what became of it.
//!
//! Of each patient the oldest one is due. In place of a change the last of those is delivered that
//! wait, if one message may cover them all: it covers the earlier ones, too, and what becomes
//! of it becomes of them.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use kit::{
    db::{DbError, Row, Tx, many},
    dead_letter::{self, NewDeadLetter},
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
/// A look goes through this many pages: of one patient there may be many.
const PAGES_MAX: usize = 8;

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
    /// It covers the changes before it, too, of which nothing was sent.
    pub(crate) tells_of_earlier: bool,
}

/// What a sender takes.
#[derive(Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) now: Timestamp,
    /// When the claim runs out.
    pub(crate) until: Timestamp,
    pub(crate) count_max: u32,
    /// Of a patient's changes one message is sent in this time.
    pub(crate) interval: SignedDuration,
}

/// Where an event was read from, when that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) partition: Option<i64>,
    pub(crate) offset: Option<i64>,
}

/// What a look has found.
#[derive(Default)]
pub(super) struct Due {
    /// Of each patient the first that waits, which is due.
    first: Vec<Pending>,
    /// What is due, and waits for one of its patient that is not.
    behind: Vec<i64>,
}

impl Due {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.behind.is_empty()
    }
}

/// Looks for what is due, oldest first: at most this many, and not at everything.
pub(super) async fn due(tx: &mut Tx<'_>, now: Timestamp, count_max: u32) -> Result<Due, DbError> {
    let (mut found, mut seen, mut last) = (Due::default(), HashSet::new(), 0);
    for _ in 0..PAGES_MAX {
        let sql = format!(
            "select {PENDING} from notification n
             where n.status = 'PENDING' and n.next_attempt_at <= $1 and n.seq > $2
             order by n.seq limit $3"
        );
        let rows = tx.query(&sql, params![now, last, count_max]).await?;
        let page = rows.iter().map(Pending::read).collect::<Result<Vec<_>, _>>()?;
        let (is_last, patients) =
            (page.len() < count_max as usize, page.iter().map(|pending| pending.patient));
        let first = first_of(tx, patients).await?;
        for pending in page {
            (last, _) = (pending.seq, seen.insert(pending.seq));
            match first.get(&pending.patient) {
                Some(first) if *first == pending.seq => found.first.push(pending),
                Some(first) if !seen.contains(first) => found.behind.push(pending.seq),
                _ => {}
            }
        }
        if is_last || found.first.len() >= count_max as usize {
            break;
        }
    }
    found.first.truncate(count_max as usize);
    Ok(found)
}

/// The first that waits of each of these patients, whether it is due or not.
async fn first_of(
    tx: &mut Tx<'_>,
    patients: impl Iterator<Item = Uuid>,
) -> Result<HashMap<Uuid, i64>, DbError> {
    let sql = format!(
        "select patient_id, min(seq) from notification
         where status = 'PENDING' and patient_id {} group by patient_id",
        tx.among_ids("$1")
    );
    let rows = tx.query(&sql, &[many::ids(patients)]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Those of the due ones that nobody has taken meanwhile; in place of a change the last of those
/// that one message can cover.
pub(super) async fn claim(
    tx: &mut Tx<'_>,
    due: Due,
    claim: Claim,
) -> Result<Vec<Pending>, DbError> {
    let Claim { now, until, interval, .. } = claim;
    postpone_behind(tx, due.behind).await?;
    let mut wanted = Vec::with_capacity(due.first.len());
    for first in due.first {
        let merges = first.kind == Kind::Update && interval.is_positive();
        let pending = if merges { last_of(tx, first, now, interval).await? } else { Some(first) };
        wanted.extend(pending);
    }
    let sql = format!(
        "update notification set attempts = attempts + 1, next_attempt_at = $1
         where status = 'PENDING' and next_attempt_at <= $2 and seq {} returning seq",
        tx.among_numbers("$3")
    );
    let all = many::numbers(wanted.iter().map(|pending| pending.seq));
    let taken = tx.query(&sql, &[until.into(), now.into(), all]).await?;
    let taken = taken.iter().map(|row| row.get(0)).collect::<Result<HashSet<i64>, _>>()?;
    let claimed: Vec<_> = wanted
        .into_iter()
        .filter(|pending| taken.contains(&pending.seq))
        .map(|pending| Pending { tried: pending.tried + 1, ..pending })
        .collect();
    for pending in &claimed {
        postpone_earlier(tx, pending, until).await?;
    }
    Ok(claimed)
}

/// The last pending message of the patient whose change is due; none, and the change is postponed,
/// when the patient was sent one lately.
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

/// What waits for another one of its patient is due with that one.
async fn postpone_behind(tx: &mut Tx<'_>, behind: Vec<i64>) -> Result<(), DbError> {
    if behind.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "update notification set next_attempt_at =
             (select f.next_attempt_at from notification f
              where f.status = 'PENDING' and f.patient_id = notification.patient_id
              order by f.seq limit 1)
         where status = 'PENDING' and seq {}",
        tx.among_numbers("$1")
    );
    tx.execute(&sql, &[many::numbers(behind)]).await.map(drop)
}

/// What a message covers beside its own event is not due before it.
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

/// Keeps what became of notifications: of those that were just sent by one statement.
pub(super) async fn keep_all(
    tx: &mut Tx<'_>,
    medium: Medium,
    now: Timestamp,
    verdicts: &[(Pending, Verdict)],
) -> Result<(), DbError> {
    let is_plain = |(pending, verdict): &&(Pending, Verdict)| {
        *verdict == Verdict::Sent && !pending.tells_of_earlier
    };
    let (sent, others): (Vec<_>, Vec<_>) = verdicts.iter().partition(is_plain);
    if !sent.is_empty() {
        let sql = format!(
            "update notification
             set status = 'SENT', channel = $1, sent_at = $2,
                 next_attempt_at = null, event = null, headers = null
             where status = 'PENDING' and seq {}",
            tx.among_numbers("$3")
        );
        let all = many::numbers(sent.iter().map(|(pending, _)| pending.seq));
        tx.execute(&sql, &[medium.as_str().into(), now.into(), all]).await?;
    }
    for (pending, verdict) in others {
        keep(tx, medium, now, pending, verdict).await?;
    }
    Ok(())
}

/// Once it is sent, or given up, nothing of the person stays. What is given up is a dead letter.
async fn keep(
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
        Verdict::Failed { reason } if kept == 1 => {
            insert_dead_letter(tx, pending, reason, now).await
        }
        _ => Ok(()),
    }
}

/// It is tried again then; this many tries do not count.
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
async fn insert_dead_letter(
    tx: &mut Tx<'_>,
    pending: &Pending,
    error: &str,
    at: Timestamp,
) -> Result<(), DbError> {
    let Source { partition: Some(partition), offset: Some(offset) } = pending.source else {
        return Ok(());
    };
    let headers = &pending.headers;
    let burial =
        NewDeadLetter { group: GROUP, topic: TOPIC, partition, offset, headers, error, at };
    dead_letter::insert_dead_letter(tx, burial).await
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
