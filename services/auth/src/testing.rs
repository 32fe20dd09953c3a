//! What tests stand on: a service on a store of its own, and a clock to turn.
//!
//! The store is SQLite in a folder; when `DATABASE_URL` names a PostgreSQL, a schema there.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;
use kit::db::{Db, DbConfig, DbError, Migrations};
use shared_middleware::{
    clock::{Clock, Ids},
    token::{Verifier, VerifierConfig},
};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{App, Auth, Config, build_with, open_app, password::Passwords};

/// A clock's hand.
#[derive(Clone)]
pub(crate) struct Hand(Arc<AtomicI64>);

/// A service, and what keeps it there.
pub(crate) struct World {
    pub(crate) auth: Auth,
    pub(crate) hand: Hand,
    pub(crate) config: Config,
    stop: DropGuard,
    _folder: TempDir,
}

// === impl Hand ===

impl Hand {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_800_000_000)))
    }

    pub(crate) fn clock(&self) -> Clock {
        let seconds = Arc::clone(&self.0);
        Clock::from_fn(move || Timestamp::from_second(seconds.load(Ordering::SeqCst)).unwrap())
    }

    pub(crate) fn turn_s(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

// === impl World ===

impl World {
    /// A service without users, whose tasks do not run.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new(database(&folder).await, folder.path().join("keys"));
        let hand = Hand::new();
        let auth = build_with(config.clone(), Passwords::cheap(), hand.clock(), Ids::system());
        let stop = CancellationToken::new().drop_guard();
        Self { auth: auth.await.unwrap(), hand, config, stop, _folder: folder }
    }

    /// One whose tasks run, with the demo's users.
    pub(crate) async fn demo() -> Self {
        let mut world = Self::new().await;
        world.auth.app.ensure_demo_users().await.unwrap();
        world.start();
        world
    }

    pub(crate) fn start(&mut self) {
        for task in self.auth.service.tasks.drain(..) {
            tokio::spawn(task.run(self.stop.token().clone()));
        }
    }

    /// Ends the tasks.
    pub(crate) fn stop(&self) {
        self.stop.token().cancel();
    }

    /// The verbs of users in another process.
    pub(crate) async fn another_process(&self) -> App {
        open_app(self.config.clone(), self.hand.clock(), Ids::system()).await.unwrap()
    }

    pub(crate) fn verifier(&self) -> Arc<Verifier> {
        Arc::new(Verifier::new(VerifierConfig::default(), self.hand.clock()))
    }
}

async fn database(folder: &TempDir) -> DbConfig {
    let config =
        |url: String| DbConfig { pool_connections_max: 4, ..DbConfig::new(url.parse().unwrap()) };
    let server = std::env::var_os("DATABASE_URL").and_then(|url| url.into_string().ok());
    let Some(server) = server.filter(|url| url.starts_with("postgres")) else {
        return config(format!("sqlite:{}", folder.path().join("auth.db").display()));
    };
    let schema = format!("auth_{}", Ids::system().next().simple());
    let create = format!("create schema {schema}");
    let db = Db::open(&config(server.clone()), Migrations::none()).await.unwrap();
    db.write(move |tx| Box::pin(async move { tx.execute(&create, &[]).await }))
        .await
        .map_err(|error: DbError| error)
        .unwrap();
    config(format!("{server}?options=-c%20search_path%3D{schema}"))
}
