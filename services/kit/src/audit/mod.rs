//! The audit log, as it is kept: one table in each service's store, which only grows.
//!
//! - here: what is recorded, in the transaction of its effect ([`note`]) or by itself
//!   ([`AuditLog`]);
//! - `chain`: each entry is sealed with a keyed link to the one before;
//! - `append_lock`: each process writes a chain of its own, whose head it has in memory;
//! - `registry`: which chains there are, itself a chain;
//! - [`checkpoint`]: signed statements of how far a chain had come, to be kept elsewhere;
//! - [`verify`]: finds the first entry that is not what was written;
//! - [`replication`]: every service hands its entries to auth, where they are searched.
//!
//! **Invariant:** the numbers of a chain are 1, 2, 3 and so on without a gap, in the order of the
//! commits: one transaction at a time appends to it, and holds it until its commit. So entries are
//! appended last in a transaction; PostgreSQL gets them with the commit.
//!
//! **Invariant:** a chain has one writer. What may have been written and was not acknowledged ends
//! it.
//!
//! **Invariant:** an answer that is recorded goes out after its entry is on disk.

mod append_lock;
mod chain;
#[cfg(test)]
mod chains_tests;
pub mod checkpoint;
#[cfg(test)]
mod model_tests;
mod registry;
pub mod replication;
pub(crate) mod rows;
#[cfg(test)]
mod tests;
mod verifier;
pub mod verify;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::BoxFuture;
use prometheus::IntCounterVec;
use ring::digest::{SHA256, digest};
use shared_middleware::{
    audit::{AuditContext, AuditSink, Entry, Outcome, SYSTEM, layer::not_recorded},
    clock::Clock,
    error::{Failure, causes},
    identity::{Part, Role},
    metrics::counter,
};
use tokio::sync::Notify;
use uuid::Uuid;

pub(crate) use self::append_lock::{AppendLock, Appending};
use self::chain::Chain;
pub use self::{
    chain::{AuditKey, BadAuditKey},
    registry::{Closing, HEADS_TOLD_MAX, REGISTRY, closing, start_of},
    rows::{COLUMN_COUNT, COLUMNS, Head, Kept, after, head, heads},
};
use crate::{
    batch::Batch,
    db::{Db, DbError, Tx},
    params,
};

/// This many entries are written in one transaction at most.
const BATCH_MAX: usize = 256;
/// What it is called that a log was closed.
const CLOSE: &str = "audit.close";
/// The name under which a store keeps which key its audit log is chained with.
const KEY_NAME: &str = "audit-key-id";

static ENTRIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let labels = &["service", "outcome"];
    counter("audit_entries_total", "Entries of the audit log, by outcome.", labels)
});
static FAILURES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Entries that could not be kept; what they were about was refused.";
    counter("audit_failures_total", help, &["service"])
});

/// A service's audit log.
#[derive(Clone)]
pub struct AuditLog(Arc<Inner>);

/// What a transaction needs to record something.
pub(crate) struct AuditState {
    key: AuditKey,
    chain: Chain,
    clock: Clock,
    /// Wakes anyone who hands entries on.
    grown: Notify,
    /// How far auth's copies of the chains had come when it last took of them.
    taken: Mutex<BTreeMap<i64, Head>>,
    /// Wakes anyone who verifies: auth knows something else than the audit log says.
    doubted: Notify,
}

struct Inner {
    db: Db,
    ledger: Arc<AuditState>,
    /// Entries of reads; told whether theirs is on disk.
    single: Batch<Entry, bool>,
}

/// What a transaction did, as the audit log tells it.
#[derive(Debug)]
pub struct AuditNote {
    record: String,
    patients: Vec<Uuid>,
    by: Option<(String, Option<Role>)>,
    outcome: Outcome,
    changed: Vec<String>,
}

/// Records what the running request does, in the transaction of its effect: when all else in it has
/// worked, so that nobody waits for the audit log longer than it takes to commit.
pub fn note(tx: &mut Tx<'_>, note: AuditNote) -> Result<(), DbError> {
    let (asked, _) = tx.ledger()?;
    note_for(tx, asked, note)
}

/// The same, where a transaction does what several requests asked for: this one.
pub fn note_for(
    tx: &mut Tx<'_>,
    asked: Option<AuditContext>,
    note: AuditNote,
) -> Result<(), DbError> {
    let (_, ledger) = tx.ledger()?;
    let asked = asked.unwrap_or_else(|| AuditContext::by_system(SYSTEM));
    let AuditNote { record, patients, by, outcome, changed } = note;
    if let Some((user, role)) = by {
        asked.by_user(user, role);
    }
    let entry = asked.entry(ledger.clock.now(), outcome, Some(record), patients);
    let entry = Entry { changed, ..entry };
    tx.record(entry);
    asked.note(outcome);
    ledger.counted(outcome);
    Ok(())
}

/// Appends what a transaction has recorded: the last that it does.
pub(crate) async fn append_recorded(tx: &mut Tx<'_>) -> Result<(), DbError> {
    let entries = tx.take_recorded();
    if entries.is_empty() {
        return Ok(());
    }
    let (_, ledger) = tx.ledger()?;
    rows::append(tx, &ledger.chain, ledger.clock.now(), &entries).await
}

// === impl AuditNote ===

impl AuditNote {
    /// Something was done to this record.
    pub fn of(record: impl ToString) -> Self {
        let (record, outcome) = (record.to_string(), Outcome::Allowed);
        Self { record, patients: Vec::new(), by: None, outcome, changed: Vec::new() }
    }

    /// The same, by which these fields of the record were set (see [`Entry::changed`]).
    pub fn setting(self, changed: Vec<String>) -> Self {
        Self { changed, ..self }
    }

    /// The same, which concerns a patient.
    pub fn concerning(self, patient: Uuid) -> Self {
        Self { patients: vec![patient], ..self }
    }

    /// The same, by a user who was known only now.
    pub fn by(self, user: impl ToString, role: Option<Role>) -> Self {
        Self { by: Some((user.to_string(), role)), ..self }
    }

    /// The same, where what was asked for was refused, and this is what became of it.
    pub fn refused(self) -> Self {
        Self { outcome: Outcome::Refused, ..self }
    }
}

// === impl AuditLog ===

impl AuditLog {
    /// The audit log in this store. From now on its transactions can record ([`note`]).
    pub async fn open(writer: Part, db: Db, key: &AuditKey, clock: Clock) -> Result<Self, DbError> {
        for outcome in [Outcome::Allowed, Outcome::Refused, Outcome::Failed] {
            // There from the start, so that alerts find them.
            ENTRIES.with_label_values(&[writer.as_str(), outcome.as_str()]);
        }
        FAILURES.with_label_values(&[writer.as_str()]);
        check_key(&db, key).await?;
        let chain = Chain::new(writer, key);
        let (key, taken) = (key.clone(), Mutex::default());
        let (grown, doubted) = (Notify::new(), Notify::new());
        let ledger = Arc::new(AuditState { key, chain, clock, grown, taken, doubted });
        db.keep_ledger(Arc::clone(&ledger));
        let (writing, written) = (db.clone(), Arc::clone(&ledger));
        // A chain is appended to by one at a time.
        let single = Batch::new(BATCH_MAX, 1, move |entries: Vec<Entry>| {
            let (db, ledger, count) = (writing.clone(), Arc::clone(&written), entries.len());
            Box::pin(async move { vec![keep_all(&db, &ledger, entries).await.is_ok(); count] })
        });
        Ok(Self(Arc::new(Inner { db, ledger, single })))
    }

    /// Keeps an entry: it is on disk when this is `Ok`.
    ///
    /// Those that come while others are written are written together.
    pub async fn keep(&self, entry: Entry) -> Result<(), Failure> {
        let is_kept = self.0.single.try_add(entry).await.unwrap_or(false);
        if is_kept { Ok(()) } else { Err(not_recorded()) }
    }

    /// Keeps the entries that another part recorded.
    pub async fn keep_all(&self, entries: Vec<Entry>) -> Result<(), DbError> {
        keep_all(&self.0.db, &self.0.ledger, entries).await
    }

    /// Closes a log that is broken: verification speaks of what comes after this. `known` is how
    /// far its chains have come as others know. The reason is told in an entry of its own.
    pub async fn close(&self, known: Vec<Head>, reason: String) -> Result<(), DbError> {
        let ledger = Arc::clone(&self.0.ledger);
        let asked = AuditContext::by_shell(CLOSE);
        let entry = asked.entry(ledger.clock.now(), Outcome::Allowed, Some(reason), Vec::new());
        let close = self.0.db.write(move |tx| {
            Box::pin(async move { rows::close(tx, &ledger.chain, &entry, known).await })
        });
        close.await
    }

    /// Whose it is.
    pub fn writer(&self) -> Part {
        self.0.ledger.chain.writer()
    }
}

/// Keeps entries that no effect of ours caused.
async fn keep_all(db: &Db, ledger: &AuditState, entries: Vec<Entry>) -> Result<(), DbError> {
    let outcomes: Vec<_> = entries.iter().map(|entry| entry.outcome).collect();
    let entries = Arc::<[Entry]>::from(entries);
    let kept = db.write_trail(move |tx| {
        Box::pin(async move {
            entries.iter().for_each(|entry| tx.record(entry.clone()));
            Ok(())
        })
    });
    let kept = kept.await;
    match &kept {
        Ok(()) => outcomes.into_iter().for_each(|outcome| ledger.counted(outcome)),
        Err(error) => {
            FAILURES.with_label_values(&[ledger.chain.writer().as_str()]).inc();
            tracing::error!(error = causes(error), "the audit log cannot be written");
        }
    }
    kept
}

impl AuditSink for AuditLog {
    fn record(&self, entry: Entry) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.keep(entry))
    }
}

// === impl AuditState ===

impl AuditState {
    /// How far auth's copies have come, by chain, as far as was heard of them.
    fn taken(&self) -> MutexGuard<'_, BTreeMap<i64, Head>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self, outcome: Outcome) {
        ENTRIES.with_label_values(&[self.chain.writer().as_str(), outcome.as_str()]).inc();
        self.grown.notify_one();
    }
}

/// One store has one key: the first one that it was opened with.
async fn check_key(db: &Db, key: &AuditKey) -> Result<(), DbError> {
    let id = digest(&SHA256, key.bytes()).as_ref().to_vec();
    let ours = id.clone();
    let known: Vec<u8> = db
        .write(move |tx| {
            Box::pin(async move {
                let sql = "insert into secret (name, value) values ($1, $2)
                           on conflict (name) do nothing";
                tx.execute(sql, params![KEY_NAME, ours]).await?;
                let sql = "select value from secret where name = $1";
                tx.query_one(sql, params![KEY_NAME]).await?.get(0)
            })
        })
        .await?;
    if known == id { Ok(()) } else { Err(DbError::AnotherAuditKey) }
}
