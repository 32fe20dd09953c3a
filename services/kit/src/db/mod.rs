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

#[cfg(test)]
mod conformance;
mod metrics;
mod migrate;
#[cfg(test)]
mod migrate_tests;
mod postgres;
mod sqlite;
mod value;

use std::{
    path::PathBuf,
    str::FromStr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::BoxFuture;
use shared_middleware::{
    audit::{self, Asked},
    error::{ErrorCode, ServiceError},
};
use tokio::time::Instant;

use self::{
    metrics::Metrics,
    postgres::{Postgres, PostgresLease},
    sqlite::Sqlite,
};
pub use self::{
    migrate::Migrations,
    postgres::PostgresUrl,
    value::{FromValue, Row, Value},
};
use crate::audit::Ledger;

/// Where a store is.
#[derive(Clone, PartialEq, Eq)]
pub enum DbUrl {
    /// `sqlite:PATH`.
    Sqlite(PathBuf),
    /// `postgres://user:pass@host:port/db`.
    Postgres(Box<PostgresUrl>),
}

/// A store's settings.
#[derive(Clone)]
pub struct DbConfig {
    /// Whose it is, as metrics name it: a service, or `events` of the embedded log.
    pub owner: &'static str,
    /// Where it is.
    pub url: DbUrl,
    /// So many connections at most: PostgreSQL's pool, SQLite's readers.
    pub pool_connections_max: u32,
    /// Waiting longer for a connection, or for a place in SQLite's writer's queue, is a failure.
    pub acquire: Duration,
    /// PostgreSQL gives up a statement that takes longer.
    pub statement: Duration,
}

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
    /// The trail would have two kinds of links, and could not be verified.
    #[error(
        "the audit key (audit.key) is not the one that this store's trail was begun with: all \
         replicas and commands need the same"
    )]
    AnotherAuditKey,
    /// The tables could not be made.
    #[error("cannot migrate the store")]
    Migrate(#[source] Box<refinery::Error>),
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
    ledger: OnceLock<Arc<Ledger>>,
}

enum Inner {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// The right to do what one process at a time does; see [`crate::lease`].
pub(crate) struct Lease(Option<PostgresLease>);

/// A transaction on either engine.
pub struct Tx<'c> {
    inner: TxInner<'c>,
    /// A statement failed: it cannot be committed any more.
    failed: bool,
    metrics: &'c Metrics,
    /// What the task that writes was asked to do, and where that is recorded.
    audit: (Option<Asked>, Option<Arc<Ledger>>),
}

enum TxInner<'c> {
    Sqlite(sqlite::SqliteTx<'c>),
    Postgres(postgres::PostgresTx<'c>),
}

// === impl DbUrl ===

impl FromStr for DbUrl {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err("sqlite: needs a path")
            } else {
                Ok(Self::Sqlite(path.into()))
            };
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return url.parse().map(|url| Self::Postgres(Box::new(url)));
        }
        Err("must begin with sqlite: or postgres://")
    }
}

impl std::fmt::Debug for DbUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => write!(f, "{url:?}"),
        }
    }
}

// === impl DbConfig ===

impl DbConfig {
    /// A store there, with bounds that fit a small service.
    pub const fn new(owner: &'static str, url: DbUrl) -> Self {
        let (acquire, statement) = (Duration::from_secs(3), Duration::from_secs(10));
        Self { owner, url, pool_connections_max: 8, acquire, statement }
    }
}

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
        let engine = match &config.url {
            DbUrl::Sqlite(path) => {
                Inner::Sqlite(Sqlite::open(path, config, migrations, counted).await?)
            }
            DbUrl::Postgres(url) => {
                Inner::Postgres(Box::new(Postgres::open(url, config, migrations, counted).await?))
            }
        };
        let ledger = OnceLock::new();
        Ok(Self(Arc::new(Store { metrics, pool_connections_max, engine, ledger })))
    }

    /// From now on transactions can record what they do ([`crate::audit::note`]).
    pub(crate) fn keep_ledger(&self, ledger: Arc<Ledger>) {
        // A second trail of the same store is the same.
        let _ = self.0.ledger.set(ledger);
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
        let started = Instant::now();
        let work = recording(audit::current(), self.0.ledger.get().cloned(), work);
        let done = match &self.0.engine {
            Inner::Sqlite(sqlite) => sqlite.write(work).await,
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
        let started = Instant::now();
        let done = match &self.0.engine {
            Inner::Sqlite(sqlite) => sqlite.read(work).await,
            Inner::Postgres(postgres) => postgres.read(work).await,
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

    /// Wakes whoever has the lease of this name, if that is another process.
    pub(crate) async fn notify(&self, name: &'static str) -> Result<(), DbError> {
        match &self.0.engine {
            Inner::Sqlite(_) => Ok(()),
            Inner::Postgres(postgres) => postgres.notify(name).await,
        }
    }

    /// Whether it answers.
    pub async fn check(&self) -> Result<(), DbError> {
        self.read(|tx| Box::pin(async move { tx.query("select 1", &[]).await.map(drop) })).await
    }

    /// Why the last try to connect failed, if it did: known before whoever waits for a connection
    /// has waited long enough.
    pub fn unreached(&self) -> Option<String> {
        match &self.0.engine {
            Inner::Sqlite(_) => None,
            Inner::Postgres(postgres) => postgres.unreached(),
        }
    }

    /// So many connections it has at most.
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
    /// Whether it is still ours, as far as is known.
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
}

// === impl Tx ===

impl<'c> Tx<'c> {
    const fn new(inner: TxInner<'c>, metrics: &'c Metrics) -> Self {
        Self { inner, failed: false, metrics, audit: (None, None) }
    }

    /// What is done here, if anybody asked for it, and where that is recorded.
    pub(crate) fn ledger(&self) -> Result<(Option<Asked>, Arc<Ledger>), DbError> {
        let (asked, ledger) = self.audit.clone();
        Ok((asked, ledger.ok_or(DbError::Corrupt("no audit trail"))?))
    }

    /// Which engine it runs on.
    pub const fn engine(&self) -> Engine {
        match self.inner {
            TxInner::Sqlite(_) => Engine::Sqlite,
            TxInner::Postgres(_) => Engine::Postgres,
        }
    }

    /// Runs a statement; tells how many rows it changed.
    pub async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        let done = match &mut self.inner {
            TxInner::Sqlite(tx) => tx.execute(sql, params),
            TxInner::Postgres(tx) => tx.execute(sql, params).await,
        };
        self.note(&done);
        done
    }

    /// Runs a query. The statement itself bounds how many rows come.
    pub async fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        let found = match &mut self.inner {
            TxInner::Sqlite(tx) => tx.query(sql, params),
            TxInner::Postgres(tx) => tx.query(sql, params).await,
        };
        self.note(&found);
        found
    }

    /// The first row of a query, if any.
    pub async fn query_opt(&mut self, sql: &str, params: &[Value]) -> Result<Option<Row>, DbError> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// The first row of a query that always has one.
    pub async fn query_one(&mut self, sql: &str, params: &[Value]) -> Result<Row, DbError> {
        self.query_opt(sql, params).await?.ok_or(DbError::Corrupt("no row where there must be one"))
    }

    fn note<T>(&mut self, done: &Result<T, DbError>) {
        if let Err(error) = done {
            self.failed = true;
            self.metrics.failed(error);
        }
    }

    /// What the work came to; it cannot have worked when a statement failed.
    fn verdict<T, E: From<DbError>>(&self, done: Result<T, E>) -> Result<T, E> {
        if self.failed && done.is_ok() {
            return Err(DbError::Corrupt("a transaction that went on after a failure").into());
        }
        done
    }
}

/// The same work, in a transaction that knows what its task was asked to do: on SQLite it runs on
/// another thread.
fn recording<T, E, F>(
    asked: Option<Asked>,
    ledger: Option<Arc<Ledger>>,
    work: F,
) -> impl for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>> + Send + 'static
where
    F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
{
    move |tx| {
        tx.audit = (asked, ledger);
        work(tx)
    }
}

/// What a closure that panicked came to. Trying again will not help: it is not `Unavailable`.
fn panicked() -> DbError {
    DbError::Statement("a transaction panicked".into())
}
