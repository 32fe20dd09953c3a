//! Outbox, log and consumer together: what is committed takes effect once, whatever breaks between.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use shared_middleware::{clock::Clock, identity::Part};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    consumer::{Consumer, Handler, HandlerError, TRIES_MAX, dead_letters_of},
    db::{Db, DbError, Migrations, Tx},
    dead_letter::{DeadLetter, DeadLetters, Retried},
    log::{
        Batch, ConsumedRecord, EmbeddedLog, EventLog, Record, SOURCE_GROUP, SOURCE_OFFSET,
        SOURCE_PARTITION, SOURCE_TOPIC,
    },
    outbox::{Event, Outbox, append},
    params,
    testing::{FromTheStart, TestEngine, TestStore, engines},
};

const TOPIC: &str = "t";

/// Writes the key of every event as a row; refuses what says so.
#[derive(Default)]
struct Keys {
    tried: AtomicU32,
    /// Whether poison is fine by now.
    cured: AtomicBool,
}

impl Handler for Keys {
    fn apply<'t>(
        &'t self,
        tx: &'t mut Tx<'_>,
        delivered: &'t ConsumedRecord,
    ) -> BoxFuture<'t, Result<(), HandlerError>> {
        Box::pin(async move {
            let record = &delivered.record;
            if record.payload == b"panic" {
                panic!("on purpose");
            }
            if record.payload == b"poison" && !self.cured.load(Ordering::SeqCst) {
                self.tried.fetch_add(1, Ordering::SeqCst);
                return Err(HandlerError::Poison("cannot be read"));
            }
            let key = record.key.clone();
            let value = record.payload.clone();
            tx.execute("insert into secret (name, value) values ($1, $2)", params![key, value])
                .await?;
            Ok(())
        })
    }

    fn types(&self) -> &'static [&'static str] {
        &["MADE"]
    }
}

struct World {
    db: Db,
    log: EmbeddedLog,
    outbox: Outbox,
    handler: Arc<Keys>,
    stop: CancellationToken,
    store: TestStore,
}

impl World {
    async fn on(engine: TestEngine) -> Self {
        let store = TestStore::on(engine).await;
        let db = store.open(Migrations::none()).await;
        let log =
            EmbeddedLog::open(&store.folder().join("events.db"), Clock::system()).await.unwrap();
        let outbox = Outbox::new(Part::Patient, db.clone(), Arc::new(log.clone()), Clock::system());
        let stop = CancellationToken::new();
        Self { db, log, outbox, handler: Arc::default(), stop, store }
    }

    async fn commit(&self, id: u128, payload: &[u8]) {
        let event = Event {
            topic: TOPIC,
            key: format!("k{id}"),
            id: Uuid::from_u128(id),
            kind: "MADE",
            payload: payload.to_vec(),
            at: Timestamp::UNIX_EPOCH,
            trace: None,
        };
        self.db
            .write(|tx| Box::pin(async move { append(tx, event).await }))
            .await
            .map_err(|error: DbError| error)
            .unwrap();
        self.outbox.wake();
    }

    fn start(&self) {
        let log = Arc::new(self.log.clone());
        let handler = Arc::clone(&self.handler);
        let consumer = Consumer::new(
            Part::Analytics,
            "g",
            TOPIC,
            self.db.clone(),
            log,
            handler,
            Clock::system(),
        );
        tokio::spawn(self.outbox.relay().run(self.stop.clone()));
        tokio::spawn(consumer.task().run(self.stop.clone()));
    }

    /// Waits until the topic holds this many records, and hands them over.
    async fn records(&self, topic: &'static str, count: usize) -> Batch {
        let mut seen = Batch::default();
        let positions = Arc::new(FromTheStart);
        let mut reader = self.log.subscribe("test", topic, positions).await.unwrap();
        while seen.records.len() < count {
            seen.records.extend(reader.next(100).await.unwrap().records);
        }
        seen
    }

    fn folder(&self) -> &Path {
        self.store.folder()
    }

    fn dead_letters(&self) -> DeadLetters {
        let (log, handler) = (Arc::new(self.log.clone()), Arc::clone(&self.handler));
        DeadLetters::new("g", self.db.clone(), log, handler)
    }

    /// Waits for the group's first dead letter.
    async fn dead_letter(&self) -> DeadLetter {
        loop {
            if let Some(letter) = self.dead_letters().list(0, 1).await.unwrap().pop() {
                return letter;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn keys(&self) -> Vec<String> {
        let rows = self
            .db
            .read(|tx| {
                Box::pin(async move {
                    tx.query("select name from secret where name like 'k%' order by name", &[])
                        .await
                })
            })
            .await
            .map_err(|error: DbError| error)
            .unwrap();
        rows.iter().map(|row| row.get(0).unwrap()).collect()
    }

    /// Events that are committed and not yet published.
    async fn waiting(&self) -> i64 {
        let waiting: Result<i64, DbError> = self
            .db
            .read(|tx| {
                Box::pin(
                    async move { tx.query_one("select count(*) from outbox", &[]).await?.get(0) },
                )
            })
            .await;
        waiting.unwrap()
    }

    /// Waits until the consumer has written this many rows.
    async fn effects(&self, count: usize) -> Vec<String> {
        loop {
            let keys = self.keys().await;
            if keys.len() >= count {
                return keys;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn what_is_committed_takes_effect() {
    for engine in engines() {
        let world = World::on(engine).await;
        world.start();
        for id in 1..=10 {
            world.commit(id, b"fine").await;
        }
        assert_eq!(world.effects(10).await.len(), 10);
        world.stop.cancel();
    }
}

#[tokio::test]
async fn what_was_committed_before_the_start_takes_effect_too() {
    for engine in engines() {
        let world = World::on(engine).await;
        // More than are published, and than are consumed, at once.
        for id in 1..=300 {
            world.commit(id, b"fine").await;
        }
        world.start();
        assert_eq!(world.effects(300).await.len(), 300);
        assert_eq!(world.records(TOPIC, 300).await.records[299].record.key, "k300");
        world.stop.cancel();
    }
}

#[tokio::test]
async fn what_was_published_is_forgotten_and_nothing_else() {
    for engine in engines() {
        let world = World::on(engine).await;
        for id in 1..=3 {
            world.commit(id, b"fine").await;
        }
        assert_eq!(world.waiting().await, 3);
        let relay = tokio::spawn(world.outbox.relay().run(world.stop.clone()));
        while world.waiting().await > 0 {
            tokio::task::yield_now().await;
        }
        // What is committed before the end is published before the end.
        world.commit(4, b"fine").await;
        world.stop.cancel();
        relay.await.unwrap();
        assert_eq!(world.waiting().await, 0);
        assert_eq!(world.records(TOPIC, 4).await.records.len(), 4);
    }
}

#[tokio::test]
async fn publishing_again_changes_nothing() {
    for engine in engines() {
        let world = World::on(engine).await;
        let record = Record {
            key: "k".to_owned(),
            headers: vec![("event-id".to_owned(), "e1".to_owned())],
            payload: b"fine".to_vec(),
        };
        for _ in 0..3 {
            world.log.publish(TOPIC, vec![record.clone(), record.clone()]).await.unwrap();
        }
        assert_eq!(world.records(TOPIC, 1).await.records.len(), 1);
        let nameless = Record { headers: Vec::new(), ..record };
        world.log.publish(TOPIC, vec![nameless.clone(), nameless]).await.unwrap();
        assert_eq!(world.records(TOPIC, 3).await.records.len(), 3);
    }
}

#[tokio::test]
async fn a_poison_event_goes_to_the_dead_letters_and_blocks_nobody() {
    for engine in engines() {
        let world = World::on(engine).await;
        world.commit(1, b"fine").await;
        world.commit(2, b"poison").await;
        world.commit(3, b"fine").await;
        world.start();

        assert_eq!(world.effects(2).await, ["k1", "k3"]);
        let letters = world.records("t.dlq", 1).await.records;
        assert_eq!(dead_letters_of(TOPIC), "t.dlq");
        let letter = &letters[0].record;
        assert_eq!((letter.key.as_str(), letter.payload.as_slice()), ("k2", &b"poison"[..]));
        assert_eq!(letter.header("error"), Some("cannot be read"));
        assert_eq!(letter.header(SOURCE_TOPIC), Some(TOPIC));
        assert_eq!(letter.header(SOURCE_PARTITION), Some("0"));
        assert_eq!(letter.header(SOURCE_OFFSET), Some("2"));
        assert_eq!(letter.header(SOURCE_GROUP), Some("g"));
        // Once with the others, then by itself.
        assert!(world.handler.tried.load(Ordering::SeqCst) >= TRIES_MAX);
        world.stop.cancel();
    }
}

#[tokio::test]
async fn an_event_that_makes_its_handler_panic_blocks_nobody_either() {
    for engine in engines() {
        let world = World::on(engine).await;
        world.commit(1, b"panic").await;
        world.commit(2, b"fine").await;
        world.start();
        assert_eq!(world.effects(1).await, ["k2"]);
        assert_eq!(world.records("t.dlq", 1).await.records[0].record.key, "k1");
        world.stop.cancel();
    }
}

#[tokio::test]
async fn a_consumer_that_starts_again_goes_on_where_it_was() {
    for engine in engines() {
        let world = World::on(engine).await;
        world.start();
        world.commit(1, b"fine").await;
        world.effects(1).await;
        world.stop.cancel();

        // The key is unique: to apply it again would be a dead letter, and to skip one a gap.
        let again = World { stop: CancellationToken::new(), ..world };
        again.commit(2, b"fine").await;
        again.start();
        assert_eq!(again.effects(2).await, ["k1", "k2"]);
        again.stop.cancel();
    }
}

#[tokio::test]
async fn a_dead_letter_says_where_the_event_is_and_nothing_of_it() {
    for engine in engines() {
        let world = World::on(engine).await;
        world.commit(1, b"fine").await;
        world.commit(2, b"poison").await;
        world.start();
        let letter = world.dead_letter().await;
        assert_eq!((letter.topic.as_str(), letter.partition, letter.offset), (TOPIC, 0, 2));
        assert_eq!(letter.event_id, Uuid::from_u128(2).to_string());
        assert_eq!((letter.event_type.as_str(), letter.error.as_str()), ("MADE", "cannot be read"));
        let record = world.dead_letters().record(&letter).await.unwrap().unwrap();
        assert_eq!((record.key.as_str(), record.payload.as_slice()), ("k2", &b"poison"[..]));
        // Of another group there are none.
        let (log, handler) = (Arc::new(world.log.clone()), Arc::clone(&world.handler));
        let others = DeadLetters::new("h", world.db.clone(), log, handler);
        assert!(others.list(0, 10).await.unwrap().is_empty());
        assert_eq!(others.find(letter.id).await.unwrap(), None);
        assert!(!others.forget(letter.id).await.unwrap());
        world.stop.cancel();
    }
}

#[tokio::test]
async fn a_retry_takes_effect_once_and_one_that_fails_changes_nothing() {
    for engine in engines() {
        let world = World::on(engine).await;
        world.commit(1, b"poison").await;
        world.start();
        let (letter, letters) = (world.dead_letter().await, world.dead_letters());
        let failed = letters.retry(letter.id).await.unwrap();
        assert_eq!(failed, Retried::Failed("cannot be read".to_owned()));
        assert_eq!(letters.list(0, 10).await.unwrap(), std::slice::from_ref(&letter));
        assert!(world.keys().await.is_empty());

        world.handler.cured.store(true, Ordering::SeqCst);
        let (one, other) = tokio::join!(letters.retry(letter.id), letters.retry(letter.id));
        let done = [one.unwrap(), other.unwrap()];
        assert!(done.contains(&Retried::Done) && done.contains(&Retried::Unknown), "{done:?}");
        assert_eq!(world.keys().await, ["k1"]);
        assert!(letters.list(0, 10).await.unwrap().is_empty());
        world.stop.cancel();
    }
}

#[tokio::test]
async fn a_letter_whose_record_is_gone_stays_until_it_is_dropped() {
    for engine in engines() {
        let world = World::on(engine).await;
        world.commit(1, b"poison").await;
        world.start();
        let letter = world.dead_letter().await;
        world.stop.cancel();
        // Another log, that has another event at the same place.
        let path = world.folder().join("other.db");
        let other = EmbeddedLog::open(&path, Clock::system()).await.unwrap();
        let headers = vec![("event-id".to_owned(), "another".to_owned())];
        let record = Record { key: "k".to_owned(), headers, payload: b"fine".to_vec() };
        let world = World { log: other, ..world };
        let letters = world.dead_letters();
        assert_eq!(letters.retry(letter.id).await.unwrap(), Retried::Gone);
        world.log.publish(TOPIC, vec![record]).await.unwrap();
        assert_eq!(letters.record(&letter).await.unwrap(), None);
        assert_eq!(letters.retry(letter.id).await.unwrap(), Retried::Gone);
        assert_eq!(letters.list(0, 10).await.unwrap(), std::slice::from_ref(&letter));
        assert!(letters.forget(letter.id).await.unwrap());
        assert_eq!(letters.retry(letter.id).await.unwrap(), Retried::Unknown);
    }
}
