//! A service's store: SQLite in a file, or PostgreSQL through a pool, behind one type.
//!
//! Services write each statement once, in the SQL that both engines speak, with `$1, $2, …` in the
//! order of their first use; [`Value`] says how types are kept in each. What one engine needs
//! differently asks [`Tx::engine`]. So there is one store to read and to test, not two.
//!
//! All work is a closure over a [`Tx`]; it may await the transaction and nothing else. On SQLite it
//! runs on the writer's thread to its end, several waiting ones under one commit.
//!
//! **Invariant:** an answer `Ok` from [`Db::write`] means that the commit is on disk.

mod config;
#[cfg(test)]
mod conformance;
mod insert;
pub mod many;
mod metrics;
mod migrate;
#[cfg(test)]
mod migrate_tests;
mod postgres;
#[cfg(test)]
mod postgres_tests;
mod sqlite;
mod tx;
mod value;

use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use shared_middleware::{
    audit,
    clock::Clock,
    error::{ErrorCode, ServiceError},
};
use tokio::time::Instant;

pub use self::{
    config::{DbConfig, DbUrl},
    migrate::Migrations,
    postgres::PostgresUrl,
    tx::Tx,
    value::{FromValue, Row, Value},
};
use self::{
    metrics::Metrics,
    postgres::{Postgres, PostgresLease},
    sqlite::Sqlite,
    tx::{TxInner, recording},
};
use crate::audit::{AppendLock, AuditState, rows::Head};

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A unique constraint refused the row: `<table>_<columns>`.
    #[error("{0} must be unique")]
    Unique(String),
    /// The store cannot be reached, is full, or is busy: later it may work.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A statement failed.
    #[error("the store failed")]
    Statement(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A column is not what the code reads it as.
    #[error("column {0} is missing or of another type")]
    Column(usize),
    /// A value in the store is not what the code wrote.
    #[error("the store holds {0}")]
    Corrupt(&'static str),
    /// The audit log would have two kinds of links, and could not be verified.
    #[error(
        "the audit key (audit.key) is not the one that this store's audit log was begun with: all \
         replicas and commands need the same"
    )]
    AnotherAuditKey,
    /// There is none, and it was not to be made.
    #[error("there is no store of ours at {0} (--data-dir and --config say where to look)")]
    Absent(String),
    /// The tables could not be made.
    #[error("cannot bring the store's tables up to date: {0}")]
    Migrate(String),
}

/// Which engine a store runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A store.
#[derive(Clone)]
pub struct Db(Arc<Store>);

struct Store {
    metrics: Arc<Metrics>,
    pool_connections_max: u32,
    engine: Inner,
    ledger: OnceLock<Arc<AuditState>>,
    append_lock: Arc<AppendLock>,
}

/// What is written for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WriteClass {
    Anything,
    /// An entry of the audit log that no effect depends on. A full disk has room for it.
    AuditLog,
    /// What is made again from elsewhere when it is lost.
    Remake,
}

/// What is read for.
#[derive(Clone, Copy)]
enum Reading {
    State,
    Search,
}

enum Inner {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// The right to do what one process at a time does; see [`crate::lease`].
pub(crate) struct Lease(Option<PostgresLease>);

// === impl DbError ===

impl ServiceError for DbError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable(_) => ErrorCode::Unavailable,
            _ => ErrorCode::Internal,
        }
    }
}

// === impl Db ===

impl Db {
    /// Opens a store and brings its tables up to date.
    pub async fn open(config: &DbConfig, migrations: Migrations) -> Result<Self, DbError> {
        let pool_connections_max = config.pool_connections_max;
        let metrics = Arc::new(Metrics::of(config.owner));
        let counted = Arc::clone(&metrics);
        let append_lock = Arc::<AppendLock>::default();
        let appended = Arc::clone(&append_lock);
        let engine = match &config.url {
            DbUrl::Sqlite(path) => {
                Inner::Sqlite(Sqlite::open(path, config, migrations, counted, appended).await?)
            }
            DbUrl::Postgres(url) => {
                let opened = Postgres::open(url, config, migrations, counted, appended).await?;
                Inner::Postgres(Box::new(opened))
            }
        };
        let ledger = OnceLock::new();
        Ok(Self(Arc::new(Store { metrics, pool_connections_max, engine, ledger, append_lock })))
    }

    /// From now on transactions can record what they do ([`crate::audit::note`]).
    pub(crate) fn keep_ledger(&self, ledger: Arc<AuditState>) {
        // A second audit log of the same store is the same.
        let _ = self.0.ledger.set(ledger);
    }

    /// The last entry that this process has appended to the audit log, and that is committed.
    pub(crate) fn appended(&self) -> Option<Head> {
        self.0.append_lock.committed()
    }

    /// Which engine it runs on.
    pub fn engine(&self) -> Engine {
        match &self.0.engine {
            Inner::Sqlite(_) => Engine::Sqlite,
            Inner::Postgres(_) => Engine::Postgres,
        }
    }

    /// Does work in a transaction: all of it or, when the closure fails or panics, nothing. A
    /// closure that passes over a failed statement has failed too: PostgreSQL would not commit it
    /// either.
    ///
    /// Once begun on SQLite it is finished even if the caller goes away.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        self.write_for(WriteClass::Anything, work).await
    }

    /// As [`Self::write`], for what is made again from elsewhere when it is lost, such as the
    /// effects of an event that is read again. PostgreSQL answers before it is on disk
    /// (asynchronous commit): should the server crash within moments, it never was, nor was what
    /// came after it.
    pub async fn write_soon<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        self.write_for(WriteClass::Remake, work).await
    }

    /// As [`Self::write`], for entries of the audit log alone: on SQLite also when the disk is
    /// full, as long as what is kept for them lasts.
    pub(crate) async fn write_trail<F>(&self, work: F) -> Result<(), DbError>
    where
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<(), DbError>>
            + Send
            + Clone
            + 'static,
    {
        let first = self.write_for(WriteClass::AuditLog, work.clone()).await;
        if self.engine() == Engine::Sqlite && matches!(first, Err(DbError::Unavailable(_))) {
            // What found the disk full has made room.
            return self.write_for(WriteClass::AuditLog, work).await;
        }
        first
    }

    async fn write_for<T, E, F>(&self, purpose: WriteClass, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        let started = Instant::now();
        let work = recording(audit::current(), self.0.ledger.get().cloned(), work);
        let done = match &self.0.engine {
            Inner::Sqlite(sqlite) => sqlite.write(purpose, work).await,
            Inner::Postgres(postgres) if purpose == WriteClass::Remake => {
                postgres.write_soon(work).await
            }
            Inner::Postgres(postgres) => postgres.write(work).await,
        };
        self.0.metrics.write(started.elapsed());
        done
    }

    /// Reads from one consistent state.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        self.read_for(Reading::State, work).await
    }

    /// As [`Self::read`], for lists and searches: PostgreSQL plans each statement for the values
    /// that it is given, which decide which index is good.
    pub async fn search<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        self.read_for(Reading::Search, work).await
    }

    async fn read_for<T, E, F>(&self, reading: Reading, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        let started = Instant::now();
        let done = match (&self.0.engine, reading) {
            (Inner::Sqlite(sqlite), _) => sqlite.read(work).await,
            (Inner::Postgres(postgres), Reading::State) => postgres.read(work).await,
            (Inner::Postgres(postgres), Reading::Search) => postgres.search(work).await,
        };
        self.0.metrics.read(started.elapsed());
        done
    }

    /// One query that takes a few pages by their keys. SQLite's readers do it on the caller's
    /// thread: to hand it to another takes longer than to do it. PostgreSQL is asked without a
    /// transaction around it.
    pub async fn read_by_key<T, E, F>(&self, work: F) -> Result<T, E>
    where
        E: From<DbError>,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        let started = Instant::now();
        let done = match &self.0.engine {
            Inner::Sqlite(sqlite) => sqlite.read_by_key(work).await,
            Inner::Postgres(postgres) => postgres.read_by_key(work).await,
        };
        self.0.metrics.read(started.elapsed());
        done
    }

    /// Waits until this process alone has the lease of this name among all that share the store.
    /// SQLite's stores are not shared by replicas: there it is had at once.
    pub(crate) async fn lease(&self, name: &'static str) -> Result<Lease, DbError> {
        Ok(Lease(match &self.0.engine {
            Inner::Sqlite(_) => None,
            Inner::Postgres(postgres) => Some(postgres.lease(name).await?),
        }))
    }

    /// Wakes anyone who has the lease of this name, if that is another process.
    pub(crate) async fn notify(&self, name: &'static str) -> Result<(), DbError> {
        match &self.0.engine {
            Inner::Sqlite(_) => Ok(()),
            Inner::Postgres(postgres) => postgres.notify(name).await,
        }
    }

    /// The clock that all replicas which share this store agree on: PostgreSQL's, or this one of
    /// the machine where there is one process. A clock that a test sets stays.
    pub(crate) fn clock(&self, machine: &Clock) -> Clock {
        match &self.0.engine {
            Inner::Sqlite(_) => {
                self.0.metrics.clock_skew(SignedDuration::ZERO);
                machine.clone()
            }
            Inner::Postgres(postgres) => postgres.clock(machine),
        }
    }

    /// Whether it answers, and agrees with this machine about what time it is.
    pub async fn check(&self) -> Result<(), DbError> {
        if let Inner::Postgres(postgres) = &self.0.engine
            && let Some(complaint) = postgres.clock_complaint()
        {
            return Err(DbError::Unavailable(complaint.into()));
        }
        self.read(|tx| Box::pin(async move { tx.query("select 1", &[]).await.map(drop) })).await
    }

    /// Why the last try to connect failed, if it did: known before anyone who waits for a
    /// connection has waited long enough.
    pub fn unreached(&self) -> Option<String> {
        match &self.0.engine {
            Inner::Sqlite(_) => None,
            Inner::Postgres(postgres) => postgres.unreached(),
        }
    }

    /// This many connections it has at most.
    pub fn connections_max(&self) -> u32 {
        self.0.pool_connections_max
    }

    /// Connections in use and idle, for the gauge `db_pool_connections`.
    pub fn connections(&self) -> (u32, u32) {
        match &self.0.engine {
            Inner::Sqlite(sqlite) => sqlite.connections(),
            Inner::Postgres(postgres) => postgres.connections(),
        }
    }
}

// === impl Lease ===

impl Lease {
    /// Whether it is still ours.
    pub(crate) fn is_held(&self) -> bool {
        self.0.as_ref().is_none_or(PostgresLease::is_held)
    }

    /// Waits until another process has something for us, or the lease is gone.
    pub(crate) async fn woken(&self) {
        match &self.0 {
            Some(lease) => lease.woken().await,
            None => std::future::pending().await,
        }
    }

    /// Gives it back, so that another process has it at once.
    pub(crate) async fn release(self) -> Result<(), DbError> {
        match self.0 {
            Some(lease) => lease.release().await,
            None => Ok(()),
        }
    }
}

/// What a closure that panicked came to. Trying again will not help: it is not `Unavailable`.
fn panicked() -> DbError {
    DbError::Statement("a transaction panicked".into())
}
