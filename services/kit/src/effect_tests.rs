//! From the outbox through Kafka to two members of a group: a relay that always dies between
//! publishing and forgetting, and members that come and go. Every event has its effect once.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};
use shared_middleware::{clock::Clock, identity::Part};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    consumer::{Consumer, Handler, HandlerError},
    db::{Db, DbError, Migrations, Tx},
    log::{ConsumedRecord, EventLog, KafkaConfig, KafkaLog, Start},
    outbox::{Event, Outbox, append},
    params,
    testing::{TestStore, Unheard, engines},
};

const TOPIC: &str = "t";
const KEYS: u8 = 3;
const EVENTS_OF_A_KEY: u8 = 30;

/// Keeps, for every key, the number of its last event and how many events had an effect.
struct Last;

impl Handler for Last {
    fn apply<'t>(
        &'t self,
        tx: &'t mut Tx<'_>,
        delivered: &'t ConsumedRecord,
    ) -> BoxFuture<'t, Result<(), HandlerError>> {
        Box::pin(async move {
            let (key, number) = (delivered.record.key.clone(), delivered.record.payload[0]);
            let sql = "select value from secret where name = $1";
            let known = tx.query_opt(sql, params![&key]).await?;
            let known = known.map(|row| row.get::<Vec<u8>>(0)).transpose()?;
            let (last, effects) = known.map_or((0, 0), |known| (known[0], known[1]));
            if number <= last {
                return Ok(());
            }
            if number != last + 1 {
                return Err(HandlerError::Poison("an event overtook another"));
            }
            let sql = "insert into secret (name, value) values ($1, $2)
                       on conflict (name) do update set value = excluded.value";
            tx.execute(sql, params![key, vec![number, effects + 1]]).await?;
            Ok(())
        })
    }

    fn types(&self) -> &'static [&'static str] {
        &["MADE"]
    }
}

async fn commit(db: &Db, key: u8, number: u8) {
    let event = Event {
        topic: TOPIC,
        key: format!("k{key}"),
        id: Uuid::from_u128(u128::from(key) << 8 | u128::from(number)),
        kind: "MADE",
        payload: vec![number],
        at: Timestamp::UNIX_EPOCH,
        trace: None,
    };
    let committed = db.write(|tx| Box::pin(async move { append(tx, event).await }));
    committed.await.map_err(|error: DbError| error).unwrap();
}

/// By key: its last event's number and how many had an effect.
async fn effects(db: &Db) -> BTreeMap<String, Vec<u8>> {
    let sql = "select name, value from secret where name not like 'audit%'";
    let rows = db.read(move |tx| Box::pin(async move { tx.query(sql, &[]).await })).await;
    let rows = rows.map_err(|error: DbError| error).unwrap();
    rows.iter().map(|row| (row.get(0).unwrap(), row.get(1).unwrap())).collect()
}

async fn kafka() -> (MockCluster<'static, DefaultProducerContext>, Arc<KafkaLog>) {
    let cluster = MockCluster::new(1).unwrap();
    for topic in [TOPIC, "t.dlq"] {
        cluster.create_topic(topic, 2, 1).unwrap();
    }
    let url = format!("kafka://{}", cluster.bootstrap_servers()).parse().unwrap();
    let (prefix, topics) = (String::new(), vec![TOPIC.to_owned()]);
    let config = KafkaConfig { url, prefix, topics, partitions: 2, replication: None };
    (cluster, Arc::new(KafkaLog::open(config).await.unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_twice_and_read_by_whoever_is_there_has_its_effect_once() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let db = store.open(Migrations::none()).await;
        let (_cluster, log) = kafka().await;
        let dies = Unheard::new(Arc::clone(&log));
        let outbox = Outbox::new(Part::Patient, db.clone(), Arc::new(dies), Clock::system());
        let member = || {
            let stop = CancellationToken::new();
            let log: Arc<dyn EventLog> = Arc::<KafkaLog>::clone(&log);
            let consumer = Consumer::new(
                Part::Analytics,
                "g",
                TOPIC,
                db.clone(),
                log,
                Arc::new(Last),
                Clock::system(),
            );
            tokio::spawn(consumer.task().run(stop.clone()));
            stop
        };
        let stop = CancellationToken::new();
        tokio::spawn(outbox.relay().run(stop.clone()));
        let mut members = [member(), member()];
        for number in 1..=EVENTS_OF_A_KEY {
            for key in 0..KEYS {
                commit(&db, key, number).await;
            }
            outbox.wake();
            if number == EVENTS_OF_A_KEY / 2 {
                // One goes, and another one comes.
                std::mem::replace(&mut members[0], member()).cancel();
            }
        }
        let all = vec![EVENTS_OF_A_KEY, EVENTS_OF_A_KEY];
        let wanted: BTreeMap<_, _> =
            (0..KEYS).map(|key| (format!("k{key}"), all.clone())).collect();
        while effects(&db).await != wanted {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        members.iter().for_each(CancellationToken::cancel);

        // They really were published twice, and in order each time.
        let mut reader = log.read(TOPIC, Start::Beginning).await.unwrap();
        let (mut published, mut highest) = (0, BTreeMap::<String, u8>::new());
        let end: i64 = loop {
            let batch = reader.next(1000).await.unwrap();
            for delivered in &batch.records {
                let (key, number) = (delivered.record.key.clone(), delivered.record.payload[0]);
                let before = highest.entry(key).or_default();
                assert!(number <= *before + 1, "{number} of {:?} came early", delivered.record);
                *before = number.max(*before);
                published += 1;
            }
            if batch.progress.iter().all(|of| of.lag() == 0) {
                break batch.progress.iter().map(|of| of.end).sum();
            }
        };
        assert_eq!(published, end);
        assert!(published > i64::from(KEYS) * i64::from(EVENTS_OF_A_KEY), "{published} records");
    }
}
