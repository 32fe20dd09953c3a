//! Patients, as they are kept: rows and the events that they cause, in one transaction.
//!
//! - `patients` writes and reads single patients.
//! - `list` pages and searches.
//! - `groups` writes many at once.
//! - `idempotency` keeps first answers.
//! - `email_domains` rewrites addresses from before.
//! - `search` is what is searched for; `prepared` makes it for patients of before.

mod email_domains;
mod groups;
mod idempotency;
mod list;
pub(crate) mod patients;
mod prepared;
mod search;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use kit::{
    db::{Db, DbError, Migrations},
    outbox::Event,
};
use shared_middleware::trace_context::TraceContext;
use uuid::Uuid;

use self::groups::Groups;
pub(crate) use self::{
    groups::Opened,
    idempotency::IdempotencyKey,
    list::{After, List, Order, Sort},
    search::Search,
};
use crate::{
    domain::{Condition, Details, Patient},
    error::Error,
};

mod sqlite {
    refinery::embed_migrations!("migrations/sqlite");
}

mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

/// The tables of both engines.
pub(crate) fn migrations() -> Migrations {
    Migrations { sqlite: sqlite::migrations::runner(), postgres: postgres::migrations::runner() }
}

/// A registration is committed, or given up, so long after it was begun.
const COMMITTED_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// A registration, whole: what commits together.
#[derive(Clone)]
pub(crate) struct Registration {
    pub(crate) patient: Patient,
    pub(crate) event: Event,
    /// Kept under the key, until billing has answered too.
    pub(crate) answer: String,
    pub(crate) key: Option<IdempotencyKey>,
}

/// A change to a patient.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) id: Uuid,
    /// Of which versions.
    pub(crate) condition: Condition,
    pub(crate) now: Timestamp,
    pub(crate) event_id: Uuid,
    /// The request that asks for it.
    pub(crate) trace: Option<TraceContext>,
}

/// Whether a registration is the first with its key.
pub(crate) enum IdempotencyOutcome {
    /// It is, or has no key: the patient was registered.
    Now,
    /// It is not: the first response, or what it would have been before billing answered.
    Before { patient_id: Uuid, answer: String, is_final: bool },
}

/// The patients' store.
#[derive(Clone)]
pub(crate) struct Store {
    db: Db,
    groups: Groups,
    /// See `list`.
    few_matches: i64,
    /// Every patient who was registered before has an account, as far as this process has seen:
    /// microseconds since 1970. To look at those alone who came later takes no index of its own,
    /// which each account that is opened would have to be taken out of.
    accounts_open_before_us: Arc<AtomicI64>,
}

// === impl Store ===

impl Store {
    pub(crate) fn new(db: Db) -> Self {
        let accounts_open_before_us = Arc::new(AtomicI64::new(0));
        let groups = Groups::new(&db);
        Self { db, groups, few_matches: list::FEW_MATCHES, accounts_open_before_us }
    }

    /// The same, taking searches with more matches than this for ones with many.
    #[cfg(test)]
    pub(crate) fn with_few_matches(self, few_matches: i64) -> Self {
        Self { few_matches, ..self }
    }

    /// Registers a patient with its event, unless its key was used before.
    pub(crate) async fn register(&self, new: Registration) -> Result<IdempotencyOutcome, Error> {
        self.groups.register(&self.db, new).await
    }

    /// Keeps the final answer under the key, unless there is one; returns which one it is, or
    /// nothing when the patient was removed.
    pub(crate) async fn finish(
        &self,
        key: IdempotencyKey,
        answer: String,
    ) -> Result<Option<String>, DbError> {
        self.db.write(move |tx| Box::pin(idempotency::finish(tx, key, answer))).await
    }

    /// Keeps a patient's account, and the final answer.
    pub(crate) async fn opened(&self, opened: Opened) -> Result<(), DbError> {
        self.groups.opened(&self.db, opened).await
    }

    /// Changes a patient's details.
    pub(crate) async fn update(
        &self,
        change: Change,
        details: Details,
        event: &'static str,
    ) -> Result<Patient, Error> {
        self.db.write(move |tx| Box::pin(patients::update(tx, change, details, event))).await
    }

    /// Removes a patient, and what was kept to answer repeated requests.
    pub(crate) async fn remove(&self, change: Change, event: &'static str) -> Result<(), Error> {
        self.db.write(move |tx| Box::pin(patients::remove(tx, change, event))).await
    }

    pub(crate) async fn get(&self, id: Uuid) -> Result<Option<Patient>, DbError> {
        self.db.read_by_key(move |tx| Box::pin(patients::get(tx, id))).await
    }

    pub(crate) async fn list(&self, list: List) -> Result<Vec<Patient>, DbError> {
        let few_matches = self.few_matches;
        self.db.search(move |tx| Box::pin(list::list(tx, list, few_matches))).await
    }

    /// Patients registered before then, and after this one, whose account is not open; oldest
    /// first.
    pub(crate) async fn without_account(
        &self,
        before: Timestamp,
        after: Option<(Timestamp, Uuid)>,
        count: u32,
    ) -> Result<Vec<Patient>, DbError> {
        let since = self.accounts_open_before();
        let after = after.unwrap_or((since, Uuid::nil()));
        self.db.read(move |tx| Box::pin(patients::without_account(tx, before, after, count))).await
    }

    /// How many have no account yet, and since when the first of them has none.
    pub(crate) async fn waiting_for_account(
        &self,
        now: Timestamp,
    ) -> Result<(i64, Option<Timestamp>), DbError> {
        let since = self.accounts_open_before();
        let read = self.db.read(move |tx| Box::pin(patients::waiting_for_account(tx, since)));
        let (count, oldest) = read.await?;
        let seen = oldest.map_or(now, |oldest| oldest.min(now)).min(now - COMMITTED_WITHIN);
        self.accounts_open_before_us.fetch_max(seen.as_microsecond(), Ordering::Relaxed);
        Ok((count, oldest))
    }

    fn accounts_open_before(&self) -> Timestamp {
        let us = self.accounts_open_before_us.load(Ordering::Relaxed);
        Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    pub(crate) async fn is_empty(&self) -> Result<bool, DbError> {
        self.db
            .read(|tx| {
                Box::pin(async move {
                    Ok(tx.query_opt("select 1 from patient limit 1", &[]).await?.is_none())
                })
            })
            .await
    }

    /// Makes what patients of before are found and sorted by.
    pub(crate) async fn prepare(&self) -> Result<(), DbError> {
        prepared::prepare(&self.db).await
    }

    /// Writes the domains of addresses in their ASCII form, of which some rows are from before.
    pub(crate) async fn rewrite_email_domains(&self) -> Result<(), DbError> {
        email_domains::rewrite(&self.db).await
    }

    /// Forgets first answers from before then.
    pub(crate) async fn forget_answers(&self, before: Timestamp) -> Result<(), DbError> {
        self.db.write(move |tx| Box::pin(idempotency::forget(tx, before))).await
    }
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod conformance_list;
#[cfg(test)]
mod groups_tests;
