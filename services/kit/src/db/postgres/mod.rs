//! PostgreSQL through a bb8 pool.
//!
//! Each connection keeps the statements that it has prepared: one round trip for each instead of
//! two. The server keeps their plans; only searches are planned anew each time, since what is
//! searched for decides which index is good.

mod answers;
mod clock;
mod connect;
mod error;
mod lease;
mod tls;
mod transaction;
mod turn;
mod types;
mod url;

use std::{
    collections::HashMap, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, try_join, try_join_all},
};
use shared_middleware::clock::Clock;
use tokio_postgres::{Client, Statement, types::ToSql};
use tokio_util::task::AbortOnDropHandle;

pub(super) use self::lease::PostgresLease;
pub use self::url::PostgresUrl;
use self::{
    clock::ServerClock,
    connect::{Connection, Connections, Unreached},
    error::failed,
    transaction::{Begin, Commit, Transaction},
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
/// A migration that is not done after so long never will be.
const MIGRATED_WITHIN: Duration = Duration::from_secs(3600);
/// Prepared statements kept by each connection.
const STATEMENTS_KEPT: usize = 64;

/// A store on a server.
pub(super) struct Postgres {
    pool: bb8::Pool<Connections>,
    connections: Connections,
    unreached: Unreached,
    metrics: Arc<Metrics>,
    clock: Arc<ServerClock>,
    _asking_for_time: AbortOnDropHandle<()>,
}

/// A transaction on a pooled connection, or a statement that is one by itself.
pub(super) struct PostgresTx<'c> {
    session: Session<'c>,
    statements: &'c mut HashMap<String, Statement>,
}

enum Session<'c> {
    Transaction(Transaction<'c>),
    Alone(&'c Client),
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
        let mut first = connections.first(config.acquire).await?;
        if config.must_exist && !has_tables(&first.client).await? {
            return Err(DbError::Absent(format!("{:?}", config.url)));
        }
        migrate(&mut first, migrations, config.owner).await?;
        let clock =
            Arc::new(ServerClock::read(config.owner, Arc::clone(&metrics), &first.client).await?);
        drop(first);
        let pool = bb8::Pool::builder()
            .max_size(config.pool_connections_max)
            .connection_timeout(config.acquire)
            .build(connections.clone())
            .await?;
        let asking = tokio::spawn(clock::follow(Arc::downgrade(&clock), pool.clone()));
        let _asking_for_time = AbortOnDropHandle::new(asking);
        Ok(Self { pool, connections, unreached, metrics, clock, _asking_for_time })
    }

    /// The server's clock, instead of this one of the machine.
    pub(super) fn clock(&self, machine: &Clock) -> Clock {
        self.clock.instead_of(machine)
    }

    /// What is wrong with the machine's clock, if anything.
    pub(super) fn clock_complaint(&self) -> Option<String> {
        self.clock.complaint()
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
        self.transaction(Begin::Write, Commit::Durable, work).await
    }

    /// As [`Self::write`], answered before it is on disk.
    pub(super) async fn write_soon<T, E, F>(&self, work: F) -> Result<T, E>
    where
        E: From<DbError>,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        self.transaction(Begin::Write, Commit::Soon, work).await
    }

    /// Every statement of it sees what the first one saw.
    pub(super) async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        E: From<DbError>,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        self.transaction(Begin::Read, Commit::Durable, work).await
    }

    /// As [`Self::read`], planned for what is looked for.
    pub(super) async fn search<T, E, F>(&self, work: F) -> Result<T, E>
    where
        E: From<DbError>,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        self.transaction(Begin::Search, Commit::Durable, work).await
    }

    /// For one statement: to begin and to end would be two more round trips.
    pub(super) async fn look_up<T, E, F>(&self, work: F) -> Result<T, E>
    where
        E: From<DbError>,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        let mut connection = self.connection().await?;
        let Connection { client, statements, .. } = &mut *connection;
        let session = Session::Alone(client);
        let mut tx = Tx::new(TxInner::Postgres(PostgresTx { session, statements }), &self.metrics);
        run(&mut tx, work).await
    }

    async fn transaction<T, E, F>(&self, begin: Begin, commit: Commit, work: F) -> Result<T, E>
    where
        E: From<DbError>,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        let mut connection = self.connection().await?;
        let Connection { client, statements, .. } = &mut *connection;
        let session = Session::Transaction(Transaction::new(client, begin));
        let mut tx = Tx::new(TxInner::Postgres(PostgresTx { session, statements }), &self.metrics);
        let done = run(&mut tx, work).await?;
        let last = tx.take_at_commit();
        let TxInner::Postgres(tx) = tx.inner else {
            return Err(DbError::Corrupt("a transaction of another engine").into());
        };
        // What only read, or failed, is rolled back by being dropped.
        if matches!(begin, Begin::Write) {
            // When the connection breaks here nobody knows whether it was committed: the caller is
            // told that the store is not available, never that it worked.
            let committed = tx.commit(commit, &last).await;
            committed.inspect_err(|error| self.metrics.failed(error))?;
        }
        Ok(done)
    }

    async fn connection(&self) -> Result<bb8::PooledConnection<'_, Connections>, DbError> {
        let reached = self.pool.get().await.map_err(|error| self.unreached.cause_of(error));
        reached.inspect_err(|error| self.metrics.failed(error))
    }

    pub(super) fn unreached(&self) -> Option<String> {
        self.unreached.cause()
    }

    pub(super) fn connections(&self) -> (u32, u32) {
        let state = self.pool.state();
        (state.connections.saturating_sub(state.idle_connections), state.idle_connections)
    }
}

/// Does the work. When it panics it has failed.
async fn run<T, E, F>(tx: &mut Tx<'_>, work: F) -> Result<T, E>
where
    E: From<DbError>,
    F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
{
    let done = AssertUnwindSafe(async { work(tx).await }).catch_unwind().await;
    tx.verdict(done.unwrap_or_else(|_| Err(panicked().into())))
}

async fn has_tables(client: &Client) -> Result<bool, DbError> {
    let sql = "select to_regclass('kit_schema_history') is not null";
    client.query_one(sql, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)
}

/// Brings the tables up to date, one replica after the other. The lock ends with the connection.
async fn migrate(
    connection: &mut Connection,
    migrations: Migrations,
    owner: &'static str,
) -> Result<(), DbError> {
    let Connection { client, answers, .. } = connection;
    client.batch_execute(MIGRATION_SESSION).await.map_err(failed)?;
    turn::take(client, MIGRATION_LOCK, owner).await?;
    answers.allow(MIGRATED_WITHIN);
    migrations.migrate_postgres(client).await
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
    pub(super) async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        let statement = self.prepared(sql).await?;
        let client = self.session.client();
        let done = self.session.run(client.execute_raw(&statement, params)).await;
        done.map_err(|error| self.forget(sql, error))
    }

    /// All of them, sent without waiting for an answer to the one before.
    pub(super) async fn execute_all(
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
    async fn commit(mut self, when: Commit, last: &[(String, Vec<Value>)]) -> Result<(), DbError> {
        let mut prepared = Vec::with_capacity(last.len());
        for (sql, params) in last {
            prepared.push((self.prepared(sql).await?, params));
        }
        let Session::Transaction(transaction) = self.session else { return Ok(()) };
        if prepared.is_empty() && !transaction.is_begun() {
            return Ok(());
        }
        let client = transaction.client();
        let sent =
            prepared.iter().map(|(statement, params)| client.execute_raw(statement, *params));
        transaction.commit(when, try_join_all(sent)).await.map_err(failed)
    }

    pub(super) async fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        let statement = self.prepared(sql).await?;
        let (client, params) = (self.session.client(), references(params));
        let found = self.session.run(client.query(&statement, &params)).await;
        rows(&found.map_err(|error| self.forget(sql, error))?)
    }

    /// A query that sees what was committed before this statement took its lock, sent with it.
    pub(super) async fn query_locked(
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
