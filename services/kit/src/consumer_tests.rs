//! Outbox, log and consumer together: what is committed takes effect once, whatever breaks between.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use shared_middleware::{clock::Clock, identity::Part};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    consumer::{Consumer, Handler, HandlerError, TRIES_MAX, dead_letters_of},
    db::{Db, DbConfig, DbError, Migrations, Tx},
    log::{Batch, EmbeddedLog, EventLog, LogError, Positions, Record, SOURCE_OFFSET, SOURCE_TOPIC},
    outbox::{Event, Outbox, append},
    params,
};

const TOPIC: &str = "t";

/// Writes the key of every event as a row; refuses what says so.
#[derive(Default)]
struct Keys {
    tried: AtomicU32,
}

impl Handler for Keys {
    fn apply<'t>(
        &'t self,
        tx: &'t mut Tx<'_>,
        record: &'t Record,
    ) -> BoxFuture<'t, Result<(), HandlerError>> {
        Box::pin(async move {
            if record.payload == b"poison" {
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
    _folder: TempDir,
}

struct FromTheStart;

#[async_trait::async_trait]
impl Positions for FromTheStart {
    async fn next_offset(&self, _: &str, _: i64) -> Result<i64, LogError> {
        Ok(0)
    }
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("t.db").display()).parse().unwrap();
    let config = DbConfig { url, pool_connections_max: 2, acquire: Duration::from_secs(5) };
    let db = Db::open(&config, Migrations::none()).await.unwrap();
    let log = EmbeddedLog::open(&folder.path().join("events.db")).await.unwrap();
    let outbox = Outbox::new(Part::Patient, db.clone(), Arc::new(log.clone()), Clock::system());
    let stop = CancellationToken::new();
    World { db, log, outbox, handler: Arc::default(), stop, _folder: folder }
}

impl World {
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
        let consumer = Consumer::new("g", TOPIC, self.db.clone(), log, handler);
        tokio::spawn(self.outbox.relay().run(self.stop.clone()));
        tokio::spawn(consumer.task().run(self.stop.clone()));
    }

    /// Waits until the topic holds so many records, and hands them over.
    async fn records(&self, topic: &'static str, count: usize) -> Batch {
        let mut seen = Batch::default();
        let positions = Arc::new(FromTheStart);
        let mut reader = self.log.subscribe("test", topic, positions).await.unwrap();
        while seen.records.len() < count {
            seen.records.extend(reader.next(100).await.unwrap().records);
        }
        seen
    }

    async fn keys(&self) -> Vec<String> {
        let rows = self
            .db
            .read(|tx| Box::pin(async move { tx.query("select name from secret", &[]).await }))
            .await
            .map_err(|error: DbError| error)
            .unwrap();
        rows.iter().map(|row| row.get(0).unwrap()).collect()
    }

    /// Waits until the consumer has written so many rows.
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
    let world = world().await;
    world.start();
    for id in 1..=10 {
        world.commit(id, b"fine").await;
    }
    assert_eq!(world.effects(10).await.len(), 10);
}

#[tokio::test]
async fn what_was_committed_before_the_start_takes_effect_too() {
    let world = world().await;
    world.commit(1, b"fine").await;
    world.start();
    assert_eq!(world.effects(1).await, ["k1"]);
}

#[tokio::test]
async fn publishing_again_changes_nothing() {
    let world = world().await;
    let record = Record {
        key: "k".to_owned(),
        headers: vec![("event-id".to_owned(), "e1".to_owned())],
        payload: b"fine".to_vec(),
    };
    for _ in 0..3 {
        world.log.publish(TOPIC, vec![record.clone(), record.clone()]).await.unwrap();
    }
    assert_eq!(world.records(TOPIC, 1).await.records.len(), 1);
}

#[tokio::test]
async fn a_poison_event_goes_to_the_dead_letters_and_blocks_nobody() {
    let world = world().await;
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
    assert_eq!(letter.header(SOURCE_OFFSET), Some("2"));
    // Once with the others, then by itself.
    assert!(world.handler.tried.load(Ordering::SeqCst) >= TRIES_MAX);
}

#[tokio::test]
async fn a_consumer_that_starts_again_goes_on_where_it_was() {
    let world = world().await;
    world.start();
    world.commit(1, b"fine").await;
    world.effects(1).await;
    world.stop.cancel();

    // The key is unique: to apply it again would be a dead letter, and to skip one would be a gap.
    let again = World { stop: CancellationToken::new(), ..world };
    again.commit(2, b"fine").await;
    again.start();
    assert_eq!(again.effects(2).await, ["k1", "k2"]);
}
