//! The counters, kept event by event. Both engines speak this SQL.

use jiff::civil::Date;
use kit::{
    db::{Db, DbConfig, DbError, Engine, Migrations, Row, Tx, Value},
    params,
};
use uuid::Uuid;

use crate::domain::{BirthYear, Event, Kind, Patient, State};

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

/// The service's store.
#[derive(Clone)]
pub(crate) struct Store(Db);

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

// === impl Store ===

impl Store {
    pub(crate) async fn open(config: &DbConfig) -> Result<Self, DbError> {
        let migrations = Migrations {
            sqlite: sqlite::migrations::runner(),
            postgres: postgres::migrations::runner(),
        };
        Db::open(config, migrations).await.map(Self)
    }

    pub(crate) fn db(&self) -> Db {
        self.0.clone()
    }

    pub(crate) async fn counts(&self) -> Result<Counts, DbError> {
        self.0.read(|tx| Box::pin(counts(tx))).await
    }
}

/// Counts an event, unless it was counted before.
pub(crate) async fn count(tx: &mut Tx<'_>, event: &Event) -> Result<(), DbError> {
    lock(tx).await?;
    let known = patient(tx, event.patient).await?;
    let Some(after) = Patient::after(known, event) else { return Ok(()) };
    keep(tx, event.patient, after).await?;
    let before = known.map(|known| known.state);
    if before != Some(after.state) {
        move_birth_year(tx, before, after.state).await?;
    }
    let (created, updated, deleted) = match event.kind {
        Kind::Created => (1, 0, 0),
        Kind::Updated => (0, 1, 0),
        Kind::Deleted => (0, 0, 1),
    };
    tx.execute(
        "update event_count
         set created = created + $1, updated = updated + $2, deleted = deleted + $3 where id = 1",
        params![created, updated, deleted],
    )
    .await?;
    if created + deleted > 0 {
        tx.execute(
            "insert into day_count (day, created, deleted) values ($1, $2, $3)
             on conflict (day) do update set created = day_count.created + excluded.created,
                                             deleted = day_count.deleted + excluded.deleted",
            params![event.day, created, deleted],
        )
        .await?;
    }
    Ok(())
}

/// Makes replicas count one after the other. They share the counters' rows, and locking those in
/// the order of the events would be a deadlock sooner or later. SQLite has one writer anyway.
async fn lock(tx: &mut Tx<'_>) -> Result<(), DbError> {
    if tx.engine() == Engine::Postgres {
        tx.query("select id from event_count where id = 1 for update", &[]).await?;
    }
    Ok(())
}

async fn patient(tx: &mut Tx<'_>, id: Uuid) -> Result<Option<Patient>, DbError> {
    let sql = "select version, state, birth_year from patient where id = $1";
    let Some(row) = tx.query_opt(sql, params![id]).await? else { return Ok(None) };
    let state = match row.get::<String>(1)?.as_str() {
        REGISTERED => State::Registered(row.get::<Option<i64>>(2)?.and_then(BirthYear::new)),
        DELETED => State::Deleted,
        _ => return Err(DbError::Corrupt("a patient in an unknown state")),
    };
    Ok(Some(Patient { version: row.get(0)?, state }))
}

/// A deleted patient's year of birth is overwritten here.
async fn keep(tx: &mut Tx<'_>, id: Uuid, patient: Patient) -> Result<(), DbError> {
    let (state, birth_year) = match patient.state {
        State::Registered(year) => (REGISTERED, year.map(BirthYear::get)),
        State::Deleted => (DELETED, None),
    };
    tx.execute(
        "insert into patient (id, version, state, birth_year) values ($1, $2, $3, $4)
         on conflict (id) do update set version = excluded.version, state = excluded.state,
                                        birth_year = excluded.birth_year",
        params![id, patient.version, state, birth_year],
    )
    .await
    .map(drop)
}

async fn move_birth_year(tx: &mut Tx<'_>, from: Option<State>, to: State) -> Result<(), DbError> {
    if let Some(State::Registered(year)) = from {
        tx.execute(
            "update birth_year_count set patients = patients - 1 where birth_year = $1",
            &[counted(year)],
        )
        .await?;
    }
    if let State::Registered(year) = to {
        tx.execute(
            "insert into birth_year_count (birth_year, patients) values ($1, 1)
             on conflict (birth_year) do update set patients = birth_year_count.patients + 1",
            &[counted(year)],
        )
        .await?;
    }
    Ok(())
}

/// A year as it is counted: 0 stands for none.
fn counted(year: Option<BirthYear>) -> Value {
    Value::Int(year.map_or(0, BirthYear::get))
}

async fn counts(tx: &mut Tx<'_>) -> Result<Counts, DbError> {
    let totals =
        tx.query_one("select created, updated, deleted from event_count where id = 1", &[]).await?;
    let days = tx
        .query(
            "select day, created, deleted from day_count order by day desc limit $1",
            params![DAYS_MAX],
        )
        .await?;
    // No more rows than there are years.
    let years = tx
        .query("select birth_year, patients from birth_year_count where patients > 0", &[])
        .await?;
    let day = |row: &Row| {
        Ok::<_, DbError>(Day { day: row.get(0)?, created: row.get(1)?, deleted: row.get(2)? })
    };
    let year = |row: &Row| Ok::<_, DbError>((BirthYear::new(row.get(0)?), row.get(1)?));
    Ok(Counts {
        created: totals.get(0)?,
        updated: totals.get(1)?,
        deleted: totals.get(2)?,
        by_day: days.iter().rev().map(day).collect::<Result<_, _>>()?,
        by_birth_year: years.iter().map(year).collect::<Result<_, _>>()?,
    })
}
