//! Registrations, and accounts that were opened, in groups: on PostgreSQL those that wait share
//! statements, round trips and a commit. On SQLite the writer's thread groups whatever comes.
//!
//! A row that is refused takes nobody along: its registration is done again by itself, as all of a
//! group are when the group fails. When the store was not heard of, nobody knows; all are told.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;
use kit::{
    audit::{Note, note_for},
    batch::Batch,
    db::{Db, DbError, Engine, Tx},
    outbox, params,
};
use serde_json::json;
use shared_middleware::{
    audit::{self, Asked, scope},
    error::causes,
};
use uuid::Uuid;

use super::{FirstAnswer, Registration, idempotency, patients};
use crate::{error::Error, store::IdempotencyKey};

/// So many are in a group at most.
const GROUP_MAX: usize = 64;
/// While one group is committed, the next one is written.
const GROUPS_AT_ONCE: usize = 2;

/// A registration, and the request that asked for it.
type Requested = (Registration, Option<Asked>);

/// What billing answered.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) patient_id: Uuid,
    pub(crate) account: Uuid,
    /// The final answer, to be kept under its key.
    pub(crate) answer: Option<(IdempotencyKey, String)>,
}

#[derive(Clone)]
pub(super) struct Groups {
    registrations: Batch<Requested, Result<FirstAnswer, Error>>,
    accounts: Batch<Opened, Result<(), DbError>>,
}

// === impl Groups ===

impl Groups {
    pub(super) fn new(db: &Db) -> Self {
        let (registering, opening) = (db.clone(), db.clone());
        let registrations = Batch::new(GROUP_MAX, GROUPS_AT_ONCE, move |group| {
            Box::pin(register_all(registering.clone(), group))
        });
        let accounts = Batch::new(GROUP_MAX, GROUPS_AT_ONCE, move |group| {
            Box::pin(opened_all(opening.clone(), group))
        });
        Self { registrations, accounts }
    }

    /// Registers a patient with its event, unless its key was used before.
    pub(super) async fn register(&self, db: &Db, new: Registration) -> Result<FirstAnswer, Error> {
        let asked = audit::current();
        match db.engine() {
            Engine::Sqlite => register(db, (new, asked)).await,
            Engine::Postgres => {
                let done = self.registrations.add((new, asked)).await;
                done.unwrap_or_else(|| Err(gone().into()))
            }
        }
    }

    /// Keeps a patient's account, and the final answer.
    pub(super) async fn opened(&self, db: &Db, opened: Opened) -> Result<(), DbError> {
        match db.engine() {
            Engine::Sqlite => keep(db, opened).await,
            Engine::Postgres => self.accounts.add(opened).await.unwrap_or_else(|| Err(gone())),
        }
    }
}

/// One by itself.
async fn register(db: &Db, (new, asked): Requested) -> Result<FirstAnswer, Error> {
    scope(asked, db.write(move |tx| Box::pin(patients::register(tx, new)))).await
}

async fn register_all(db: Db, group: Vec<Requested>) -> Vec<Result<FirstAnswer, Error>> {
    if group.len() == 1 {
        return join_all(group.into_iter().map(|new| register(&db, new))).await;
    }
    let all = Arc::<[Requested]>::from(group);
    let together = Arc::clone(&all);
    let done = db.write(move |tx| Box::pin(register_together(tx, together))).await;
    let is_done = match done {
        Ok(is_done) => is_done,
        Err(DbError::Unavailable(why)) => {
            tracing::warn!(error = causes(&*why), "a group of registrations was not heard of");
            return all.iter().map(|_| Err(gone().into())).collect();
        }
        Err(_) => vec![false; all.len()],
    };
    join_all(all.iter().zip(is_done).map(async |(new, is_done)| {
        if is_done { Ok(FirstAnswer::Now) } else { register(&db, new.clone()).await }
    }))
    .await
}

/// Registers all that nothing refuses; tells which ones.
async fn register_together(tx: &mut Tx<'_>, group: Arc<[Requested]>) -> Result<Vec<bool>, DbError> {
    let new: Vec<_> = group.iter().map(|(new, _)| new).collect();
    let keyed: Vec<_> = new.iter().filter(|new| new.key.is_some()).copied().collect();
    if idempotency::begin_all(tx, &keyed).await? < keyed.len() as u64 {
        // Some are repeated: each finds out by itself.
        return Err(DbError::Unique("idempotency_caller_request_key".to_owned()));
    }
    let patients: Vec<_> = new.iter().map(|new| &new.patient).collect();
    let is_done = if patients::insert_all(tx, &patients).await? == patients.len() as u64 {
        vec![true; patients.len()]
    } else {
        let there = patients::those_of(tx, &patients).await?;
        let is_done: Vec<_> = patients.iter().map(|it| there.contains(&it.id)).collect();
        let refused = patients.iter().map(|it| it.id).filter(|id| !there.contains(id));
        idempotency::forget_all(tx, refused).await?;
        is_done
    };
    let done = group.iter().zip(&is_done).filter(|(_, is_done)| **is_done);
    for ((new, asked), _) in done {
        outbox::append(tx, new.event.clone()).await?;
        let note = Note::of(new.patient.id).concerning(new.patient.id);
        note_for(tx, asked.clone(), note)?;
    }
    Ok(is_done)
}

/// One by itself.
async fn keep(db: &Db, opened: Opened) -> Result<(), DbError> {
    let Opened { patient_id, account, answer } = opened;
    db.write(move |tx| {
        Box::pin(async move {
            patients::account_opened(tx, patient_id, account).await?;
            if let Some((key, answer)) = answer {
                idempotency::finish(tx, key, answer).await?;
            }
            Ok(())
        })
    })
    .await
}

async fn opened_all(db: Db, group: Vec<Opened>) -> Vec<Result<(), DbError>> {
    let all = Arc::<[Opened]>::from(group);
    let together = Arc::clone(&all);
    // An account that is lost is asked for again, and found; an answer is not.
    let done: Result<(), DbError> = match all.iter().any(|opened| opened.answer.is_some()) {
        true => db.write(move |tx| Box::pin(opened_together(tx, together))).await,
        false => db.write_soon(move |tx| Box::pin(opened_together(tx, together))).await,
    };
    match done {
        Ok(()) => all.iter().map(|_| Ok(())).collect(),
        Err(DbError::Unavailable(_)) => all.iter().map(|_| Err(gone())).collect(),
        Err(_) => join_all(all.iter().map(|opened| keep(&db, opened.clone()))).await,
    }
}

async fn opened_together(tx: &mut Tx<'_>, group: Arc<[Opened]>) -> Result<(), DbError> {
    let accounts: BTreeMap<_, _> = group.iter().map(|it| (it.patient_id, it.account)).collect();
    let sql = "update patient p set billing_account = cast(v.value as uuid)
               from json_each_text(cast(cast($1 as text) as json)) v
               where p.id = cast(v.key as uuid) and p.billing_account is null";
    tx.execute(sql, params![json!(accounts).to_string()]).await?;
    let answers: Vec<_> = group.iter().filter_map(|it| it.answer.as_ref()).collect();
    idempotency::finish_all(tx, &answers).await
}

/// Whoever worked on it is gone, or was not heard of.
fn gone() -> DbError {
    DbError::Unavailable("whether the group was committed is not known".into())
}
