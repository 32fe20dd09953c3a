//! Replays: beside consumers that go on, and after all that can happen to one.

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use kit::{
    consumer::Consumer,
    db::{DbError, Tx},
    log::{EmbeddedLog, EventLog as _, Record, Start},
    params,
    testing::{TestEngine, TestStore, engines},
};
use proto::patient_events::{PATIENT_CREATED, PATIENT_DELETED, PATIENT_UPDATED, TOPIC};
use refinery::{Runner, Target};
use shared_middleware::{clock::Clock, identity::Part};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    consumer::{GROUP, Projection},
    replay::{Replay, ReplayError, Replayed},
    store::{Store, migrations, replay::Switch},
    tests::{event, record},
};

struct World {
    kept: TestStore,
    store: Store,
    log: EmbeddedLog,
    time: Arc<Mutex<Timestamp>>,
}

impl World {
    async fn on(engine: TestEngine) -> Self {
        let kept = TestStore::on(engine).await;
        let store = Store::open(kept.config()).await.unwrap();
        let time = Arc::new(Mutex::new("2026-03-02T08:00:00Z".parse().unwrap()));
        let log = EmbeddedLog::open(&kept.folder().join("events.db"), clock(&time)).await.unwrap();
        Self { kept, store, log, time }
    }

    fn pass_s(&self, seconds: i64) {
        *self.time.lock().unwrap() += SignedDuration::from_secs(seconds);
    }

    async fn publish(&self, records: Vec<Record>) {
        self.log.publish(TOPIC, records).await.unwrap();
    }

    /// A member of the group, until the token is cancelled.
    fn consume(&self) -> CancellationToken {
        let stop = CancellationToken::new();
        let (db, log, handler) =
            (self.store.db(), Arc::new(self.log.clone()), Arc::new(Projection(Clock::system())));
        let consumer =
            Consumer::new(Part::Analytics, GROUP, TOPIC, db, log, handler, Clock::system());
        tokio::spawn(consumer.task().run(stop.clone()));
        stop
    }

    async fn claim(&self, start: Start) -> Result<Replay, ReplayError> {
        let log = Arc::new(self.log.clone());
        Replay::of(self.store.clone(), log, clock(&self.time), start).await
    }

    async fn replay(&self, start: Start) -> Result<Replayed, ReplayError> {
        self.claim(start).await?.run(|_| {}).await
    }

    /// Created, updated and deleted, and who is registered.
    async fn counted(&self) -> (i64, i64, i64, i64) {
        let counts = self.store.counts().await.unwrap();
        let patients = counts.by_birth_year.iter().map(|(_, patients)| patients).sum();
        (counts.created, counts.updated, counts.deleted, patients)
    }

    async fn until_created(&self, created: i64) {
        while self.counted().await.0 != created {
            tokio::task::yield_now().await;
        }
    }

    async fn change(&self, sql: &'static str) {
        self.store
            .db()
            .write(move |tx: &mut Tx<'_>| {
                Box::pin(async move { tx.execute(sql, &[]).await.map(drop) })
            })
            .await
            .map_err(|error: DbError| error)
            .unwrap();
    }

    /// The projections of which anything is kept.
    async fn kept(&self) -> Vec<i64> {
        let sql = "select projection from patient union select projection from event_count
                   union select projection from day_count order by 1";
        let db = self.store.db();
        let rows = db.read(move |tx| Box::pin(async move { tx.query(sql, params![]).await }));
        let rows = rows.await.map_err(|error: DbError| error).unwrap();
        rows.iter().map(|row| row.get(0).unwrap()).collect()
    }
}

fn clock(time: &Arc<Mutex<Timestamp>>) -> Clock {
    let time = Arc::clone(time);
    Clock::from_fn(move || *time.lock().unwrap())
}

fn created(patients: std::ops::Range<u128>) -> Vec<Record> {
    patients.map(|patient| record(&event(patient, PATIENT_CREATED, 1, 1985))).collect()
}

#[tokio::test]
async fn a_replay_makes_right_what_was_counted_wrong() {
    for engine in engines() {
        let world = World::on(engine).await;
        let stop = world.consume();
        world.publish(created(1..2500)).await;
        let changes = [event(1, PATIENT_UPDATED, 2, 1985), event(2, PATIENT_DELETED, 2, 1985)];
        world.publish(changes.iter().map(record).collect()).await;
        world.until_created(2499).await;
        while world.counted().await.2 != 1 {
            tokio::task::yield_now().await;
        }
        world.change("update event_count set created = 7").await;
        let replayed = world.replay(Start::Beginning).await.unwrap();
        assert_eq!((replayed.from, replayed.to, replayed.progress.events), (1, 2, 2501));
        assert_eq!((replayed.progress.done, replayed.progress.passed_over), (2502, 0));
        assert_eq!(world.counted().await, (2499, 1, 1, 2498));
        assert_eq!(world.kept().await, [2], "the old one is swept");
        // The group goes on where the replay was.
        world.publish(created(3000..3010)).await;
        world.until_created(2509).await;
        assert_eq!(world.replay(Start::Beginning).await.unwrap().to, 3);
        assert_eq!(world.counted().await, (2509, 1, 1, 2508));
        stop.cancel();
    }
}

#[tokio::test]
async fn events_that_go_on_during_a_replay_count_once() {
    for engine in engines() {
        let world = Arc::new(World::on(engine).await);
        // Two members that both believe the partition is theirs, as may be for a moment.
        let stops = [world.consume(), world.consume()];
        world.publish(created(1..200)).await;
        let publishing = tokio::spawn({
            let world = Arc::clone(&world);
            async move {
                for first in (200..700).step_by(4) {
                    world.publish(created(first..first + 4)).await;
                }
            }
        });
        let mut served = 1;
        while !publishing.is_finished() {
            let replayed = world.replay(Start::Beginning).await.unwrap();
            assert_eq!(replayed.from, served);
            served = replayed.to;
        }
        publishing.await.unwrap();
        world.until_created(699).await;
        assert_eq!(world.counted().await, (699, 0, 0, 699));
        assert_eq!(world.kept().await, [served]);
        stops.iter().for_each(CancellationToken::cancel);
    }
}

/// As from a topic that got partitions while events were written.
#[tokio::test]
async fn replays_count_what_comes_after_newer_events_as_the_group_did() {
    for engine in engines() {
        let world = World::on(engine).await;
        let stop = world.consume();
        let events = [
            event(1, PATIENT_UPDATED, 3, 1985),
            event(2, PATIENT_DELETED, 2, 1985),
            event(1, PATIENT_CREATED, 1, 1985),
            event(2, PATIENT_CREATED, 1, 1985),
            event(1, PATIENT_UPDATED, 2, 1985),
        ];
        world.publish(events.iter().map(record).collect()).await;
        while world.counted().await != (2, 2, 1, 1) {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            world.replay(Start::Beginning).await.unwrap();
            assert_eq!(world.counted().await, (2, 2, 1, 1));
        }
        stop.cancel();
    }
}

#[tokio::test]
async fn one_replay_at_a_time_and_one_that_was_killed_keeps_nobody_out_for_long() {
    for engine in engines() {
        let world = World::on(engine).await;
        world.publish(created(1..10)).await;
        let killed = world.claim(Start::Beginning).await.unwrap();
        let refused = world.replay(Start::Beginning).await.unwrap_err();
        assert!(refused.to_string().contains("another replay"), "{refused}");
        assert_eq!(world.kept().await, [1, 2]);

        world.pass_s(31);
        let replayed = world.replay(Start::Beginning).await.unwrap();
        assert_eq!((replayed.from, replayed.to), (1, 3));
        assert_eq!(world.kept().await, [3]);
        // Should it be alive after all, it does no harm.
        let mut killed = killed;
        let late = killed.run(|_| {}).await.unwrap_err();
        assert!(late.to_string().contains("took too long"), "{late}");
        assert_eq!((world.counted().await, world.kept().await), ((9, 0, 0, 9), vec![3]));
    }
}

#[tokio::test]
async fn a_replay_that_is_given_up_changes_nothing() {
    for engine in engines() {
        let world = World::on(engine).await;
        let stop = world.consume();
        world.publish(created(1..10)).await;
        world.until_created(9).await;
        stop.cancel();
        let replay = world.claim(Start::Beginning).await.unwrap();
        assert!(!replay.abandon().await.unwrap());
        assert_eq!((world.counted().await, world.kept().await), ((9, 0, 0, 9), vec![1]));
        // The next one need not wait.
        assert_eq!(world.replay(Start::Beginning).await.unwrap().to, 3);
    }
}

#[tokio::test]
async fn a_replay_from_a_moment_counts_what_was_published_since() {
    for engine in engines() {
        let world = World::on(engine).await;
        world.publish(created(1..10)).await;
        world.pass_s(60);
        let since = *world.time.lock().unwrap();
        world.publish(created(10..15)).await;
        world
            .publish(vec![Record { payload: b"\xff".to_vec(), ..created(99..100).remove(0) }])
            .await;
        let replayed = world.replay(Start::Time(since)).await.unwrap();
        assert_eq!((replayed.progress.events, replayed.progress.passed_over), (6, 1));
        assert_eq!(world.counted().await, (5, 0, 0, 5));
        // The group has not to read what the replay has counted, nor what it left out.
        let stop = world.consume();
        world.publish(created(20..21)).await;
        world.until_created(6).await;
        stop.cancel();
    }
}

#[tokio::test]
async fn a_replay_that_has_less_than_the_group_has_read_does_not_take_over() {
    for engine in engines() {
        let world = World::on(engine).await;
        let stop = world.consume();
        world.publish(created(1..10)).await;
        world.until_created(9).await;
        stop.cancel();
        let now = *world.time.lock().unwrap();
        let projection = world.store.claim(now).await.unwrap();
        let switch = async |built: &[(i64, i64)]| {
            let built = built.iter().copied().collect();
            world.store.switch(projection, GROUP, TOPIC, built, now).await.unwrap()
        };
        assert_eq!(switch(&[(0, 9)]).await, Switch::Behind);
        assert_eq!(switch(&[]).await, Switch::Behind, "a partition that was not read");
        assert_eq!(world.store.served().await.unwrap(), 1);
        assert_eq!(switch(&[(0, 10)]).await, Switch::Done(1));
        assert_eq!(world.store.served().await.unwrap(), 2);

        // Another log, which ends before what the group has read.
        world.store.release(projection).await.unwrap();
        let path = world.kept.folder().join("other.db");
        let log = EmbeddedLog::open(&path, clock(&world.time)).await.unwrap();
        let other = World { log, ..world };
        let refused = other.replay(Start::Beginning).await.unwrap_err();
        assert!(refused.to_string().contains("was the log replaced"), "{refused}");
        assert_eq!(other.store.served().await.unwrap(), 2);
    }
}

#[tokio::test]
async fn what_was_counted_before_there_were_projections_is_the_first() {
    for engine in engines() {
        let kept = TestStore::on(engine).await;
        let mut migrations = migrations();
        for runner in [&mut migrations.sqlite, &mut migrations.postgres] {
            *runner = std::mem::replace(runner, Runner::new(&[])).set_target(Target::Version(1));
        }
        let before = kept.open(migrations).await;
        let filled = before.write(|tx| {
            Box::pin(async move {
                let patient = params![Uuid::from_u128(1), 2, "REGISTERED", 1985];
                let sql = "insert into patient (id, version, state, birth_year)
                           values ($1, $2, $3, $4)";
                tx.execute(sql, patient).await?;
                tx.execute("insert into birth_year_count values (1985, 1)", &[]).await?;
                tx.execute("update event_count set created = 1, updated = 1", &[]).await
            })
        });
        filled.await.map_err(|error: DbError| error).unwrap();
        drop(before);
        let store = Store::open(kept.config()).await.unwrap();
        let counts = store.counts().await.unwrap();
        assert_eq!((counts.created, counts.updated), (1, 1));
        assert_eq!(counts.by_birth_year.len(), 1);
        assert_eq!(store.served().await.unwrap(), 1);
    }
}
