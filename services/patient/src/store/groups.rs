//! Registrations, and accounts that were opened, in groups: on PostgreSQL those that wait share
//! statements, round trips and a commit. On SQLite the writer's thread groups whatever comes.
//!
//! A row that is refused takes no other along (see `kit::batch`).

use std::{collections::BTreeMap, sync::Arc};

use futures_util::FutureExt as _;
use kit::{
    audit::{AuditNote, note_for},
    batch::Batch,
    db::{Db, DbError, Engine, Tx, many},
    outbox,
};
use serde_json::json;
use shared_middleware::audit::{self, AuditContext, scope};
use uuid::Uuid;

use super::{IdempotencyOutcome, Registration, idempotency, patients};
use crate::{error::Error, store::IdempotencyKey};

/// A registration, and the request that asked for it.
type Requested = (Registration, Option<AuditContext>);

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
    registrations: Batch<Requested, Result<IdempotencyOutcome, Error>>,
    accounts: Batch<Opened, Result<(), DbError>>,
}

// === impl Groups ===

impl Groups {
    pub(super) fn new(db: &Db) -> Self {
        let registrations = Batch::of_commits(
            db.clone(),
            |db, all| register_all(db, all).boxed(),
            |db, new| register(db, new).boxed(),
        );
        let accounts = Batch::of_commits(
            db.clone(),
            |db, all| keep_all(db, all).boxed(),
            |db, opened| keep(db, opened).boxed(),
        );
        Self { registrations, accounts }
    }

    /// Registers a patient with its event, unless its key was used before.
    pub(super) async fn register(
        &self,
        db: &Db,
        new: Registration,
    ) -> Result<IdempotencyOutcome, Error> {
        let asked = audit::current();
        match db.engine() {
            Engine::Sqlite => register(db.clone(), (new, asked)).await,
            Engine::Postgres => self.registrations.add((new, asked)).await,
        }
    }

    /// Keeps a patient's account, and the final answer.
    pub(super) async fn opened(&self, db: &Db, opened: Opened) -> Result<(), DbError> {
        match db.engine() {
            Engine::Sqlite => keep(db.clone(), opened).await,
            Engine::Postgres => self.accounts.add(opened).await,
        }
    }
}

/// One by itself.
async fn register(db: Db, (new, asked): Requested) -> Result<IdempotencyOutcome, Error> {
    scope(asked, db.write(move |tx| Box::pin(patients::register(tx, new)))).await
}

async fn register_all(
    db: Db,
    all: Arc<[Requested]>,
) -> Result<Vec<Option<IdempotencyOutcome>>, DbError> {
    db.write(move |tx| Box::pin(register_together(tx, all))).await
}

/// Registers all that nothing refuses.
async fn register_together(
    tx: &mut Tx<'_>,
    group: Arc<[Requested]>,
) -> Result<Vec<Option<IdempotencyOutcome>>, DbError> {
    let new: Vec<_> = group.iter().map(|(new, _)| new).collect();
    let keyed: Vec<_> = new.iter().filter(|new| new.key.is_some()).copied().collect();
    if idempotency::begin_all(tx, &keyed).await? < keyed.len() as u64 {
        // Some are repeated: each finds out by itself.
        return Err(DbError::Unique("idempotency_caller_request_key".to_owned()));
    }
    let patients: Vec<_> = new.iter().map(|new| &new.patient).collect();
    let there = if patients::insert_all(tx, &patients).await? == patients.len() as u64 {
        patients.iter().map(|patient| patient.id).collect()
    } else {
        let there = patients::inserted_of(tx, &patients).await?;
        let refused = patients.iter().map(|it| it.id).filter(|id| !there.contains(id));
        idempotency::forget_all(tx, refused).await?;
        there
    };
    let mut done = Vec::with_capacity(group.len());
    for (new, asked) in &*group {
        let id = new.patient.id;
        if there.contains(&id) {
            outbox::append(tx, new.event.clone()).await?;
            note_for(tx, asked.clone(), AuditNote::of(id).concerning(id))?;
        }
        done.push(there.contains(&id).then_some(IdempotencyOutcome::Now));
    }
    Ok(done)
}

/// One by itself.
async fn keep(db: Db, opened: Opened) -> Result<(), DbError> {
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

async fn keep_all(db: Db, all: Arc<[Opened]>) -> Result<Vec<Option<()>>, DbError> {
    // An account that is lost is asked for again, and found; an answer is not.
    match all.iter().any(|opened| opened.answer.is_some()) {
        true => db.write(move |tx| Box::pin(opened_together(tx, all))).await,
        false => db.write_soon(move |tx| Box::pin(opened_together(tx, all))).await,
    }
}

async fn opened_together(
    tx: &mut Tx<'_>,
    group: Arc<[Opened]>,
) -> Result<Vec<Option<()>>, DbError> {
    let accounts: BTreeMap<_, _> = group.iter().map(|it| (it.patient_id, it.account)).collect();
    // The subquery is worked out once.
    let sql = format!(
        "update patient set billing_account = cast(
             (select cast(cast($1 as text) as jsonb)) ->> cast(id as text) as uuid)
         where id {} and billing_account is null",
        tx.among_ids("$2")
    );
    let ids = many::ids(accounts.keys().copied());
    tx.execute(&sql, &[json!(accounts).to_string().into(), ids]).await?;
    let answer = |it: &Opened| Some((it.patient_id, it.answer.clone()?.1));
    idempotency::finish_all(tx, group.iter().filter_map(answer).collect()).await?;
    Ok(vec![Some(()); group.len()])
}
