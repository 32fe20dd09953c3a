//! SQLite: one writer's thread, several readers, one file.
//!
//! WAL with `synchronous=FULL`: a commit is on disk when it is acknowledged. The writer takes all
//! transactions that wait, runs each in a savepoint, and commits them together: one `fsync` for
//! many (group commit). An answer goes out only after that commit. On a full disk only the audit
//! audit log is written ([`DiskReserve`]).

mod disk_reserve;
mod error;
mod types;
mod writer;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use rusqlite::{Connection, OpenFlags, config};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};

use self::{
    disk_reserve::DiskReserve,
    error::{failed, unavailable},
    types::value,
    writer::{Job, Outcome, write_all},
};
use super::{
    DbConfig, DbError, Metrics, Migrations, Row, Tx, TxInner, Value, WriteClass, panicked,
};
use crate::{
    audit::{AppendLock, Appending, rows::Head},
    files,
};

/// This many transactions wait for the writer at most; a further one waits to wait.
pub(super) const WAITING_MAX: usize = 1024;
/// Prepared statements kept by each connection.
const STATEMENTS_KEPT: usize = 64;
/// A store in a file.
pub(super) struct Sqlite {
    writer: mpsc::Sender<Job>,
    readers: Arc<Readers>,
    /// Waiting longer for either is a failure.
    acquire: Duration,
    metrics: Arc<Metrics>,
}

struct Readers {
    idle: Mutex<Vec<Connection>>,
    places: Arc<Semaphore>,
    size: usize,
}

/// A transaction on a connection that began it.
pub(super) struct SqliteTx<'c> {
    connection: &'c mut Connection,
    /// The writer alone has it.
    appending: Option<&'c mut Appending>,
}

// === impl Sqlite ===

impl Sqlite {
    pub(super) async fn open(
        path: &Path,
        config: &DbConfig,
        migrations: Migrations,
        metrics: Arc<Metrics>,
        append_lock: Arc<AppendLock>,
    ) -> Result<Self, DbError> {
        let path = path.to_owned();
        let (acquire, owner) = (config.acquire, config.owner);
        let size = usize::try_from(config.pool_connections_max.clamp(1, 64)).unwrap_or(1);
        if config.must_exist && !path.exists() {
            return Err(DbError::Absent(format!("{:?}", config.url)));
        }
        tokio::task::spawn_blocking(move || {
            if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
                files::make_folder(folder)
                    .map_err(|error| unavailable(format!("{}: {error}", folder.display())))?;
            }
            let writer = migrated(&path, migrations)?;
            let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let idle = (0..size).map(|_| connect(&path, read_only)).collect::<Result<_, _>>()?;
            let places = Arc::new(Semaphore::new(size));
            let readers = Arc::new(Readers { idle: Mutex::new(idle), places, size });
            let (sender, jobs) = mpsc::channel(WAITING_MAX);
            let (counted, reserve) = (Arc::clone(&metrics), DiskReserve::beside(&path));
            thread::Builder::new()
                .name(format!("db-{owner}"))
                .spawn(move || {
                    // Held for life: nobody else writes.
                    let appending = append_lock.take_blocking();
                    write_all(writer, jobs, reserve, appending, &counted);
                })
                .map_err(unavailable)?;
            Ok(Self { writer: sender, readers, acquire, metrics })
        })
        .await
        .map_err(unavailable)?
    }

    pub(super) async fn write<T, E, F>(&self, purpose: WriteClass, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let metrics = Arc::clone(&self.metrics);
        let work = Box::new(move |connection: &mut Connection, appending: &mut Appending| {
            let result = run(connection, Some(appending), &metrics, work);
            let keep = result.is_ok();
            let tell = move |committed: Result<(), DbError>| {
                // Nobody waits any more when the caller went away; the commit stands.
                let _ = sender.send(result.and_then(|done| {
                    committed?;
                    Ok(done)
                }));
            };
            Outcome { keep, tell: Box::new(tell) }
        });
        let taken = timeout(self.acquire, self.writer.send(Job { purpose, work }))
            .await
            .map_err(|_| unavailable("too many transactions wait for the writer"))
            .and_then(|sent| sent.map_err(|_| unavailable("the writer has ended")));
        taken.inspect_err(|error| self.metrics.failed(error))?;
        answer.await.map_err(unavailable)?
    }

    /// On a thread that may wait for the disk.
    pub(super) async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        let place = self.place().await?;
        let (readers, metrics) = (Arc::clone(&self.readers), Arc::clone(&self.metrics));
        let read = move || readers.read(place, &metrics, work);
        tokio::task::spawn_blocking(read).await.map_err(unavailable)?
    }

    /// On the caller's thread.
    pub(super) async fn read_by_key<T, E, F>(&self, work: F) -> Result<T, E>
    where
        E: From<DbError>,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        let place = self.place().await?;
        self.readers.read(place, &self.metrics, work)
    }

    /// A place among the readers.
    async fn place(&self) -> Result<OwnedSemaphorePermit, DbError> {
        timeout(self.acquire, Arc::clone(&self.readers.places).acquire_owned())
            .await
            .map_err(|_| unavailable("all readers are busy"))
            .inspect_err(|error| self.metrics.failed(error))?
            .map_err(unavailable)
    }

    pub(super) fn connections(&self) -> (u32, u32) {
        let idle = self.readers.places.available_permits();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (count(self.readers.size.saturating_sub(idle)), count(idle))
    }
}

// === impl Readers ===

impl Readers {
    /// Reads in a place, which is held until the connection is back, even when the caller goes away
    /// before.
    fn read<T, E, F>(
        &self,
        _place: OwnedSemaphorePermit,
        metrics: &Metrics,
        work: F,
    ) -> Result<T, E>
    where
        E: From<DbError>,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        let Some(mut connection) = self.idle().pop() else {
            return Err(DbError::Corrupt("fewer readers than places").into());
        };
        let result = in_read_transaction(&mut connection, metrics, work);
        self.idle().push(connection);
        result
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl SqliteTx ===

impl SqliteTx<'_> {
    pub(super) fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let changed = statement.execute(rusqlite::params_from_iter(params)).map_err(failed)?;
        Ok(changed as u64)
    }

    pub(super) fn take_chain_head(&mut self) -> Result<Option<Head>, DbError> {
        let appending = self.appending.as_ref();
        Ok(appending.ok_or(DbError::Corrupt("a reader that appends"))?.head())
    }

    pub(super) fn set_chain_head(&mut self, head: Head) {
        if let Some(appending) = &mut self.appending {
            appending.append(head);
        }
    }

    pub(super) fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let columns = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(failed)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let values = (0..columns)
                .map(|column| row.get_ref(column).map_err(failed).and_then(value))
                .collect::<Result<_, _>>()?;
            found.push(Row(values));
        }
        Ok(found)
    }
}

fn in_read_transaction<T, E, F>(
    connection: &mut Connection,
    metrics: &Metrics,
    work: F,
) -> Result<T, E>
where
    E: From<DbError>,
    F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
{
    control(connection, "begin").map_err(failed)?;
    let result = run(connection, None, metrics, work);
    control(connection, "rollback").map_err(failed)?;
    result
}

/// Begins or ends a transaction. Of a short one, parsing such statements each time would be a good
/// part.
fn control(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// Runs a closure to its end. It awaits the transaction only, which never makes it wait here.
fn run<T, E, F>(
    connection: &mut Connection,
    appending: Option<&mut Appending>,
    metrics: &Metrics,
    work: F,
) -> Result<T, E>
where
    E: From<DbError>,
    F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Result<T, E>>,
{
    let mut tx = Tx::new(TxInner::Sqlite(SqliteTx { connection, appending }), metrics);
    let work = std::panic::AssertUnwindSafe(|| work(&mut tx).now_or_never());
    let done = match std::panic::catch_unwind(work) {
        Ok(Some(done)) => done,
        Ok(None) => Err(DbError::Statement("a transaction awaited something else".into()).into()),
        Err(_) => Err(panicked().into()),
    };
    tx.verdict(done)
}

/// Opens the file and brings its tables up to date. Processes that start at once do so one after
/// the other: the lock goes when its file is closed, however the process ends.
fn migrated(path: &Path, migrations: Migrations) -> Result<Connection, DbError> {
    let mut lock = path.as_os_str().to_owned();
    lock.push("-lock");
    let lock = std::fs::File::create(lock).map_err(unavailable)?;
    lock.lock().map_err(unavailable)?;
    let mut connection = connect(path, OpenFlags::default())?;
    migrations.migrate_sqlite(&mut connection)?;
    // What a savepoint might restore stays in memory. Neither before nor for readers: what a
    // migration or a search sorts would have no bound.
    connection.execute_batch("pragma temp_store = memory").map_err(failed)?;
    Ok(connection)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, DbError> {
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| unavailable(format!("{}: {error}", path.display())))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection
        .execute_batch(
            "pragma busy_timeout = 5000;
             pragma journal_mode = wal;
             pragma synchronous = full;
             pragma foreign_keys = on;
             pragma secure_delete = fast;",
        )
        .map_err(failed)?;
    // A statement is planned once, whatever is bound to it: as the tests of plans saw it, and
    // without preparing it again for each other bound value.
    let stable_plans = config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG;
    connection.set_db_config(stable_plans, true).map_err(failed)?;
    Ok(connection)
}
