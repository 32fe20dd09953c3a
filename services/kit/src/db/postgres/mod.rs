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
mod tx;
mod types;
mod url;

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use shared_middleware::clock::Clock;
use tokio_postgres::{Client, Statement};
use tokio_util::task::AbortOnDropHandle;

pub(super) use self::lease::PostgresLease;
pub(super) use self::tx::PostgresTx;
pub use self::url::PostgresUrl;
use self::{
    clock::ServerClock,
    connect::{Connection, Connections, Unreached},
    error::failed,
    transaction::{Begin, Commit, Transaction},
    tx::Session,
};
use super::{DbConfig, DbError, Metrics, Migrations, Tx, TxInner, panicked};
use crate::audit::AppendLock;

/// What guards migrations, so that two replicas may start at once: any number that is ours alone.
const MIGRATION_LOCK: i64 = 0x6d65_6469_7379_6e63;
/// A migration may take its time. The server finds out within seconds that anyone who migrates is
/// gone, also while a statement waits (older servers: when it does not any more), or within a
/// minute that its machine is.
const MIGRATION_SESSION: &str = "set statement_timeout = 0; set tcp_keepalives_idle = 15;
     set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3;
     select set_config(name, '2s', false) from pg_settings
     where name = 'client_connection_check_interval'";
/// A migration that is not done after so long never will be.
const MIGRATED_WITHIN: Duration = Duration::from_secs(3600);
/// A store on a server.
pub(super) struct Postgres {
    pool: bb8::Pool<Connections>,
    connections: Connections,
    unreached: Unreached,
    metrics: Arc<Metrics>,
    clock: Arc<ServerClock>,
    append_lock: Arc<AppendLock>,
    /// Waiting longer for the append lock is a failure, as it is for a connection.
    acquire: Duration,
    _asking_for_time: AbortOnDropHandle<()>,
}

// === impl Postgres ===

impl Postgres {
    pub(super) async fn open(
        url: &PostgresUrl,
        config: &DbConfig,
        migrations: Migrations,
        metrics: Arc<Metrics>,
        append_lock: Arc<AppendLock>,
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
        let acquire = config.acquire;
        Ok(Self {
            pool,
            connections,
            unreached,
            metrics,
            clock,
            append_lock,
            acquire,
            _asking_for_time,
        })
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

    /// Wakes anyone who holds the lease of this name.
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
    pub(super) async fn read_by_key<T, E, F>(&self, work: F) -> Result<T, E>
    where
        E: From<DbError>,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        let mut connection = self.connection().await?;
        let Connection { client, statements, .. } = &mut *connection;
        let mut tx = self.tx(Session::Alone(client), statements);
        run(&mut tx, work).await
    }

    async fn transaction<T, E, F>(&self, begin: Begin, commit: Commit, work: F) -> Result<T, E>
    where
        E: From<DbError>,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        let mut connection = self.connection().await?;
        let Connection { client, statements, .. } = &mut *connection;
        let mut tx = self.tx(Session::Transaction(Transaction::new(client, begin)), statements);
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

    fn tx<'c>(
        &'c self,
        session: Session<'c>,
        statements: &'c mut HashMap<String, Statement>,
    ) -> Tx<'c> {
        let tx = PostgresTx { session, statements, store: self, appending: None };
        Tx::new(TxInner::Postgres(tx), &self.metrics)
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
