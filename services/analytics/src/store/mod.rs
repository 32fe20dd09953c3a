//! The counters, kept batch by batch. Both engines speak this SQL.
//!
//! There may be several sets of them, the projections: one is served, and a replay may be building
//! the next, see `replay`.

pub(crate) mod replay;

use std::collections::{BTreeMap, HashMap};

use jiff::civil::Date;
use kit::{
    db::{Db, DbConfig, DbError, Engine, Migrations, Row, Tx, Value, many},
    params,
};
use proto::demo;
use uuid::Uuid;

use crate::{
    changes::{Changes, Totals},
    domain::{BirthYear, Event, Patient, State},
    unseen::Unseen,
};

mod sqlite {
    refinery::embed_migrations!("migrations/sqlite");
}

mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

/// At most this many days are returned: the latest on which anybody was registered or deleted.
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

/// Counts events, in this order, in the projection that is served, unless they were counted before.
pub(crate) async fn count(tx: &mut Tx<'_>, events: &[Event]) -> Result<(), DbError> {
    let served = lock(tx).await?;
    count_in(tx, served, events).await
}

/// The same in this projection. What they come to is worked out here, and written once.
async fn count_in(tx: &mut Tx<'_>, projection: i64, events: &[Event]) -> Result<(), DbError> {
    let known = patients(tx, projection, events.iter().map(|event| event.patient)).await?;
    let changes = Changes::of(known, events);
    if changes.is_empty() {
        return Ok(());
    }
    keep(tx, projection, &changes.patients).await?;
    move_birth_years(tx, projection, &changes.birth_years).await?;
    let Totals { created, updated, deleted } = changes.totals;
    tx.execute(
        "update event_count
         set created = created + $1, updated = updated + $2, deleted = deleted + $3
         where projection = $4",
        params![created, updated, deleted, projection],
    )
    .await?;
    let days = changes.days.iter().flat_map(|(day, totals)| {
        [projection.into(), (*day).into(), totals.created.into(), totals.deleted.into()]
    });
    tx.insert_all(
        "day_count",
        "projection, day, created, deleted",
        &days.collect::<Vec<Value>>(),
        "on conflict (projection, day) do update
         set created = day_count.created + excluded.created,
             deleted = day_count.deleted + excluded.deleted",
    )
    .await
    .map(drop)
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

async fn patients(
    tx: &mut Tx<'_>,
    projection: i64,
    ids: impl Iterator<Item = Uuid>,
) -> Result<HashMap<Uuid, Patient>, DbError> {
    let sql = format!(
        "select id, version, state, birth_year, unseen, birth_year_version
         from patient where projection = $1 and id {}",
        tx.among_ids("$2")
    );
    let rows = tx.query(&sql, &[projection.into(), many::ids(ids)]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, patient(row)?))).collect()
}

fn patient(row: &Row) -> Result<Patient, DbError> {
    let state = match row.get::<String>(2)?.as_str() {
        REGISTERED => State::Registered(row.get::<Option<i64>>(3)?.and_then(BirthYear::new)),
        DELETED => State::Deleted,
        _ => return Err(DbError::Corrupt("a patient in an unknown state")),
    };
    let unseen = Unseen::parse(&row.get::<String>(4)?);
    let unseen = unseen.ok_or(DbError::Corrupt("the unseen versions of a patient"))?;
    let (version, birth_year_version) = (row.get(1)?, row.get(5)?);
    Ok(Patient { version, unseen, state, birth_year_version })
}

/// A deleted patient's year of birth is overwritten here.
async fn keep(
    tx: &mut Tx<'_>,
    projection: i64,
    patients: &BTreeMap<Uuid, Patient>,
) -> Result<(), DbError> {
    let mut rows: Vec<Value> = Vec::with_capacity(7 * patients.len());
    for (id, patient) in patients {
        let (state, birth_year) = match patient.state {
            State::Registered(year) => (REGISTERED, year.map(BirthYear::get)),
            State::Deleted => (DELETED, None),
        };
        rows.extend_from_slice(params![
            projection,
            *id,
            patient.version,
            state,
            birth_year,
            patient.unseen.to_text(),
            patient.birth_year_version,
        ]);
    }
    tx.insert_all(
        "patient",
        "projection, id, version, state, birth_year, unseen, birth_year_version",
        &rows,
        "on conflict (projection, id) do update
         set version = excluded.version, state = excluded.state, birth_year = excluded.birth_year,
             unseen = excluded.unseen, birth_year_version = excluded.birth_year_version",
    )
    .await
    .map(drop)
}

async fn move_birth_years(
    tx: &mut Tx<'_>,
    projection: i64,
    by: &BTreeMap<Option<BirthYear>, i64>,
) -> Result<(), DbError> {
    let moved = by.iter().filter(|(_, by)| **by != 0);
    let rows = moved.flat_map(|(year, by)| [projection.into(), counted(*year), (*by).into()]);
    tx.insert_all(
        "birth_year_count",
        "projection, birth_year, patients",
        &rows.collect::<Vec<Value>>(),
        "on conflict (projection, birth_year) do update
         set patients = birth_year_count.patients + excluded.patients",
    )
    .await
    .map(drop)
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
