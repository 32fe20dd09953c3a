//! The notifications. Both engines speak this SQL.

use std::sync::LazyLock;

use jiff::Timestamp;
use kit::{
    db::{Db, DbConfig, DbError, Migrations, Row, Tx},
    dead_letter::{self, Burial},
    log::Delivered,
    params,
};
use proto::{demo, patient_events::TOPIC};
use uuid::Uuid;

use crate::{
    consumer::GROUP,
    domain::{Kind, Medium, Status, Verdict},
    events::Event,
};

mod sqlite {
    refinery::embed_migrations!("migrations/sqlite");
}

mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

/// The demo's patients, as SQL lists them.
static DEMO: LazyLock<String> = LazyLock::new(|| {
    let ids = demo::PATIENTS.map(|id| format!("'{}'", Uuid::from_u128(id)));
    format!("({})", ids.join(", "))
});

/// The service's store; and whether it shows what the demo's patients were told.
#[derive(Clone)]
pub(crate) struct Store(Db, bool);

/// A notification to be.
pub(crate) struct New<'a> {
    pub(crate) id: Uuid,
    pub(crate) event: Event,
    pub(crate) medium: Medium,
    pub(crate) at: Timestamp,
    pub(crate) delivered: &'a Delivered,
}

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
}

/// Where an event was read from, when that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) partition: Option<i64>,
    pub(crate) offset: Option<i64>,
}

/// A notification as it is listed.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) seq: i64,
    pub(crate) id: Uuid,
    pub(crate) patient: Uuid,
    pub(crate) kind: Kind,
    pub(crate) medium: Medium,
    pub(crate) status: Status,
    pub(crate) sent_at: Option<Timestamp>,
}

// === impl Store ===

impl Store {
    pub(crate) async fn open(config: &DbConfig) -> Result<Self, DbError> {
        let migrations = Migrations {
            sqlite: sqlite::migrations::runner(),
            postgres: postgres::migrations::runner(),
        };
        Ok(Self(Db::open(config, migrations).await?, true))
    }

    /// The same, which shows what the demo's patients were told or not.
    pub(crate) fn showing_demo(self, demo: bool) -> Self {
        Self(self.0, demo)
    }

    /// Removes what the demo's patients were told; the events that it was for.
    pub(crate) async fn remove_demo(&self) -> Result<Vec<Uuid>, DbError> {
        let sql =
            format!("delete from notification where patient_id in {} returning event_id", *DEMO);
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    tx.query(&sql, &[]).await?.iter().map(|row| row.get(0)).collect()
                })
            })
            .await
    }

    pub(crate) fn db(&self) -> Db {
        self.0.clone()
    }

    /// What whoever delivered before was about to send, or waited to send, is due at once.
    pub(crate) async fn release(&self, now: Timestamp) -> Result<(), DbError> {
        let sql = "update notification set next_attempt_at = $1
                   where status = 'PENDING' and next_attempt_at > $1";
        self.0
            .write(move |tx| Box::pin(async move { tx.execute(sql, params![now]).await.map(drop) }))
            .await
    }

    /// Takes what is due, oldest first, of each patient the first only: nobody else takes it until
    /// the claim runs out, and nothing overtakes it.
    pub(crate) async fn claim(
        &self,
        now: Timestamp,
        until: Timestamp,
        count_max: u32,
    ) -> Result<Vec<Pending>, DbError> {
        let due = self.0.read(move |tx| Box::pin(due(tx, now, count_max))).await?;
        if due.is_empty() {
            return Ok(due);
        }
        self.0.write(move |tx| Box::pin(claim(tx, due, now, until))).await
    }

    /// Keeps what became of notifications that were claimed.
    pub(crate) async fn keep(
        &self,
        medium: Medium,
        now: Timestamp,
        verdicts: Vec<(Pending, Verdict)>,
    ) -> Result<(), DbError> {
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    for (pending, verdict) in verdicts {
                        keep(tx, medium, now, &pending, &verdict).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Newest first, older than `before`.
    pub(crate) async fn list(
        &self,
        patient: Option<Uuid>,
        before: Option<i64>,
        count_max: u32,
    ) -> Result<Vec<Listed>, DbError> {
        let before = before.unwrap_or(i64::MAX);
        let but = if self.1 { String::new() } else { format!("and patient_id not in {}", *DEMO) };
        self.0.read(move |tx| Box::pin(list(tx, patient, before, count_max, but))).await
    }
}

/// Writes a pending notification, unless the event has one.
pub(crate) async fn insert(tx: &mut Tx<'_>, new: New<'_>) -> Result<(), DbError> {
    let Delivered { partition, offset, record, .. } = new.delivered;
    let headers = serde_json::to_string(&record.headers).expect("pairs of texts are JSON");
    tx.execute(
        "insert into notification (id, event_id, patient_id, kind, channel, status, created_at,
                                   attempts, next_attempt_at, event, headers,
                                   source_part, source_offset)
         values ($1, $2, $3, $4, $5, 'PENDING', $6, 0, $6, $7, $8, $9, $10)
         on conflict (event_id) do nothing",
        params![
            new.id,
            new.event.id,
            new.event.patient,
            new.event.kind.as_str(),
            new.medium.as_str(),
            new.at,
            record.payload.clone(),
            headers,
            *partition,
            *offset,
        ],
    )
    .await
    .map(drop)
}

/// Makes the notification of an event that was given up due again; tells whether there was one.
pub(crate) async fn revive(tx: &mut Tx<'_>, again: &New<'_>) -> Result<bool, DbError> {
    let Delivered { partition, offset, record, .. } = again.delivered;
    let headers = serde_json::to_string(&record.headers).expect("pairs of texts are JSON");
    let revived = tx
        .execute(
            "update notification
             set status = 'PENDING', attempts = 0, next_attempt_at = $1, event = $2, headers = $3,
                 source_part = $4, source_offset = $5
             where event_id = $6 and status = 'FAILED'",
            params![again.at, record.payload.clone(), headers, *partition, *offset, again.event.id],
        )
        .await?;
    Ok(revived == 1)
}

async fn due(tx: &mut Tx<'_>, now: Timestamp, count_max: u32) -> Result<Vec<Pending>, DbError> {
    let rows = tx
        .query(
            "select n.seq, n.event_id, n.patient_id, n.kind, n.created_at, n.attempts, n.event,
                    n.headers, n.source_part, n.source_offset
             from notification n
             where n.status = 'PENDING' and n.next_attempt_at <= $1
               and not exists (select 1 from notification e
                               where e.status = 'PENDING' and e.patient_id = n.patient_id
                                 and e.seq < n.seq)
             order by n.seq limit $2",
            params![now, count_max],
        )
        .await?;
    rows.iter().map(Pending::read).collect()
}

/// Those of the due ones that nobody has taken meanwhile.
async fn claim(
    tx: &mut Tx<'_>,
    due: Vec<Pending>,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Pending>, DbError> {
    let mut claimed = Vec::with_capacity(due.len());
    for pending in due {
        let changed = tx
            .execute(
                "update notification set attempts = attempts + 1, next_attempt_at = $1
                 where seq = $2 and status = 'PENDING' and next_attempt_at <= $3",
                params![until, pending.seq, now],
            )
            .await?;
        if changed == 1 {
            claimed.push(Pending { tried: pending.tried + 1, ..pending });
        }
    }
    Ok(claimed)
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
        Verdict::Retry { at, .. } => {
            tx.execute(
                "update notification set next_attempt_at = $1
                 where seq = $2 and status = 'PENDING'",
                params![*at, pending.seq],
            )
            .await?;
            return Ok(());
        }
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
    match verdict {
        Verdict::Failed { reason } if kept == 1 => bury(tx, pending, reason, now).await,
        _ => Ok(()),
    }
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

async fn list(
    tx: &mut Tx<'_>,
    patient: Option<Uuid>,
    before: i64,
    count_max: u32,
    but: String,
) -> Result<Vec<Listed>, DbError> {
    let from = "select seq, id, patient_id, kind, channel, status, sent_at from notification";
    let rows = match patient {
        None => {
            let sql = format!("{from} where seq < $1 {but} order by seq desc limit $2");
            tx.query(&sql, params![before, count_max]).await?
        }
        Some(patient) => {
            let sql = format!(
                "{from} where patient_id = $1 and seq < $2 {but} order by seq desc limit $3"
            );
            tx.query(&sql, params![patient, before, count_max]).await?
        }
    };
    rows.iter().map(Listed::read).collect()
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
        })
    }
}

// === impl Listed ===

impl Listed {
    fn read(row: &Row) -> Result<Self, DbError> {
        let medium = Medium::parse(&row.get::<String>(4)?);
        let status = Status::parse(&row.get::<String>(5)?);
        Ok(Self {
            seq: row.get(0)?,
            id: row.get(1)?,
            patient: row.get(2)?,
            kind: kind(row, 3)?,
            medium: medium.ok_or(DbError::Corrupt("an unknown channel"))?,
            status: status.ok_or(DbError::Corrupt("an unknown status"))?,
            sent_at: row.get(6)?,
        })
    }
}

fn kind(row: &Row, column: usize) -> Result<Kind, DbError> {
    Kind::parse(&row.get::<String>(column)?).ok_or(DbError::Corrupt("an unknown kind"))
}
