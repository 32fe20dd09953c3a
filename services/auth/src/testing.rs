//! What tests stand on: a service on a store of its own, and a clock to turn.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;
use kit::testing::{TestEngine, TestStore, audit_key};
use shared_middleware::{
    clock::{Clock, Ids},
    rate_limit::RateLimit,
    token::{Verifier, VerifierConfig},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{App, Auth, Config, build_with, open_app, password::Passwords};

/// A clock's hand.
#[derive(Clone)]
pub(crate) struct Hand(Arc<AtomicI64>);

/// A service, and what keeps it there.
pub(crate) struct World {
    pub(crate) auth: Auth,
    pub(crate) passwords: Passwords,
    pub(crate) hand: Hand,
    pub(crate) config: Config,
    stop: DropGuard,
    _store: TestStore,
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
    /// A service without users and limits, whose tasks do not run.
    pub(crate) async fn new(engine: TestEngine) -> Self {
        Self::with_limit(engine, None).await
    }

    /// The demo's, where an account takes ten attempts an hour.
    pub(crate) async fn limited(engine: TestEngine) -> Self {
        Self::with_limit(engine, Some(RateLimit::every(10, 3600))).await.with_demo_users().await
    }

    async fn with_limit(engine: TestEngine, account_limit: Option<RateLimit>) -> Self {
        let store = TestStore::on(engine).await;
        let config = Config {
            account_limit,
            ..Config::new(store.config().clone(), store.folder().join("keys"))
        };
        let hand = Hand::new();
        let clock = hand.clock().into();
        let (passwords, key) = (Passwords::cheap(), audit_key());
        let auth = build_with(config.clone(), passwords.clone(), &key, &clock, Ids::system());
        let auth = auth.await.unwrap();
        let stop = CancellationToken::new().drop_guard();
        Self { auth, passwords, hand, config, stop, _store: store }
    }

    /// One whose tasks run, with the demo's users.
    pub(crate) async fn demo(engine: TestEngine) -> Self {
        Self::new(engine).await.with_demo_users().await
    }

    async fn with_demo_users(mut self) -> Self {
        self.auth.app.ensure_demo_users().await.unwrap();
        self.start();
        self
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
        let (config, clock) = (self.config.clone(), self.hand.clock());
        open_app(config, &audit_key(), &clock.into(), Ids::system()).await.unwrap()
    }

    pub(crate) fn verifier(&self) -> Arc<Verifier> {
        Arc::new(Verifier::new(VerifierConfig::default(), self.hand.clock()))
    }
}
