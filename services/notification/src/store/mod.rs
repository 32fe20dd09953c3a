//! The notifications. Both engines speak this SQL.
//!
//! - `outgoing` takes what is due, and keeps what became of it.

mod outgoing;

use std::sync::LazyLock;

use jiff::Timestamp;
use kit::{
    db::{Db, DbConfig, DbError, Migrations, Row, Tx},
    log::ConsumedRecord,
    params,
};
use proto::demo;
use uuid::Uuid;

pub(crate) use self::outgoing::{Claim, Pending, Source};
use crate::{
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

/// The service's store; and whether it shows what the demo's patients were sent.
#[derive(Clone)]
pub(crate) struct Store(Db, bool);

/// A notification to be.
pub(crate) struct New<'a> {
    pub(crate) id: Uuid,
    pub(crate) event: Event,
    pub(crate) medium: Medium,
    pub(crate) at: Timestamp,
    pub(crate) delivered: &'a ConsumedRecord,
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

    /// The same, which shows what the demo's patients were sent or not.
    pub(crate) fn showing_demo(self, demo: bool) -> Self {
        Self(self.0, demo)
    }

    /// Removes what the demo's patients were sent; the events that it was for.
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

    /// What anyone who delivered before was about to send, or waited to send, is due at once.
    pub(crate) async fn release(&self, now: Timestamp) -> Result<(), DbError> {
        let sql = "update notification set next_attempt_at = $1
                   where status = 'PENDING' and next_attempt_at > $1";
        self.0
            .write(move |tx| Box::pin(async move { tx.execute(sql, params![now]).await.map(drop) }))
            .await
    }

    /// Takes what is due, oldest first, of each patient the first only: nobody else takes it until
    /// the claim runs out, and nothing overtakes it.
    pub(crate) async fn claim(&self, claim: Claim) -> Result<Vec<Pending>, DbError> {
        let Claim { now, count_max, .. } = claim;
        let due = self.0.read(move |tx| Box::pin(outgoing::due(tx, now, count_max))).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        // A claim that is lost is made again: anyone who had it is gone.
        self.0.write_soon(move |tx| Box::pin(outgoing::claim(tx, due, claim))).await
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
                Box::pin(async move { outgoing::keep_all(tx, medium, now, &verdicts).await })
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
        self.0.search(move |tx| Box::pin(list(tx, patient, before, count_max, but))).await
    }
}

/// Writes pending notifications, in this order, but for events that have one.
pub(crate) async fn insert(tx: &mut Tx<'_>, all: &[New<'_>]) -> Result<(), DbError> {
    let mut rows = Vec::with_capacity(13 * all.len());
    for new in all {
        let ConsumedRecord { partition, offset, record, .. } = new.delivered;
        let headers = serde_json::to_string(&record.headers).expect("pairs of texts are JSON");
        rows.extend_from_slice(params![
            new.id,
            new.event.id,
            new.event.patient,
            new.event.kind.as_str(),
            new.medium.as_str(),
            Status::Pending.as_str(),
            new.at,
            0,
            new.at,
            record.payload.clone(),
            headers,
            *partition,
            *offset,
        ]);
    }
    tx.insert_all(
        "notification",
        "id, event_id, patient_id, kind, channel, status, created_at, attempts, next_attempt_at,
         event, headers, source_part, source_offset",
        &rows,
        "on conflict (event_id) do nothing",
    )
    .await?;
    for new in all.iter().filter(|new| new.event.kind == Kind::Farewell) {
        // It tells of the changes that wait, and waits for none of them.
        let sql = "update notification set next_attempt_at = $1
                   where patient_id = $2 and status = 'PENDING' and kind = 'UPDATE'";
        tx.execute(sql, params![new.at, new.event.patient]).await?;
    }
    Ok(())
}

/// Makes the notification of an event that was given up due again; returns whether there was one.
pub(crate) async fn revive(tx: &mut Tx<'_>, again: &New<'_>) -> Result<bool, DbError> {
    let ConsumedRecord { partition, offset, record, .. } = again.delivered;
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
