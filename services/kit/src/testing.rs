//! For tests of stores: every engine that can be tested here, and on each a store of one's own.
//!
//! SQLite is always tested; PostgreSQL where `MEDISYNC_TEST_POSTGRES` says which server.
//!
//! ```text
//! for engine in engines() {
//!     let store = TestStore::on(engine).await;
//!     let db = store.open(migrations()).await;
//! }
//! ```

use std::{path::Path, thread, time::Duration};

use async_trait::async_trait;
use shared_middleware::clock::Ids;
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::{
    db::{Db, DbConfig, DbUrl, Engine, Migrations, PostgresUrl},
    log::{LogError, Positions},
};

/// A `postgres://` URL: of a server on which databases may be made.
const POSTGRES: &str = "MEDISYNC_TEST_POSTGRES";

/// A store that is gone when the test is over.
pub struct TestStore {
    engine: Engine,
    config: DbConfig,
    folder: TempDir,
    /// On PostgreSQL: the server, and the database that was made on it.
    made: Option<(String, String)>,
}

/// Reads a topic from its beginning.
pub struct FromTheStart;

/// The engines that can be tested here.
pub fn engines() -> Vec<Engine> {
    let postgres = server().map(|_| Engine::Postgres);
    [Engine::Sqlite].into_iter().chain(postgres).collect()
}

// === impl TestStore ===

impl TestStore {
    /// An empty store on this engine, which is one of [`engines`].
    pub async fn on(engine: Engine) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let (url, made) = match engine {
            Engine::Sqlite => (DbUrl::Sqlite(folder.path().join("t.db")), None),
            Engine::Postgres => {
                let server = server().expect("the engine is one of those that can be tested");
                let name = format!("t_{}", Ids::system().next().simple());
                ask(&server, &format!("create database {name}"))
                    .await
                    .expect("the server lets us make databases");
                let url: PostgresUrl = server.parse().expect("its form was looked at");
                let url = url.with_database(&name);
                (DbUrl::Postgres(Box::new(url)), Some((server, name)))
            }
        };
        let acquire = Duration::from_secs(10);
        let config = DbConfig { pool_connections_max: 4, acquire, ..DbConfig::new(url) };
        Self { engine, config, folder, made }
    }

    /// Opens it, once or again.
    pub async fn open(&self, migrations: Migrations) -> Db {
        Db::open(&self.config, migrations).await.expect("the store can be opened")
    }

    /// Where it is.
    pub const fn config(&self) -> &DbConfig {
        &self.config
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
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let sql = format!("drop database {name} with (force)");
            runtime.block_on(ask(&server, &sql)).map_err(std::io::Error::other)
        });
        // One that is left over harms no other test.
        let _ = dropping.join();
    }
}

// === impl FromTheStart ===

#[async_trait]
impl Positions for FromTheStart {
    async fn next_offset(&self, _: &str, _: i64) -> Result<i64, LogError> {
        Ok(0)
    }
}

#[expect(clippy::disallowed_methods, reason = "it is for tests, which have no settings")]
fn server() -> Option<String> {
    let url = std::env::var(POSTGRES).ok()?;
    let form = "MEDISYNC_TEST_POSTGRES is of the form postgres://user:pass@host/db";
    url.parse::<tokio_postgres::Config>().expect(form);
    Some(url)
}

async fn ask(server: &str, sql: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(server, NoTls).await?;
    let talking = tokio::spawn(connection);
    let done = client.batch_execute(sql).await;
    drop(client);
    let _ = talking.await;
    done
}
