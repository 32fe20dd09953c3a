//! PostgreSQL through a bb8 pool.
//!
//! Each connection keeps the statements that it has prepared: one round trip for each instead of
//! two. They are planned anew for each execution all the same, since what is searched for decides
//! which index is good.

mod connect;
mod error;
mod lease;
mod tls;
mod types;
mod url;

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio_postgres::{Client, IsolationLevel, Statement, Transaction, types::ToSql};

pub(super) use self::lease::PostgresLease;
pub use self::url::PostgresUrl;
use self::{
    connect::{Connection, Connections, Unreached},
    error::failed,
};
use super::{DbConfig, DbError, Metrics, Migrations, Row, Tx, TxInner, Value, panicked};

/// What guards migrations, so that two replicas may start at once: any number that is ours alone.
const MIGRATION_LOCK: i64 = 0x6d65_6469_7379_6e63;
/// A migration may take its time. The server finds out within seconds that whoever migrates is
/// gone, also while a statement waits (older servers: when it does not any more), or within a
/// minute that its machine is.
const MIGRATION_SESSION: &str = "set statement_timeout = 0; set tcp_keepalives_idle = 15;
     set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3;
     select set_config(name, '2s', false) from pg_settings
     where name = 'client_connection_check_interval'";
/// Prepared statements kept by each connection.
const STATEMENTS_KEPT: usize = 64;

/// A store on a server.
pub(super) struct Postgres {
    pool: bb8::Pool<Connections>,
    connections: Connections,
    unreached: Unreached,
    metrics: Arc<Metrics>,
}

/// A transaction on a pooled connection.
pub(super) struct PostgresTx<'c> {
    transaction: Transaction<'c>,
    statements: &'c mut HashMap<String, Statement>,
}

// === impl Postgres ===

impl Postgres {
    pub(super) async fn open(
        url: &PostgresUrl,
        config: &DbConfig,
        migrations: Migrations,
        metrics: Arc<Metrics>,
    ) -> Result<Self, DbError> {
        let unreached = Unreached::default();
        let connections = Connections::new(url, config, unreached.clone())?;
        // Alone first: the pool would try a wrong password again until the time is up.
        migrate(&mut connections.first(config.acquire).await?.client, migrations).await?;
        let pool = bb8::Pool::builder()
            .max_size(config.pool_connections_max)
            .connection_timeout(config.acquire)
            .build(connections.clone())
            .await?;
        Ok(Self { pool, connections, unreached, metrics })
    }

    /// Waits until this process is the one that holds the lease of this name.
    pub(super) async fn lease(&self, name: &'static str) -> Result<PostgresLease, DbError> {
        PostgresLease::take(&self.connections, name).await
    }

    /// Wakes whoever holds the lease of this name.
    pub(super) async fn notify(&self, name: &'static str) -> Result<(), DbError> {
        let reached = self.pool.get().await;
        let connection = reached.map_err(|error| self.unreached.cause_of(error))?;
        lease::notify(&connection.client, name).await
    }

    pub(super) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        E: From<DbError>,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        self.transaction(IsolationLevel::ReadCommitted, false, work).await
    }

    /// Every statement of it sees what the first one saw.
    pub(super) async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        E: From<DbError>,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        self.transaction(IsolationLevel::RepeatableRead, true, work).await
    }

    async fn transaction<T, E, F>(
        &self,
        isolation: IsolationLevel,
        read_only: bool,
        work: F,
    ) -> Result<T, E>
    where
        E: From<DbError>,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        let noted = |error: DbError| {
            self.metrics.failed(&error);
            error
        };
        let reached = self.pool.get().await;
        let mut connection =
            reached.map_err(|error| self.unreached.cause_of(error)).map_err(noted)?;
        let Connection { client, statements } = &mut *connection;
        let begin = client.build_transaction().isolation_level(isolation).read_only(read_only);
        let transaction = begin.start().await.map_err(failed).map_err(noted)?;
        let inner = TxInner::Postgres(PostgresTx { transaction, statements });
        let mut tx = Tx::new(inner, &self.metrics);
        let done = AssertUnwindSafe(async { work(&mut tx).await }).catch_unwind().await;
        let done = tx.verdict(done.unwrap_or_else(|_| Err(panicked().into())));
        let TxInner::Postgres(PostgresTx { transaction, .. }) = tx.inner else {
            return Err(DbError::Corrupt("a transaction of another engine").into());
        };
        match done {
            Ok(done) => {
                // When the connection breaks here nobody knows whether it was committed: the caller
                // is told that the store is not available, never that it worked.
                transaction.commit().await.map_err(failed).map_err(noted)?;
                Ok(done)
            }
            Err(error) => {
                let _ = transaction.rollback().await;
                Err(error)
            }
        }
    }

    pub(super) fn unreached(&self) -> Option<String> {
        self.unreached.cause()
    }

    pub(super) fn connections(&self) -> (u32, u32) {
        let state = self.pool.state();
        (state.connections.saturating_sub(state.idle_connections), state.idle_connections)
    }
}

/// Brings the tables up to date, one replica after the other. The lock ends with the connection.
async fn migrate(client: &mut Client, migrations: Migrations) -> Result<(), DbError> {
    client.batch_execute(MIGRATION_SESSION).await.map_err(failed)?;
    client.execute("select pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await.map_err(failed)?;
    for runner in migrations.postgres_runners() {
        let done = runner.run_async(&mut *client).await;
        done.map_err(|error| DbError::Migrate(Box::new(error)))?;
    }
    Ok(())
}

// === impl PostgresTx ===

impl PostgresTx<'_> {
    pub(super) async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        let statement = self.prepared(sql).await?;
        let done = self.transaction.execute_raw(&statement, params).await;
        done.map_err(|error| self.forget(sql, error))
    }

    pub(super) async fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        let statement = self.prepared(sql).await?;
        let params: Vec<&(dyn ToSql + Sync)> =
            params.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let found = self.transaction.query(&statement, &params).await;
        let rows = found.map_err(|error| self.forget(sql, error))?;
        let read = |row: &tokio_postgres::Row| {
            (0..row.len())
                .map(|column| row.try_get::<_, Value>(column).map_err(failed))
                .collect::<Result<_, _>>()
                .map(Row)
        };
        rows.iter().map(read).collect()
    }

    async fn prepared(&mut self, sql: &str) -> Result<Statement, DbError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.transaction.prepare(sql).await.map_err(failed)?;
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
