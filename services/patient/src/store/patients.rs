//! Single patients: each write with its event, what it is found by, and its first answer.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kit::{
    audit::{self, AuditNote},
    db::{DbError, Engine, Row, Tx, Value, many},
    outbox, params,
};
use uuid::Uuid;

use super::{Change, IdempotencyOutcome, Registration, idempotency, search::text_of};
use crate::{
    domain::{Billing, Details, Invalid, Patient, Text},
    error::Error,
    events,
    names::sort_key,
};

/// What [`patient`] reads, in its order.
pub(super) const COLUMNS: &str =
    "id, name, email, address, date_of_birth, registered_date, version,
    created_at, updated_at, billing_account";

/// This many they are.
pub(super) const COLUMN_COUNT: usize = 10;

/// What [`values`] are written to, in their order.
const INSERTED: &str = "id, name, sort_key, email, email_key, address, date_of_birth,
    registered_date, version, created_at, updated_at, search";
const INSERT_SEARCH: &str = "insert into patient_search (rowid, search) values ($1, $2)";

pub(super) async fn register(
    tx: &mut Tx<'_>,
    new: Registration,
) -> Result<IdempotencyOutcome, Error> {
    let Registration { patient, event, answer, key } = new;
    if let Some(key) = key {
        let before = idempotency::first_answer(tx, &key, patient.created_at).await?;
        if matches!(before, IdempotencyOutcome::Before { .. }) {
            return Ok(before);
        }
        idempotency::begin(tx, key, patient.id, answer, patient.created_at).await?;
    }
    insert(tx, &patient).await?;
    outbox::append(tx, event).await?;
    audit::note(tx, AuditNote::of(patient.id).concerning(patient.id))?;
    Ok(IdempotencyOutcome::Now)
}

/// What changes nothing leaves the version as it is, and no event is published.
pub(super) async fn update(
    tx: &mut Tx<'_>,
    change: Change,
    details: Details,
    event: &'static str,
) -> Result<Patient, Error> {
    let before = locked(tx, &change).await?;
    if before.details == details {
        audit::note(tx, AuditNote::of(before.id).concerning(before.id))?;
        return Ok(before);
    }
    if details.date_of_birth > before.registered_date {
        return Err(Invalid::born_after_registration().into());
    }
    let Details { name, email, address, date_of_birth } = &details;
    tx.execute(
        "update patient set name = $1, email = $2, email_key = $3, address = $4,
         date_of_birth = $5, version = $6, updated_at = $7 where id = $8",
        params![
            name.as_str(),
            email.as_str(),
            email.key(),
            address.as_str(),
            *date_of_birth,
            before.version + 1,
            change.now,
            change.id,
        ],
    )
    .await?;
    let version = before.version + 1;
    let after = Patient { details, version, updated_at: change.now, ..before };
    index_again(tx, std::slice::from_ref(&after)).await?;
    let event = events::event(event, change.event_id, &after, version, change.now, change.trace);
    outbox::append(tx, event).await?;
    audit::note(tx, AuditNote::of(after.id).concerning(after.id))?;
    Ok(after)
}

pub(super) async fn remove(
    tx: &mut Tx<'_>,
    change: Change,
    event: &'static str,
) -> Result<(), Error> {
    let before = locked(tx, &change).await?;
    if tx.engine() == Engine::Sqlite {
        tx.execute(
            "delete from patient_search where rowid = (select seq from patient where id = $1)",
            params![change.id],
        )
        .await?;
    }
    tx.execute("delete from patient where id = $1", params![change.id]).await?;
    idempotency::erase(tx, change.id).await?;
    let version = before.version + 1;
    let event = events::event(event, change.event_id, &before, version, change.now, change.trace);
    outbox::append(tx, event).await?;
    audit::note(tx, AuditNote::of(before.id).concerning(before.id))?;
    Ok(())
}

pub(super) async fn get(tx: &mut Tx<'_>, id: Uuid) -> Result<Option<Patient>, DbError> {
    let sql = format!("select {COLUMNS} from patient where id = $1");
    tx.query_opt(&sql, params![id]).await?.map(|row| patient(&row)).transpose()
}

pub(super) async fn account_opened(
    tx: &mut Tx<'_>,
    id: Uuid,
    account: Uuid,
) -> Result<(), DbError> {
    tx.execute(
        "update patient set billing_account = $1 where id = $2 and billing_account is null",
        params![account, id],
    )
    .await
    .map(drop)
}

pub(super) async fn without_account(
    tx: &mut Tx<'_>,
    before: Timestamp,
    (after, id): (Timestamp, Uuid),
    count: u32,
) -> Result<Vec<Patient>, DbError> {
    let sql = format!(
        "select {COLUMNS} from patient
         where billing_account is null and created_at < $1 and (created_at, id) > ($2, $3)
         order by created_at, id limit $4"
    );
    tx.query(&sql, params![before, after, id, count]).await?.iter().map(patient).collect()
}

pub(super) async fn waiting_for_account(
    tx: &mut Tx<'_>,
    since: Timestamp,
) -> Result<(i64, Option<Timestamp>), DbError> {
    let sql = "select count(*), min(created_at) from patient
               where billing_account is null and created_at >= $1";
    let row = tx.query_one(sql, params![since]).await?;
    Ok((row.get(0)?, row.get(1)?))
}

/// The patient as the change finds it, held until the transaction ends.
async fn locked(tx: &mut Tx<'_>, change: &Change) -> Result<Patient, Error> {
    // On SQLite there is one writer at a time, so every row is held.
    let hold = if tx.engine() == Engine::Postgres { " for update" } else { "" };
    let sql = format!("select {COLUMNS} from patient where id = $1{hold}");
    let row = tx.query_opt(&sql, params![change.id]).await?.ok_or(Error::NotFound)?;
    let found = patient(&row)?;
    if change.condition.holds(found.version) { Ok(found) } else { Err(Error::Changed) }
}

/// A new patient, and what it is found by.
pub(crate) async fn insert(tx: &mut Tx<'_>, patient: &Patient) -> Result<(), DbError> {
    let values = values(patient);
    let places = "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12";
    let sql = format!("insert into patient ({INSERTED}) values ({places})");
    match tx.engine() {
        Engine::Postgres => tx.execute(&sql, &values).await.map(drop),
        Engine::Sqlite => {
            let row = tx.query_one(&format!("{sql} returning seq"), &values).await?;
            let [.., search] = values;
            tx.execute(INSERT_SEARCH, &[row.get::<i64>(0)?.into(), search]).await.map(drop)
        }
    }
}

/// New patients, but for those whose email is taken; returns how many. Of this PostgreSQL alone is
/// asked.
pub(super) async fn insert_all(tx: &mut Tx<'_>, patients: &[&Patient]) -> Result<u64, DbError> {
    let mut keyed: Vec<_> =
        patients.iter().map(|patient| (patient.details.email.key(), *patient)).collect();
    // In one order, so that groups of two replicas do not wait for each other.
    keyed.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let values: Vec<_> = keyed.into_iter().flat_map(|(_, patient)| values(patient)).collect();
    tx.insert_all("patient", INSERTED, &values, "on conflict (email_key) do nothing").await
}

/// Which of these this transaction has inserted, by their ids: demo data brings ids that another
/// one may have inserted before. Of this PostgreSQL alone is asked.
pub(super) async fn inserted_of(
    tx: &mut Tx<'_>,
    patients: &[&Patient],
) -> Result<BTreeSet<Uuid>, DbError> {
    let sql = format!(
        "select id from patient where id {} and xmin = cast(pg_current_xact_id() as xid)",
        tx.among_ids("$1")
    );
    let ids = many::ids(patients.iter().map(|patient| patient.id));
    tx.query(&sql, &[ids]).await?.iter().map(|row| row.get(0)).collect()
}

/// [`INSERTED`] of a patient.
fn values(patient: &Patient) -> [Value; 12] {
    let Details { name, email, address, date_of_birth } = &patient.details;
    [
        patient.id.into(),
        name.as_str().into(),
        sort_key(name.as_str()).into(),
        email.as_str().into(),
        email.key().into(),
        address.as_str().into(),
        (*date_of_birth).into(),
        patient.registered_date.into(),
        patient.version.into(),
        patient.created_at.into(),
        patient.updated_at.into(),
        text_of(&patient.details).into(),
    ]
}

/// Puts what patients are found and sorted by in place of what it was.
pub(super) async fn index_again(tx: &mut Tx<'_>, patients: &[Patient]) -> Result<(), DbError> {
    for patient in patients {
        let search = text_of(&patient.details);
        if tx.engine() == Engine::Sqlite {
            let sql = "select seq from patient where id = $1";
            let seq: i64 = tx.query_one(sql, params![patient.id]).await?.get(0)?;
            tx.execute("delete from patient_search where rowid = $1", params![seq]).await?;
            tx.execute(INSERT_SEARCH, params![seq, search.clone()]).await?;
        }
        let sql = "update patient set search = $1, sort_key = $2 where id = $3";
        let key = sort_key(patient.details.name.as_str());
        tx.execute(sql, params![search, key, patient.id]).await?;
    }
    Ok(())
}

/// Reads [`COLUMNS`].
pub(super) fn patient(row: &Row) -> Result<Patient, DbError> {
    Ok(Patient {
        id: row.get(0)?,
        details: Details {
            name: Text::stored(row.get(1)?),
            email: Text::stored(row.get(2)?),
            address: Text::stored(row.get(3)?),
            date_of_birth: row.get(4)?,
        },
        registered_date: row.get(5)?,
        version: row.get(6)?,
        created_at: row.get(7)?,
        updated_at: row.get(8)?,
        billing: row.get::<Option<Uuid>>(9)?.map_or(Billing::Pending, Billing::Active),
    })
}
