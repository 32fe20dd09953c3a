//! PostgreSQL through a bb8 pool.

use std::error::Error as StdError;

use bb8_postgres::PostgresConnectionManager;
use bytes::{BufMut as _, BytesMut};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp, ToSpan as _, civil::Date};
use tokio_postgres::{
    IsolationLevel, NoTls, Transaction,
    error::SqlState,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};
use uuid::Uuid;

use super::{DbConfig, DbError, Migrations, Row, Tx, TxInner, Value};

/// What guards migrations, so that two replicas may start at once: any number that is ours alone.
const MIGRATION_LOCK: i64 = 0x6d65_6469_7379_6e63;

/// A store on a server.
pub(super) struct Postgres {
    pool: bb8::Pool<PostgresConnectionManager<NoTls>>,
}

/// A transaction on a pooled connection.
pub(super) struct PostgresTx<'c>(Transaction<'c>);

// === impl Postgres ===

impl Postgres {
    pub(super) async fn open(
        url: &tokio_postgres::Config,
        config: &DbConfig,
        migrations: Migrations,
    ) -> Result<Self, DbError> {
        let mut url = url.clone();
        url.connect_timeout(config.acquire);
        let manager = PostgresConnectionManager::new(url, NoTls);
        let pool = bb8::Pool::builder()
            .max_size(config.pool_connections_max)
            .connection_timeout(config.acquire)
            .build(manager)
            .await
            .map_err(failed)?;
        let mut client = pool.get_owned().await.map_err(pool_failed)?;
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
        drop(client);
        Ok(Self { pool })
    }

    pub(super) async fn transaction<T, E, F>(&self, work: F) -> Result<T, E>
    where
        E: From<DbError>,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        let mut client = self.pool.get().await.map_err(pool_failed)?;
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .start()
            .await
            .map_err(failed)?;
        let mut tx = Tx(TxInner::Postgres(PostgresTx(transaction)));
        let done = work(&mut tx).await;
        let TxInner::Postgres(PostgresTx(transaction)) = tx.0 else {
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

// === impl PostgresTx ===

impl PostgresTx<'_> {
    pub(super) async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        self.0.execute_raw(sql, params).await.map_err(failed)
    }

    pub(super) async fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        let params: Vec<&(dyn ToSql + Sync)> =
            params.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let rows = self.0.query(sql, &params).await.map_err(failed)?;
        let read = |row: &tokio_postgres::Row| {
            (0..row.len())
                .map(|column| row.try_get::<_, Value>(column).map_err(failed))
                .collect::<Result<_, _>>()
                .map(Row)
        };
        rows.iter().map(read).collect()
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
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Text(text) => return text.to_sql(ty, out),
            Self::Int(number) if *ty == Type::INT4 => {
                return i32::try_from(*number)?.to_sql(ty, out);
            }
            Self::Int(number) => return number.to_sql(ty, out),
            Self::Bytes(bytes) => return bytes.to_sql(ty, out),
            Self::Uuid(id) => return id.to_sql(ty, out),
            Self::Time(time) => {
                out.put_i64(i64::try_from(time.duration_since(epoch().0).as_micros())?);
            }
            Self::Date(date) => out.put_i32((*date - epoch().1).get_days()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        // The server says what a parameter is; a wrong one is its error, as on SQLite.
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
        // No answer of the server: the connection is gone.
        return DbError::Unavailable(Box::new(error));
    };
    if *cause.code() == SqlState::UNIQUE_VIOLATION {
        return DbError::Unique(cause.constraint().unwrap_or("a value").to_owned());
    }
    // Classes 08, 53, 57 and 58: connection, resources, operator, system.
    let passing =
        ["08", "53", "57", "58"].iter().any(|class| cause.code().code().starts_with(class));
    if passing {
        return DbError::Unavailable(Box::new(error));
    }
    DbError::Statement(Box::new(error))
}

fn pool_failed(error: bb8::RunError<tokio_postgres::Error>) -> DbError {
    DbError::Unavailable(Box::new(error))
}
