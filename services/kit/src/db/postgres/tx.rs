//! A transaction on a pooled connection: statements that are prepared once, and what is sent with
//! the commit.

use std::{collections::HashMap, future::Future};

use futures_util::future::{try_join, try_join_all};
use tokio::time::timeout;
use tokio_postgres::{Client, Statement, types::ToSql};

use super::{
    Postgres,
    error::failed,
    transaction::{Commit, Transaction},
};
use crate::{
    audit::{Appending, rows::Head},
    db::{DbError, Row, Value, insert, tx::Rows},
};

/// Prepared statements kept by each connection.
const STATEMENTS_KEPT: usize = 64;

/// A transaction on a pooled connection, or a statement that is one by itself.
pub(in crate::db) struct PostgresTx<'c> {
    pub(super) session: Session<'c>,
    pub(super) statements: &'c mut HashMap<String, Statement>,
    pub(super) store: &'c Postgres,
    /// The append lock, once something is appended to the audit log.
    pub(super) appending: Option<Appending>,
}

pub(super) enum Session<'c> {
    Transaction(Transaction<'c>),
    Alone(&'c Client),
}

// === impl Session ===

impl<'c> Session<'c> {
    const fn client(&self) -> &'c Client {
        match self {
            Self::Transaction(transaction) => transaction.client(),
            Self::Alone(client) => client,
        }
    }

    /// Waits for a statement.
    async fn run<T>(
        &mut self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, tokio_postgres::Error> {
        match self {
            Self::Transaction(transaction) => transaction.run(statement).await,
            Self::Alone(_) => statement.await,
        }
    }
}

// === impl PostgresTx ===

impl PostgresTx<'_> {
    pub(in crate::db) async fn execute(
        &mut self,
        sql: &str,
        params: &[Value],
    ) -> Result<u64, DbError> {
        let statement = self.prepared(sql).await?;
        let client = self.session.client();
        let done = self.session.run(client.execute_raw(&statement, params)).await;
        done.map_err(|error| self.forget(sql, error))
    }

    /// All of them, sent without waiting for an answer to the one before.
    pub(in crate::db) async fn execute_all(
        &mut self,
        statements: &[(String, &[Value])],
    ) -> Result<u64, DbError> {
        let mut prepared = Vec::with_capacity(statements.len());
        for (sql, params) in statements {
            prepared.push((self.prepared(sql).await?, *params));
        }
        let client = self.session.client();
        let sent =
            prepared.iter().map(|(statement, params)| client.execute_raw(statement, *params));
        let sent = try_join_all(sent);
        match self.session.run(sent).await {
            Ok(changed) => Ok(changed.iter().sum()),
            Err(error) => {
                statements.iter().for_each(|(sql, _)| drop(self.statements.remove(sql)));
                Err(failed(error))
            }
        }
    }

    /// Runs the last statements and commits, all in one flight. When one of them fails nothing is
    /// committed.
    pub(super) async fn commit(mut self, when: Commit, last: &[Rows]) -> Result<(), DbError> {
        let statements = last.iter().flat_map(|Rows { table, columns, values }| {
            insert::statements(table, columns, values, "")
        });
        let mut prepared = Vec::with_capacity(last.len());
        for (sql, params) in statements {
            prepared.push((self.prepared(&sql).await?, params));
        }
        let Session::Transaction(transaction) = self.session else { return Ok(()) };
        if prepared.is_empty() && !transaction.is_begun() {
            return Ok(());
        }
        let client = transaction.client();
        let sent =
            prepared.iter().map(|(statement, params)| client.execute_raw(statement, *params));
        transaction.commit(when, try_join_all(sent)).await.map_err(failed)?;
        if let Some(mut appending) = self.appending {
            appending.commit();
        }
        Ok(())
    }

    pub(in crate::db) async fn take_chain_head(&mut self) -> Result<Option<Head>, DbError> {
        if self.appending.is_none() {
            let taken = timeout(self.store.acquire, self.store.append_lock.take()).await;
            self.appending = Some(taken.map_err(|_| {
                DbError::Unavailable("too many transactions wait for the audit log".into())
            })?);
        }
        Ok(self.appending.as_ref().and_then(Appending::head))
    }

    pub(in crate::db) fn set_chain_head(&mut self, head: Head) {
        if let Some(appending) = &mut self.appending {
            appending.append(head);
        }
    }

    pub(in crate::db) async fn query(
        &mut self,
        sql: &str,
        params: &[Value],
    ) -> Result<Vec<Row>, DbError> {
        let statement = self.prepared(sql).await?;
        let (client, params) = (self.session.client(), references(params));
        let found = self.session.run(client.query(&statement, &params)).await;
        rows(&found.map_err(|error| self.forget(sql, error))?)
    }

    /// A query that sees what was committed before this statement took its lock, sent with it.
    pub(in crate::db) async fn query_locked(
        &mut self,
        lock: &str,
        sql: &str,
    ) -> Result<Vec<Row>, DbError> {
        let (locking, statement) = (self.prepared(lock).await?, self.prepared(sql).await?);
        let client = self.session.client();
        let both = try_join(client.execute(&locking, &[]), client.query(&statement, &[]));
        let found = self.session.run(both).await;
        rows(&found.map_err(|error| self.forget(sql, error))?.1)
    }

    async fn prepared(&mut self, sql: &str) -> Result<Statement, DbError> {
        if matches!(self.session, Session::Alone(_)) && !sql.starts_with("select") {
            // There is no transaction that the server would know to be for reading only.
            return Err(DbError::Statement("a look-up selects, and nothing else".into()));
        }
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.session.client().prepare(sql).await.map_err(failed)?;
        if self.statements.len() >= STATEMENTS_KEPT {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// A statement that failed is prepared anew next time: the tables may have changed under it.
    fn forget(&mut self, sql: &str, error: tokio_postgres::Error) -> DbError {
        self.statements.remove(sql);
        failed(error)
    }
}

fn references(params: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

fn rows(found: &[tokio_postgres::Row]) -> Result<Vec<Row>, DbError> {
    let values = |row: &tokio_postgres::Row| {
        (0..row.len())
            .map(|column| row.try_get::<_, Value>(column).map_err(failed))
            .collect::<Result<_, _>>()
            .map(Row)
    };
    found.iter().map(values).collect()
}
