//! A transaction on either engine, and what it knows of anyone who asked for it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use shared_middleware::audit::{AuditContext, Entry};

use super::{DbError, Engine, Metrics, Row, Value, postgres, sqlite};
use crate::audit::{self, AuditState, rows::Head};

/// A transaction on either engine.
pub struct Tx<'c> {
    pub(super) inner: TxInner<'c>,
    /// A statement failed: it cannot be committed any more.
    failed: bool,
    metrics: &'c Metrics,
    /// What the task that writes was asked to do, and where that is recorded.
    audit: (Option<AuditContext>, Option<Arc<AuditState>>),
    /// What is recorded of it, when all else has worked.
    recorded: Vec<Entry>,
    /// Rows that PostgreSQL gets with the commit.
    at_commit: Vec<Rows>,
}

/// Rows of a table, whose values follow one another in the order of these columns.
pub(super) struct Rows {
    pub(super) table: &'static str,
    pub(super) columns: &'static str,
    pub(super) values: Vec<Value>,
}

pub(super) enum TxInner<'c> {
    Sqlite(sqlite::SqliteTx<'c>),
    Postgres(postgres::PostgresTx<'c>),
}

// === impl Tx ===

impl<'c> Tx<'c> {
    pub(super) const fn new(inner: TxInner<'c>, metrics: &'c Metrics) -> Self {
        Self {
            inner,
            failed: false,
            metrics,
            audit: (None, None),
            recorded: Vec::new(),
            at_commit: Vec::new(),
        }
    }

    /// What is done here, if anybody asked for it, and where that is recorded.
    pub(crate) fn ledger(&self) -> Result<(Option<AuditContext>, Arc<AuditState>), DbError> {
        let (asked, ledger) = self.audit.clone();
        Ok((asked, ledger.ok_or(DbError::Corrupt("no audit log"))?))
    }

    /// Has an entry appended to the audit log, when all else has worked.
    pub(crate) fn record(&mut self, entry: Entry) {
        self.recorded.push(entry);
    }

    /// What is to be appended.
    pub(crate) fn take_recorded(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.recorded)
    }

    /// What the next entry of the audit log follows; none where a chain must be opened. From here
    /// until the commit nobody else in this process appends.
    pub(crate) async fn take_chain_head(&mut self) -> Result<Option<Head>, DbError> {
        match &mut self.inner {
            TxInner::Sqlite(tx) => tx.take_chain_head(),
            TxInner::Postgres(tx) => tx.take_chain_head().await,
        }
    }

    /// Entries up to this one were appended.
    pub(crate) fn set_chain_head(&mut self, head: Head) {
        match &mut self.inner {
            TxInner::Sqlite(tx) => tx.set_chain_head(head),
            TxInner::Postgres(tx) => tx.set_chain_head(head),
        }
    }

    /// Keeps rows for the commit, with which they are sent: those of one table together.
    pub(super) fn send_at_commit(&mut self, rows: Rows) {
        match self.at_commit.iter_mut().find(|other| other.table == rows.table) {
            Some(other) => other.values.extend(rows.values),
            None => self.at_commit.push(rows),
        }
    }

    /// What is sent with the commit.
    pub(super) fn take_at_commit(&mut self) -> Vec<Rows> {
        std::mem::take(&mut self.at_commit)
    }

    /// Which engine it runs on.
    pub const fn engine(&self) -> Engine {
        match self.inner {
            TxInner::Sqlite(_) => Engine::Sqlite,
            TxInner::Postgres(_) => Engine::Postgres,
        }
    }

    /// Runs a statement; returns how many rows it changed.
    pub async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        let done = match &mut self.inner {
            TxInner::Sqlite(tx) => tx.execute(sql, params),
            TxInner::Postgres(tx) => tx.execute(sql, params).await,
        };
        self.note(&done);
        done
    }

    /// Runs statements that do not depend on one another, and returns how many rows they changed.
    /// PostgreSQL takes them in one round trip.
    pub(super) async fn execute_all(
        &mut self,
        statements: &[(String, &[Value])],
    ) -> Result<u64, DbError> {
        let done = match &mut self.inner {
            TxInner::Sqlite(tx) => {
                statements.iter().map(|(sql, params)| tx.execute(sql, params)).sum()
            }
            TxInner::Postgres(tx) => tx.execute_all(statements).await,
        };
        self.note(&done);
        done
    }

    /// Runs a query that sees what was committed before `lock` was taken, and holds that until the
    /// transaction ends. SQLite has one writer at a time anyway: it takes no lock.
    pub(crate) async fn query_locked(
        &mut self,
        lock: &str,
        sql: &str,
    ) -> Result<Vec<Row>, DbError> {
        let found = match &mut self.inner {
            TxInner::Sqlite(tx) => tx.query(sql, &[]),
            TxInner::Postgres(tx) => tx.query_locked(lock, sql).await,
        };
        self.note(&found);
        found
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
    pub(super) fn verdict<T, E: From<DbError>>(&self, done: Result<T, E>) -> Result<T, E> {
        if self.failed && done.is_ok() {
            return Err(DbError::Corrupt("a transaction that went on after a failure").into());
        }
        done
    }
}

/// The same work, in a transaction that knows what its task was asked to do (on SQLite it runs on
/// another thread), and after it what is recorded of it.
pub(super) fn recording<T, E, F>(
    asked: Option<AuditContext>,
    ledger: Option<Arc<AuditState>>,
    work: F,
) -> impl for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>> + Send + 'static
where
    T: Send + 'static,
    E: From<DbError> + Send + 'static,
    F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
{
    move |tx| {
        tx.audit = (asked, ledger);
        Box::pin(async move {
            let done = work(tx).await?;
            audit::append_recorded(tx).await?;
            Ok(done)
        })
    }
}
