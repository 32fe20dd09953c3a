//! For tests of services: every engine that can be tested here, and on each a store of one's own;
//! `documents` looks at a service's OpenAPI document.
//!
//! PostgreSQL is the server of `MEDISYNC_TEST_POSTGRES`, which `make test` starts; without that it
//! is one of this process's own. None is passed over because it was not found.
//!
//! ```text
//! for engine in engines() {
//!     let store = TestStore::on(engine).await;
//!     let db = store.open(migrations()).await;
//! }
//! ```

pub mod documents;

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use shared_middleware::{
    clock::{Clock, Ids},
    identity::Part,
};
use tempfile::TempDir;
use testbed::{
    Postgres, Version,
    with_servers::{POSTGRES, POSTGRES_OLD},
};
use tokio_postgres::NoTls;

use crate::{
    audit::{AuditKey, AuditLog},
    db::{Db, DbConfig, DbUrl, Engine, Migrations, PostgresUrl},
    log::{EVENT_ID, EventLog, LogError, Positions, Record, Start, Subscription},
};

/// A log whose relay never hears at first that a batch was published, as if it were killed then.
#[derive(Debug)]
pub struct Unheard<L> {
    log: Arc<L>,
    /// The first events of the batches whose relay did hear, or will.
    heard: Mutex<BTreeSet<String>>,
}

/// What is tested: an engine, of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestEngine {
    /// The one that is built in.
    Sqlite,
    /// The newest version.
    Postgres,
    /// Of another major version.
    OldPostgres,
}

/// A server drops no database while any session is logging in, and one may be that of a pool whose
/// runtime we hold up by waiting here: they would wait for each other until the server gives the
/// login up, after a minute. So we go on, and so does the pool, and then the database is dropped.
const DROPPED_WITHIN: Duration = Duration::from_secs(1);

/// A store that is gone when the test is over.
pub struct TestStore {
    engine: TestEngine,
    config: DbConfig,
    folder: TempDir,
    /// On PostgreSQL: the server, and the database that was made on it.
    made: Option<(String, String)>,
}

/// The key of tests' audit logs.
pub const fn audit_key() -> AuditKey {
    AuditKey::new([7; 32])
}

/// Reads a topic from its beginning.
pub struct FromTheStart;

/// What every store is tested on: SQLite, PostgreSQL and, where there is one, an older PostgreSQL.
pub fn engines() -> Vec<TestEngine> {
    let old = given(POSTGRES_OLD).map(|_| TestEngine::OldPostgres);
    [TestEngine::Sqlite, TestEngine::Postgres].into_iter().chain(old).collect()
}

// === impl TestEngine ===

impl TestEngine {
    /// As the code knows it.
    pub const fn engine(self) -> Engine {
        match self {
            Self::Sqlite => Engine::Sqlite,
            Self::Postgres | Self::OldPostgres => Engine::Postgres,
        }
    }
}

impl PartialEq<Engine> for TestEngine {
    fn eq(&self, other: &Engine) -> bool {
        self.engine() == *other
    }
}

// === impl TestStore ===

impl TestStore {
    /// An empty store on this engine, which is one of [`engines`].
    pub async fn on(engine: TestEngine) -> Self {
        Self::make(engine, false).await
    }

    /// The same; on PostgreSQL it belongs to a role of its own that may do nothing else.
    pub async fn of_its_own_role(engine: TestEngine) -> Self {
        Self::make(engine, true).await
    }

    async fn make(engine: TestEngine, own_role: bool) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let server = match engine {
            TestEngine::Sqlite => None,
            TestEngine::Postgres => Some(given(POSTGRES).unwrap_or_else(of_this_process)),
            TestEngine::OldPostgres => given(POSTGRES_OLD),
        };
        let (url, made) = match server {
            None => (DbUrl::Sqlite(folder.path().join("t.db")), None),
            Some(server) => {
                let name = format!("t_{}", Ids::system().next().simple());
                let may = "the server lets us make databases";
                let (mut url, mut owner) = (server.clone(), String::new());
                if own_role {
                    let role = format!("create role {name} login password '{name}'");
                    ask(&server, &role).await.expect(may);
                    let (_, host) = server.split_once('@').expect("it names a user");
                    url = format!("postgres://{name}:{name}@{host}");
                    owner = format!("owner {name}");
                }
                ask(&server, &format!("create database {name} {owner}")).await.expect(may);
                let url: PostgresUrl = url.parse().expect("its form was looked at");
                let url = url.with_database(&name);
                (DbUrl::Postgres(Box::new(url)), Some((server, name)))
            }
        };
        let acquire = Duration::from_secs(10);
        // A busy machine takes its time.
        let (pool_connections_max, statement) = (4, Duration::from_secs(60));
        let given = DbConfig::new("test", url);
        let config = DbConfig { pool_connections_max, acquire, statement, ..given };
        Self { engine, config, folder, made }
    }

    /// Opens it, once or again, with an audit log.
    pub async fn open(&self, migrations: Migrations) -> Db {
        let db = Db::open(&self.config, migrations).await.expect("the store can be opened");
        self.audit_log(&db).await;
        db
    }

    /// Its audit log.
    pub async fn audit_log(&self, db: &Db) -> AuditLog {
        let opened = AuditLog::open(Part::Patient, db.clone(), &audit_key(), Clock::system()).await;
        opened.expect("the audit log can be opened")
    }

    /// Does what only the server's superuser may; on SQLite, nothing.
    pub async fn as_superuser(&self, sql: &str) {
        let Some((server, name)) = &self.made else { return };
        let mut server: tokio_postgres::Config = server.parse().expect("its form was looked at");
        ask_at(server.dbname(name), sql).await.expect("a superuser may");
    }

    /// Where it is.
    pub const fn config(&self) -> &DbConfig {
        &self.config
    }

    /// The same store, behind a proxy on this port of this machine; on SQLite there is no way that
    /// could be bad.
    pub fn behind(&self, port: u16) -> DbConfig {
        let mut config = self.config.clone();
        if let Some((server, name)) = &self.made {
            let (user, _) = server.split_once('@').expect("it names a user");
            let url = format!("{user}@127.0.0.1:{port}/{name}");
            config.url = url.parse().expect("its form was looked at");
        }
        config
    }

    /// Where the server listens, for a proxy in front of it; on SQLite nowhere.
    pub fn server(&self) -> Option<String> {
        let (server, _) = self.made.as_ref()?;
        let config: tokio_postgres::Config = server.parse().expect("its form was looked at");
        let port = config.get_ports().first().copied().unwrap_or(5432);
        match config.get_hosts().first() {
            Some(tokio_postgres::config::Host::Tcp(host)) => Some(format!("{host}:{port}")),
            _ => None,
        }
    }

    /// A folder for whatever else the test keeps.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for TestStore {
    #[expect(clippy::print_stderr, reason = "a test that failed says on which engine")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("this failed on {:?}", self.engine);
        }
        let Some((server, name)) = self.made.take() else { return };
        // A thread of its own: this one may be in the middle of a runtime.
        let (tell, dropped) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let sql = format!("drop database {name} with (force)");
            let done = runtime.block_on(ask(&server, &sql)).map_err(io::Error::other);
            let sql = format!("drop role if exists {name}");
            let _ = runtime.block_on(ask(&server, &sql));
            let _ = tell.send(());
            done
        });
        // One that is left over harms no other test.
        let _ = dropped.recv_timeout(DROPPED_WITHIN);
    }
}

// === impl Unheard ===

impl<L: EventLog> Unheard<L> {
    /// Publishes to this one.
    pub fn new(log: Arc<L>) -> Self {
        Self { log, heard: Mutex::default() }
    }
}

#[async_trait]
impl<L: EventLog> EventLog for Unheard<L> {
    async fn publish(&self, topic: &str, records: Vec<Record>) -> Result<(), LogError> {
        let first = records.first().and_then(|record| record.header(EVENT_ID));
        let first = first.unwrap_or_default().to_owned();
        self.log.publish(topic, records).await?;
        let news = self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(first);
        if news {
            return Err(LogError::new("killed between publishing and forgetting"));
        }
        Ok(())
    }

    async fn read(&self, topic: &str, start: Start) -> Result<Box<dyn Subscription>, LogError> {
        self.log.read(topic, start).await
    }

    async fn check(&self) -> Result<(), LogError> {
        self.log.check().await
    }

    async fn subscribe(
        &self,
        group: &'static str,
        topic: &'static str,
        positions: Arc<dyn Positions>,
    ) -> Result<Box<dyn Subscription>, LogError> {
        self.log.subscribe(group, topic, positions).await
    }
}

// === impl FromTheStart ===

#[async_trait]
impl Positions for FromTheStart {
    async fn next_offset(&self, _: &str, _: i64) -> Result<i64, LogError> {
        Ok(0)
    }
}

/// A server that the environment names, on which databases may be made.
fn given(name: &str) -> Option<String> {
    let url = std::env::var_os(name).filter(|url| !url.is_empty())?.into_string().ok();
    let url = url.filter(|url| url.parse::<tokio_postgres::Config>().is_ok());
    Some(url.unwrap_or_else(|| panic!("{name} must be of the form postgres://user:pass@host/db")))
}

/// A server that dies with this process, which is started when it is first needed.
fn of_this_process() -> String {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    let start = || {
        Postgres::start(Version::Newest)
            .unwrap_or_else(|error| panic!("tests of stores need a PostgreSQL: {error}"))
    };
    SERVER.get_or_init(start).url()
}

async fn ask(server: &str, sql: &str) -> Result<(), tokio_postgres::Error> {
    ask_at(&server.parse()?, sql).await
}

async fn ask_at(server: &tokio_postgres::Config, sql: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = server.connect(NoTls).await?;
    let talking = tokio::spawn(connection);
    let done = client.batch_execute(sql).await;
    drop(client);
    let _ = talking.await;
    done
}
