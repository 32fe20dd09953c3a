//! Several relays of one store: one publishes, and there is always another one.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use shared_middleware::{clock::Clock, identity::Part};
use testbed::proxy::{Behaviour, Proxy};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    db::{Db, DbConfig, DbError, Engine, Migrations, Tx},
    log::{EmbeddedLog, EventLog as _, Start},
    outbox::{Event, Outbox, append},
    params,
    testing::{TestEngine, TestStore, engines},
};

const TOPIC: &str = "t";

/// A replica of a service, as far as its outbox goes.
struct Replica {
    db: Db,
    outbox: Outbox,
    stop: CancellationToken,
}

struct World {
    store: TestStore,
    log: EmbeddedLog,
}

impl World {
    async fn on(engine: TestEngine) -> Self {
        let store = TestStore::on(engine).await;
        let path = store.folder().join("events.db");
        let log = EmbeddedLog::open(&path, Clock::system()).await.unwrap();
        Self { store, log }
    }

    async fn replica(&self) -> Replica {
        self.replica_of(self.store.open(Migrations::none()).await)
    }

    /// One whose way to the server may be bad, and which gives up a statement after a second.
    async fn replica_behind(&self, proxy: &Proxy) -> Replica {
        let statement = Duration::from_secs(1);
        let config = DbConfig { statement, ..self.store.behind(proxy.port()) };
        let db = Db::open(&config, Migrations::none()).await.unwrap();
        self.store.audit_log(&db).await;
        self.replica_of(db)
    }

    fn replica_of(&self, db: Db) -> Replica {
        let log = Arc::new(self.log.clone());
        let outbox = Outbox::new(Part::Patient, db.clone(), log, Clock::system());
        let stop = CancellationToken::new();
        tokio::spawn(outbox.relay().run(stop.clone()));
        Replica { db, outbox, stop }
    }

    /// Waits until this many were published: the numbers, in their order.
    async fn published(&self, count: usize) -> Vec<u8> {
        let mut reader = self.log.read(TOPIC, Start::Beginning).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < count {
            let batch = reader.next(100).await.unwrap();
            seen.extend(batch.records.iter().map(|delivered| delivered.record.payload[0]));
        }
        seen
    }
}

impl Replica {
    async fn commit(&self, n: u8) {
        self.try_commit(n).await.unwrap();
    }

    async fn try_commit(&self, n: u8) -> Result<(), DbError> {
        let event = event(n);
        self.db.write(|tx| Box::pin(async move { append(tx, event).await })).await?;
        self.outbox.wake();
        Ok(())
    }
}

fn event(n: u8) -> Event {
    let (key, id) = ("k".to_owned(), Uuid::from_u128(n.into()));
    let (at, payload) = (Timestamp::UNIX_EPOCH, vec![n]);
    Event { topic: TOPIC, key, id, kind: "MADE", payload, at, trace: None }
}

fn servers() -> impl Iterator<Item = TestEngine> {
    engines().into_iter().filter(|engine| *engine == Engine::Postgres)
}

#[tokio::test]
async fn whichever_replica_commits_all_is_published_in_order() {
    for engine in servers() {
        let world = World::on(engine).await;
        let (first, second) = (world.replica().await, world.replica().await);
        for n in (0..40).step_by(2) {
            first.commit(n).await;
            second.commit(n + 1).await;
        }
        assert_eq!(world.published(40).await, (0..40).collect::<Vec<_>>());
        first.stop.cancel();
        second.stop.cancel();
    }
}

#[tokio::test]
async fn when_the_one_that_publishes_stops_the_other_one_goes_on() {
    for engine in servers() {
        let world = World::on(engine).await;
        let first = world.replica().await;
        first.commit(0).await;
        world.published(1).await;
        let second = world.replica().await;
        first.stop.cancel();
        second.commit(1).await;
        assert_eq!(world.published(2).await, [0, 1]);
        second.stop.cancel();
    }
}

#[tokio::test]
async fn when_the_one_that_publishes_hears_nothing_of_the_store_the_other_one_goes_on() {
    for engine in servers() {
        let world = World::on(engine).await;
        let proxy = Proxy::start(world.store.server().unwrap(), 7).unwrap();
        let first = world.replica_behind(&proxy).await;
        first.commit(0).await;
        world.published(1).await;
        let second = world.replica().await;
        // The first one's connections stay open at both ends: nobody ends its lease.
        proxy.set(Behaviour::StallOpen).unwrap();
        second.commit(1).await;
        assert_eq!(world.published(2).await, [0, 1]);
        // And the first one is well again without a restart.
        while first.try_commit(2).await.is_err() {}
        assert_eq!(world.published(3).await, [0, 1, 2]);
        first.stop.cancel();
        second.stop.cancel();
    }
}

#[tokio::test]
async fn a_lone_replica_whose_connections_stall_publishes_by_new_ones() {
    for engine in servers() {
        let world = World::on(engine).await;
        let proxy = Proxy::start(world.store.server().unwrap(), 7).unwrap();
        let replica = world.replica_behind(&proxy).await;
        replica.commit(0).await;
        world.published(1).await;
        proxy.set(Behaviour::StallOpen).unwrap();
        while replica.try_commit(1).await.is_err() {}
        assert_eq!(world.published(2).await, [0, 1]);
        replica.stop.cancel();
    }
}

#[tokio::test]
async fn when_the_server_ends_every_session_somebody_publishes_again() {
    for engine in servers() {
        let world = World::on(engine).await;
        let replica = world.replica().await;
        replica.commit(0).await;
        world.published(1).await;
        let ended = replica.db.write(|tx| Box::pin(end_others(tx))).await;
        assert!(ended.map_err(|error: DbError| error).unwrap() >= 1, "the lease's session ended");
        // A connection may still be on its way to its end: anyone who meets it is asked to come
        // again.
        let mut committed = replica.try_commit(1).await;
        while let Err(DbError::Unavailable(_)) = committed {
            committed = replica.try_commit(1).await;
        }
        committed.unwrap();
        assert_eq!(world.published(2).await, [0, 1]);
        replica.stop.cancel();
    }
}

#[tokio::test]
async fn a_transaction_that_commits_late_is_late_and_not_lost() {
    for engine in servers() {
        let world = World::on(engine).await;
        let replica = world.replica().await;
        let (begun, told) =
            (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let (its_begun, its_told) = (Arc::clone(&begun), Arc::clone(&told));
        let db = replica.db.clone();
        // It has its place in the outbox before the others and commits after them.
        let late = tokio::spawn(async move {
            db.write(|tx| {
                Box::pin(async move {
                    append(tx, event(9)).await?;
                    its_begun.notify_one();
                    its_told.notified().await;
                    Ok::<_, DbError>(())
                })
            })
            .await
        });
        begun.notified().await;
        replica.commit(1).await;
        assert_eq!(world.published(1).await, [1]);
        told.notify_one();
        late.await.unwrap().unwrap();
        replica.outbox.wake();
        assert_eq!(world.published(2).await, [1, 9]);
        replica.stop.cancel();
    }
}

/// Ends every other session of this database; how many there were.
async fn end_others(tx: &mut Tx<'_>) -> Result<usize, DbError> {
    let ended = tx
        .query(
            "select cast(pg_terminate_backend(pid) as text) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
            params![],
        )
        .await?;
    Ok(ended.len())
}
