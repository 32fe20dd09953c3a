//! Single patients: each write with its event, its search terms and its first answer.

use jiff::Timestamp;
use kit::{
    audit::{self, Note},
    db::{DbError, Engine, Row, Tx, Value},
    outbox, params,
};
use uuid::Uuid;

use super::{Change, FirstAnswer, Registration, grams, idempotency};
use crate::{
    domain::{Billing, Details, Invalid, Patient, Text},
    error::Error,
    events,
};

/// What [`patient`] reads, in its order.
pub(super) const COLUMNS: &str =
    "id, name, email, address, date_of_birth, registered_date, version,
    created_at, updated_at, billing_account";

const INSERT_TERMS: &str = "insert into patient_gram (rowid, grams) values ($1, $2)";

pub(super) async fn register(tx: &mut Tx<'_>, new: Registration) -> Result<FirstAnswer, Error> {
    let Registration { patient, event, answer, key } = new;
    if let Some(key) = key {
        let before = idempotency::first_answer(tx, &key, patient.created_at).await?;
        if matches!(before, FirstAnswer::Before { .. }) {
            return Ok(before);
        }
        idempotency::begin(tx, key, patient.id, answer, patient.created_at).await?;
    }
    insert(tx, &patient).await?;
    outbox::append(tx, event).await?;
    audit::note(tx, Note::of(patient.id).concerning(patient.id))?;
    Ok(FirstAnswer::Now)
}

/// What changes nothing leaves the version as it is, and nobody is told.
pub(super) async fn update(
    tx: &mut Tx<'_>,
    change: Change,
    details: Details,
    event: &'static str,
) -> Result<Patient, Error> {
    let before = locked(tx, &change).await?;
    if before.details == details {
        audit::note(tx, Note::of(before.id).concerning(before.id))?;
        return Ok(before);
    }
    if details.date_of_birth > before.registered_date {
        return Err(Invalid::born_after_registration().into());
    }
    let Details { name, email, address, date_of_birth } = &details;
    tx.execute(
        "update patient set name = $1, name_key = $2, email = $3, email_key = $4, address = $5,
         date_of_birth = $6, version = $7, updated_at = $8 where id = $9",
        params![
            name.as_str(),
            name.key(),
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
    index_again(tx, change.id, &details).await?;
    let version = before.version + 1;
    let after = Patient { details, version, updated_at: change.now, ..before };
    let event = events::event(event, change.event_id, &after, version, change.now, change.trace);
    outbox::append(tx, event).await?;
    audit::note(tx, Note::of(after.id).concerning(after.id))?;
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
            "delete from patient_gram where rowid = (select seq from patient where id = $1)",
            params![change.id],
        )
        .await?;
    }
    tx.execute("delete from patient where id = $1", params![change.id]).await?;
    idempotency::erase(tx, change.id).await?;
    let version = before.version + 1;
    let event = events::event(event, change.event_id, &before, version, change.now, change.trace);
    outbox::append(tx, event).await?;
    audit::note(tx, Note::of(before.id).concerning(before.id))?;
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

/// A new patient and its search terms.
pub(crate) async fn insert(tx: &mut Tx<'_>, patient: &Patient) -> Result<(), DbError> {
    let Details { name, email, address, date_of_birth } = &patient.details;
    let values = params![
        patient.id,
        name.as_str(),
        name.key(),
        email.as_str(),
        email.key(),
        address.as_str(),
        *date_of_birth,
        patient.registered_date,
        patient.version,
        patient.created_at,
        patient.updated_at,
        terms(&patient.details),
    ];
    let columns = "id, name, name_key, email, email_key, address, date_of_birth,
         registered_date, version, created_at, updated_at";
    let places = "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11";
    match tx.engine() {
        Engine::Postgres => {
            let sql = format!(
                "insert into patient ({columns}, grams)
                 values ({places}, string_to_array($12, ' '))"
            );
            tx.execute(&sql, values).await?;
        }
        Engine::Sqlite => {
            let [values @ .., terms] = values;
            let sql = format!("insert into patient ({columns}) values ({places}) returning seq");
            let seq: i64 = tx.query_one(&sql, values).await?.get(0)?;
            tx.execute(INSERT_TERMS, &[seq.into(), terms.clone()]).await?;
        }
    }
    Ok(())
}

/// Puts a patient's search terms in place of those that it had.
pub(super) async fn index_again(
    tx: &mut Tx<'_>,
    id: Uuid,
    details: &Details,
) -> Result<(), DbError> {
    let terms = terms(details);
    match tx.engine() {
        Engine::Postgres => {
            let sql = "update patient set grams = string_to_array($1, ' ') where id = $2";
            tx.execute(sql, params![terms, id]).await?;
        }
        Engine::Sqlite => {
            let seq: i64 =
                tx.query_one("select seq from patient where id = $1", params![id]).await?.get(0)?;
            let known = &[Value::from(seq)];
            tx.execute("delete from patient_gram where rowid = $1", known).await?;
            tx.execute(INSERT_TERMS, params![seq, terms]).await?;
        }
    }
    Ok(())
}

fn terms(details: &Details) -> String {
    grams::of_patient(&details.name.key(), &details.email.key())
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
