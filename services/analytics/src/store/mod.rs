//! The counters, kept event by event. Both engines speak this SQL.
//!
//! There may be several sets of them, the projections: one is served, and a replay may be building
//! the next, see `replay`.

pub(crate) mod replay;

use jiff::civil::Date;
use kit::{
    db::{Db, DbConfig, DbError, Engine, Migrations, Row, Tx, Value},
    params,
};
use proto::demo;
use uuid::Uuid;

use crate::{
    domain::{BirthYear, Event, Kind, Patient, State},
    unseen::Unseen,
};

mod sqlite {
    refinery::embed_migrations!("migrations/sqlite");
}

mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

/// So many days are told at most: the latest on which anybody was registered or deleted.
pub(crate) const DAYS_MAX: u32 = 90;

const REGISTERED: &str = "REGISTERED";
const DELETED: &str = "DELETED";

/// The service's store; and whether it counts the demo's patients among those that there are.
/// Events are counted whosever they are: that they happened stays true.
#[derive(Clone)]
pub(crate) struct Store(Db, bool);

/// What the counters say, from one consistent state.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) deleted: i64,
    /// Oldest first.
    pub(crate) by_day: Vec<Day>,
    pub(crate) by_birth_year: Vec<(Option<BirthYear>, i64)>,
}

/// A day's counters.
#[derive(Clone, Debug)]
pub(crate) struct Day {
    pub(crate) day: Date,
    pub(crate) created: i64,
    pub(crate) deleted: i64,
}

/// What brings the tables up to date.
pub(crate) fn migrations() -> Migrations {
    Migrations { sqlite: sqlite::migrations::runner(), postgres: postgres::migrations::runner() }
}

// === impl Store ===

impl Store {
    pub(crate) async fn open(config: &DbConfig) -> Result<Self, DbError> {
        Ok(Self(Db::open(config, migrations()).await?, true))
    }

    /// The same, which counts the demo's patients among those that there are or not.
    pub(crate) fn counting_demo(self, demo: bool) -> Self {
        Self(self.0, demo)
    }

    pub(crate) fn db(&self) -> Db {
        self.0.clone()
    }

    /// The number of the projection that is served.
    pub(crate) async fn served(&self) -> Result<i64, DbError> {
        self.0.read(|tx| Box::pin(async move { tx.query_one(SERVED, &[]).await?.get(0) })).await
    }

    pub(crate) async fn counts(&self) -> Result<Counts, DbError> {
        let demo = self.1;
        self.0.read(move |tx| Box::pin(counts(tx, demo))).await
    }
}

/// Counts an event in the projection that is served, unless it was counted before.
pub(crate) async fn count(tx: &mut Tx<'_>, event: &Event) -> Result<(), DbError> {
    let served = lock(tx).await?;
    count_in(tx, served, event).await
}

/// The same in this projection.
async fn count_in(tx: &mut Tx<'_>, projection: i64, event: &Event) -> Result<(), DbError> {
    let known = patient(tx, projection, event.patient).await?;
    let Some(after) = Patient::after(known.as_ref(), event) else { return Ok(()) };
    keep(tx, projection, event.patient, &after).await?;
    let before = known.map(|known| known.state);
    if before != Some(after.state) {
        move_birth_year(tx, projection, before, after.state).await?;
    }
    let (created, updated, deleted) = match event.kind {
        Kind::Created => (1, 0, 0),
        Kind::Updated => (0, 1, 0),
        Kind::Deleted => (0, 0, 1),
    };
    tx.execute(
        "update event_count
         set created = created + $1, updated = updated + $2, deleted = deleted + $3
         where projection = $4",
        params![created, updated, deleted, projection],
    )
    .await?;
    if created + deleted > 0 {
        tx.execute(
            "insert into day_count (projection, day, created, deleted) values ($1, $2, $3, $4)
             on conflict (projection, day) do update
             set created = day_count.created + excluded.created,
                 deleted = day_count.deleted + excluded.deleted",
            params![projection, event.day, created, deleted],
        )
        .await?;
    }
    Ok(())
}

/// The projection that is served; it stays so to the end of the transaction.
///
/// Replicas count one after the other by this. They share the counters' rows, and locking those in
/// the order of the events would be a deadlock sooner or later. SQLite has one writer anyway.
async fn lock(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    let sql = match tx.engine() {
        Engine::Sqlite => SERVED,
        Engine::Postgres => SERVED_LOCKED,
    };
    tx.query_one(sql, &[]).await?.get(0)
}

const SERVED: &str = "select served from projection where id = 1";
const SERVED_LOCKED: &str = "select served from projection where id = 1 for update";

async fn patient(tx: &mut Tx<'_>, projection: i64, id: Uuid) -> Result<Option<Patient>, DbError> {
    let sql = "select version, state, birth_year, unseen, birth_year_version
               from patient where projection = $1 and id = $2";
    let Some(row) = tx.query_opt(sql, params![projection, id]).await? else { return Ok(None) };
    let state = match row.get::<String>(1)?.as_str() {
        REGISTERED => State::Registered(row.get::<Option<i64>>(2)?.and_then(BirthYear::new)),
        DELETED => State::Deleted,
        _ => return Err(DbError::Corrupt("a patient in an unknown state")),
    };
    let unseen = Unseen::parse(&row.get::<String>(3)?);
    let unseen = unseen.ok_or(DbError::Corrupt("the unseen versions of a patient"))?;
    let (version, birth_year_version) = (row.get(0)?, row.get(4)?);
    Ok(Some(Patient { version, unseen, state, birth_year_version }))
}

/// A deleted patient's year of birth is overwritten here.
async fn keep(
    tx: &mut Tx<'_>,
    projection: i64,
    id: Uuid,
    patient: &Patient,
) -> Result<(), DbError> {
    let (state, birth_year) = match patient.state {
        State::Registered(year) => (REGISTERED, year.map(BirthYear::get)),
        State::Deleted => (DELETED, None),
    };
    tx.execute(
        "insert into patient (projection, id, version, state, birth_year, unseen,
                              birth_year_version)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (projection, id) do update
         set version = excluded.version, state = excluded.state, birth_year = excluded.birth_year,
             unseen = excluded.unseen, birth_year_version = excluded.birth_year_version",
        params![
            projection,
            id,
            patient.version,
            state,
            birth_year,
            patient.unseen.to_text(),
            patient.birth_year_version,
        ],
    )
    .await
    .map(drop)
}

async fn move_birth_year(
    tx: &mut Tx<'_>,
    projection: i64,
    from: Option<State>,
    to: State,
) -> Result<(), DbError> {
    if let Some(State::Registered(year)) = from {
        tx.execute(
            "update birth_year_count set patients = patients - 1
             where projection = $1 and birth_year = $2",
            &[projection.into(), counted(year)],
        )
        .await?;
    }
    if let State::Registered(year) = to {
        tx.execute(
            "insert into birth_year_count (projection, birth_year, patients) values ($1, $2, 1)
             on conflict (projection, birth_year) do update
             set patients = birth_year_count.patients + 1",
            &[projection.into(), counted(year)],
        )
        .await?;
    }
    Ok(())
}

/// A year as it is counted: 0 stands for none.
fn counted(year: Option<BirthYear>) -> Value {
    Value::Int(year.map_or(0, BirthYear::get))
}

/// Takes the demo's patients out of the years in which patients were born.
async fn without_demo(
    tx: &mut Tx<'_>,
    served: i64,
    years: &mut Vec<(Option<BirthYear>, i64)>,
) -> Result<(), DbError> {
    let ids = demo::PATIENTS.map(|id| format!("'{}'", Uuid::from_u128(id))).join(", ");
    let sql = format!(
        "select birth_year from patient
         where projection = $1 and state = '{REGISTERED}' and id in ({ids})"
    );
    for row in tx.query(&sql, params![served]).await? {
        let year = row.get::<Option<i64>>(0)?.and_then(BirthYear::new);
        if let Some((_, patients)) = years.iter_mut().find(|(of, _)| *of == year) {
            *patients -= 1;
        }
    }
    years.retain(|(_, patients)| *patients > 0);
    Ok(())
}

async fn counts(tx: &mut Tx<'_>, demo: bool) -> Result<Counts, DbError> {
    let served: i64 = tx.query_one(SERVED, &[]).await?.get(0)?;
    let sql = "select created, updated, deleted from event_count where projection = $1";
    let totals = tx.query_one(sql, params![served]).await?;
    let days = tx
        .query(
            "select day, created, deleted from day_count
             where projection = $1 order by day desc limit $2",
            params![served, DAYS_MAX],
        )
        .await?;
    // No more rows than there are years.
    let years = tx
        .query(
            "select birth_year, patients from birth_year_count
             where projection = $1 and patients > 0",
            params![served],
        )
        .await?;
    let day = |row: &Row| {
        Ok::<_, DbError>(Day { day: row.get(0)?, created: row.get(1)?, deleted: row.get(2)? })
    };
    let year = |row: &Row| Ok::<_, DbError>((BirthYear::new(row.get(0)?), row.get(1)?));
    let mut by_birth_year = years.iter().map(year).collect::<Result<_, _>>()?;
    if !demo {
        without_demo(tx, served, &mut by_birth_year).await?;
    }
    Ok(Counts {
        created: totals.get(0)?,
        updated: totals.get(1)?,
        deleted: totals.get(2)?,
        by_day: days.iter().rev().map(day).collect::<Result<_, _>>()?,
        by_birth_year,
    })
}
