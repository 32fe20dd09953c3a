//! PostgreSQL through a bb8 pool.
//!
//! Each connection keeps the statements that it has prepared: one round trip for each instead of
//! two. They are planned anew for each execution all the same, since what is searched for decides
//! which index is good.

use std::{
    collections::HashMap,
    error::Error as StdError,
    io,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bb8::ManageConnection as _;
use bb8_postgres::PostgresConnectionManager;
use bytes::{BufMut as _, BytesMut};
use futures_util::{FutureExt as _, future::BoxFuture};
use jiff::{SignedDuration, Timestamp, ToSpan as _, civil::Date};
use shared_middleware::error::causes;
use tokio_postgres::{
    Client, IsolationLevel, NoTls, Statement, Transaction,
    error::SqlState,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};
use uuid::Uuid;

use super::{DbConfig, DbError, Migrations, Row, Tx, TxInner, Value, panicked};

/// What guards migrations, so that two replicas may start at once: any number that is ours alone.
const MIGRATION_LOCK: i64 = 0x6d65_6469_7379_6e63;
/// Prepared statements kept by each connection.
const STATEMENTS_KEPT: usize = 64;
/// A server that answers nothing for so long is gone, unless the URL says otherwise.
const SILENT_AT_MOST: Duration = Duration::from_secs(30);

/// A store on a server.
pub(super) struct Postgres {
    pool: bb8::Pool<Connections>,
    unreached: Unreached,
}

/// Makes connections, each with a place for its statements.
struct Connections {
    manager: PostgresConnectionManager<NoTls>,
    unreached: Unreached,
}

/// Why the last try to connect failed, if it did: the pool tries again until the time is up, and
/// then tells only that it is.
#[derive(Clone, Default)]
struct Unreached(Arc<Mutex<Option<String>>>);

/// A connection and what it has prepared.
struct Connection {
    client: Client,
    statements: HashMap<String, Statement>,
}

/// A transaction on a pooled connection.
pub(super) struct PostgresTx<'c> {
    transaction: Transaction<'c>,
    statements: &'c mut HashMap<String, Statement>,
}

/// What the server says of a failure: not its detail, which quotes rows.
#[derive(Debug, thiserror::Error)]
#[error("{message} (SQLSTATE {code})")]
struct Refused {
    code: String,
    message: String,
}

// === impl Postgres ===

impl Postgres {
    pub(super) async fn open(
        url: &tokio_postgres::Config,
        config: &DbConfig,
        migrations: Migrations,
    ) -> Result<Self, DbError> {
        let mut url = url.clone();
        url.connect_timeout(config.acquire);
        if url.get_tcp_user_timeout().is_none() {
            url.tcp_user_timeout(SILENT_AT_MOST).keepalives_idle(SILENT_AT_MOST);
        }
        let manager = PostgresConnectionManager::new(url, NoTls);
        let unreached = Unreached::default();
        let pool = bb8::Pool::builder()
            .max_size(config.pool_connections_max)
            .connection_timeout(config.acquire)
            .build(Connections { manager, unreached: unreached.clone() })
            .await?;
        let mut connection = pool.get().await.map_err(|error| unreached.cause_of(error))?;
        let client = &mut connection.client;
        client.execute("select pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await.map_err(failed)?;
        for runner in migrations.postgres_runners() {
            runner
                .run_async(&mut *client)
                .await
                .map_err(|error| DbError::Migrate(Box::new(error)))?;
        }
        client
            .execute("select pg_advisory_unlock($1)", &[&MIGRATION_LOCK])
            .await
            .map_err(failed)?;
        drop(connection);
        Ok(Self { pool, unreached })
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
        let reached = self.pool.get().await;
        let mut connection = reached.map_err(|error| self.unreached.cause_of(error))?;
        let Connection { client, statements } = &mut *connection;
        let begin = client.build_transaction().isolation_level(isolation).read_only(read_only);
        let transaction = begin.start().await.map_err(failed)?;
        let mut tx = Tx::new(TxInner::Postgres(PostgresTx { transaction, statements }));
        let done = AssertUnwindSafe(async { work(&mut tx).await }).catch_unwind().await;
        let done = tx.verdict(done.unwrap_or_else(|_| Err(panicked().into())));
        let TxInner::Postgres(PostgresTx { transaction, .. }) = tx.inner else {
            return Err(DbError::Corrupt("a transaction of another engine").into());
        };
        match done {
            Ok(done) => {
                // When the connection breaks here nobody knows whether it was committed: the caller
                // is told that the store is not available, never that it worked.
                transaction.commit().await.map_err(failed)?;
                Ok(done)
            }
            Err(error) => {
                let _ = transaction.rollback().await;
                Err(error)
            }
        }
    }

    pub(super) fn connections(&self) -> (u32, u32) {
        let state = self.pool.state();
        (state.connections.saturating_sub(state.idle_connections), state.idle_connections)
    }
}

// === impl Connections ===

impl bb8::ManageConnection for Connections {
    type Connection = Connection;
    type Error = DbError;

    async fn connect(&self) -> Result<Connection, DbError> {
        let connected = self.try_connect().await.map_err(failed);
        self.unreached.keep(connected.as_ref().err());
        connected
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), DbError> {
        self.manager.is_valid(&mut connection.client).await.map_err(failed)
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        self.manager.has_broken(&mut connection.client)
    }
}

impl Connections {
    async fn try_connect(&self) -> Result<Connection, tokio_postgres::Error> {
        let client = self.manager.connect().await?;
        client.batch_execute("set plan_cache_mode = force_custom_plan").await?;
        Ok(Connection { client, statements: HashMap::new() })
    }
}

// === impl Unreached ===

impl Unreached {
    fn keep(&self, error: Option<&DbError>) {
        // Without our own words for it, which are said again when it is told.
        let cause = error.map(|error| error.source().map_or_else(|| error.to_string(), causes));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }

    fn cause_of(&self, error: bb8::RunError<DbError>) -> DbError {
        match error {
            bb8::RunError::User(error) => error,
            bb8::RunError::TimedOut => {
                let cause = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
                DbError::Unavailable(
                    cause.map_or_else(|| Box::new(error) as Box<_>, |cause| cause.into()),
                )
            }
        }
    }
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

/// PostgreSQL counts times and days from here.
fn epoch() -> (Timestamp, Date) {
    (Timestamp::constant(946_684_800, 0), Date::constant(2000, 1, 1))
}

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match (self, ty) {
            (Self::Null, _) => return Ok(IsNull::Yes),
            (Self::Text(text), &Type::TEXT | &Type::VARCHAR) => return text.to_sql(ty, out),
            (Self::Int(number), &Type::INT4) => return i32::try_from(*number)?.to_sql(ty, out),
            (Self::Int(number), &Type::INT8) => return number.to_sql(ty, out),
            (Self::Bytes(bytes), &Type::BYTEA) => return bytes.to_sql(ty, out),
            (Self::Uuid(id), &Type::UUID) => return id.to_sql(ty, out),
            (Self::Time(time), &Type::TIMESTAMPTZ) => {
                out.put_i64(i64::try_from(time.duration_since(epoch().0).as_micros())?);
            }
            (Self::Date(date), &Type::DATE) => out.put_i32((*date - epoch().1).get_days()),
            // Else the server would read one type's bytes as another's.
            _ => return Err(format!("a parameter is not of the type {ty}").into()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        // It depends on the value: see above.
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(match *ty {
            Type::INT8 => Self::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Self::Int(i32::from_sql(ty, raw)?.into()),
            Type::BYTEA => Self::Bytes(raw.to_vec()),
            Type::UUID => Self::Uuid(Uuid::from_sql(ty, raw)?),
            Type::TIMESTAMPTZ => {
                let microseconds = i64::from_sql(&Type::INT8, raw)?;
                Self::Time(epoch().0 + SignedDuration::from_micros(microseconds))
            }
            Type::DATE => Self::Date(epoch().1 + i32::from_sql(&Type::INT4, raw)?.days()),
            _ => Self::Text(String::from_sql(ty, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(
            *ty,
            Type::INT8
                | Type::INT4
                | Type::BYTEA
                | Type::UUID
                | Type::TIMESTAMPTZ
                | Type::DATE
                | Type::TEXT
                | Type::VARCHAR
        )
    }
}

fn failed(error: tokio_postgres::Error) -> DbError {
    let Some(cause) = error.as_db_error() else {
        // Not the server's answer. Either it cannot be reached, or a value is not of its column's
        // type, which no other try will change.
        let lost = error.is_closed() || error.source().is_some_and(|cause| cause.is::<io::Error>());
        return if lost {
            DbError::Unavailable(Box::new(error))
        } else {
            DbError::Statement(Box::new(error))
        };
    };
    let code = cause.code();
    if *code == SqlState::UNIQUE_VIOLATION {
        return DbError::Unique(cause.constraint().unwrap_or("a value").to_owned());
    }
    let refused = Box::new(Refused::new(code, cause.message()));
    // Connection, serialization and deadlock, resources, operator, system; and a lock that is held.
    let passing = ["08", "40", "53", "57", "58"].iter().any(|class| code.code().starts_with(class));
    if passing || *code == SqlState::LOCK_NOT_AVAILABLE {
        DbError::Unavailable(refused)
    } else {
        DbError::Statement(refused)
    }
}

// === impl Refused ===

impl Refused {
    fn new(code: &SqlState, message: &str) -> Self {
        // Class 22 is bad data: its messages quote it.
        let quotes = code.code().starts_with("22");
        let message = if quotes { "a value is not of its type" } else { message };
        Self { code: code.code().to_owned(), message: message.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use refinery::Runner;

    use super::*;
    use crate::db::{Db, DbUrl};

    #[tokio::test]
    async fn a_server_out_of_reach_is_told_with_the_cause_and_without_the_password() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let url: DbUrl = format!("postgres://u:hunter2@127.0.0.1:{port}/d").parse().unwrap();
        let acquire = Duration::from_millis(200);
        let config = DbConfig { pool_connections_max: 1, acquire, ..DbConfig::new(url) };
        let runner = || Runner::new(&[]);
        let migrations = Migrations { sqlite: runner(), postgres: runner() };
        let Err(error) = Db::open(&config, migrations).await else { panic!("nobody listens") };
        assert!(matches!(error, DbError::Unavailable(_)));
        let told = causes(&error).to_lowercase();
        assert!(told.contains("refused") && !told.contains("hunter2"), "{told}");
    }
}
