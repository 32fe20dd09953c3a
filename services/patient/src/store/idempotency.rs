//! First answers by idempotency key.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kit::{
    db::{DbError, Tx, many},
    params,
};
use serde_json::json;
use uuid::Uuid;

use super::{IdempotencyOutcome, Registration};
use crate::error::Error;

/// How long a key is remembered.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// A caller's key, and what was asked with it.
#[derive(Clone)]
pub(crate) struct IdempotencyKey {
    pub(crate) caller: String,
    pub(crate) key: String,
    pub(crate) fingerprint: Vec<u8>,
}

/// What was answered to the first request with this key, if there was one.
pub(super) async fn first_answer(
    tx: &mut Tx<'_>,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<IdempotencyOutcome, Error> {
    let found = tx
        .query_opt(
            "select fingerprint, patient_id, answer, finished, created_at from idempotency
             where caller = $1 and request_key = $2",
            params![&key.caller, &key.key],
        )
        .await?;
    let Some(row) = found else { return Ok(IdempotencyOutcome::Now) };
    let age = now.duration_since(row.get::<Timestamp>(4)?);
    if age > KEPT {
        tx.execute(
            "delete from idempotency where caller = $1 and request_key = $2",
            params![&key.caller, &key.key],
        )
        .await?;
        return Ok(IdempotencyOutcome::Now);
    }
    if row.get::<Vec<u8>>(0)? != key.fingerprint {
        return Err(Error::KeyReused);
    }
    let is_final = row.get::<i64>(3)? == 1;
    let answer = row.get::<Option<String>>(2)?.ok_or(Error::Removed)?;
    Ok(IdempotencyOutcome::Before { patient_id: row.get(1)?, answer, is_final })
}

/// Keeps the answer as it is before billing's.
pub(super) async fn begin(
    tx: &mut Tx<'_>,
    key: IdempotencyKey,
    patient_id: Uuid,
    answer: String,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.execute(
        "insert into idempotency
         (caller, request_key, fingerprint, patient_id, answer, finished, created_at)
         values ($1, $2, $3, $4, $5, 0, $6)",
        params![key.caller, key.key, key.fingerprint, patient_id, answer, now],
    )
    .await
    .map(drop)
}

/// The same for many; returns for how many there was none.
pub(super) async fn begin_all(tx: &mut Tx<'_>, keyed: &[&Registration]) -> Result<u64, DbError> {
    let mut values = Vec::new();
    // In one order, so that groups of two replicas do not wait for each other.
    let mut keyed: Vec<_> =
        keyed.iter().filter_map(|new| new.key.as_ref().map(|key| (key, new))).collect();
    keyed.sort_unstable_by_key(|(key, _)| (&key.caller, &key.key));
    for (IdempotencyKey { caller, key, fingerprint }, Registration { patient, answer, .. }) in keyed
    {
        values.extend_from_slice(params![
            caller,
            key,
            fingerprint.clone(),
            patient.id,
            answer,
            0_i64,
            patient.created_at
        ]);
    }
    let columns = "caller, request_key, fingerprint, patient_id, answer, finished, created_at";
    tx.insert_all("idempotency", columns, &values, "on conflict do nothing").await
}

/// Forgets the keys of patients who were not registered.
pub(super) async fn forget_all(
    tx: &mut Tx<'_>,
    patients: impl Iterator<Item = Uuid>,
) -> Result<(), DbError> {
    let sql = format!("delete from idempotency where patient_id {}", tx.among_ids("$1"));
    tx.execute(&sql, &[many::ids(patients)]).await.map(drop)
}

/// As [`finish`] for many, by whom they registered. Of this PostgreSQL alone is asked.
pub(super) async fn finish_all(
    tx: &mut Tx<'_>,
    answers: BTreeMap<Uuid, String>,
) -> Result<(), DbError> {
    if answers.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "update idempotency set finished = 1,
             answer = (select cast(cast($1 as text) as jsonb)) ->> cast(patient_id as text)
         where patient_id {} and finished = 0",
        tx.among_ids("$2")
    );
    let ids = many::ids(answers.keys().copied());
    tx.execute(&sql, &[json!(answers).to_string().into(), ids]).await.map(drop)
}

/// Keeps the final answer, unless there is one or the patient was removed meanwhile; returns which
/// one it is.
pub(super) async fn finish(
    tx: &mut Tx<'_>,
    key: IdempotencyKey,
    answer: String,
) -> Result<Option<String>, DbError> {
    let kept = tx
        .execute(
            "update idempotency set answer = $1, finished = 1
             where caller = $2 and request_key = $3 and finished = 0",
            params![&answer, &key.caller, &key.key],
        )
        .await?;
    if kept == 1 {
        return Ok(Some(answer));
    }
    let sql = "select answer from idempotency where caller = $1 and request_key = $2";
    let row = tx.query_opt(sql, params![&key.caller, &key.key]).await?;
    row.map_or(Ok(None), |row| row.get(0))
}

/// Erases what was kept of a patient: the key stays, the personal data goes.
pub(super) async fn erase(tx: &mut Tx<'_>, patient_id: Uuid) -> Result<(), DbError> {
    tx.execute(
        "update idempotency set answer = null, finished = 1 where patient_id = $1",
        params![patient_id],
    )
    .await
    .map(drop)
}

/// Forgets keys from before then.
pub(super) async fn forget(tx: &mut Tx<'_>, before: Timestamp) -> Result<(), DbError> {
    tx.execute("delete from idempotency where created_at < $1", params![before]).await.map(drop)
}
