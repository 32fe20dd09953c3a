//! The log on three real brokers that are killed, stand still and come back, and consumers that
//! come, leave and are killed: what was acknowledged is there, in order, and takes effect once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use kit::{
    consumer::{Consumer, Handler, HandlerError},
    db::{Db, DbConfig, DbError, Migrations, Tx},
    log::{ConsumedRecord, EVENT_ID, EventLog, KafkaConfig, KafkaLog, Record, Start},
    outbox::{Event, Outbox, append},
    params,
    testing::Unheard,
};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
    metadata::Metadata,
};
use refinery::{Migration, Runner};
use shared_middleware::{clock::Clock, identity::Part};
use testbed::{Kafka, Postgres, Security, Version};
use tokio::{
    sync::{Mutex, MutexGuard},
    task::{JoinHandle, block_in_place},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const TOPIC: &str = "t";
/// Their names are such that each of four partitions has one at least: a member applies nothing
/// while the partition that it was given is empty.
const KEYS: u64 = 5;
const PARTITIONS: i32 = 4;
/// What never happens by then, does not happen.
const WITHIN: Duration = Duration::from_secs(60);
const LOOKS_EVERY: Duration = Duration::from_millis(20);
/// So often a batch, with one event of each key.
const PUBLISHES_EVERY: Duration = Duration::from_millis(50);
/// Tells the process of a member where everything is.
const VICTIM: &str = "KIT_TEST_MEMBER";

/// What events do: each record is applied once, each event has one effect.
const TABLES: &str = "
    create table applied (member text not null, part bigint, at bigint, primary key (part, at));
    create table effect (id bigserial primary key, event_id text unique, record_key text,
                         n bigint)";

/// The cluster, for one test at a time: all brokers are up.
async fn cluster() -> MutexGuard<'static, Kafka> {
    static CLUSTER: OnceLock<Mutex<Kafka>> = OnceLock::new();
    let start = || Mutex::new(Kafka::start(3, Security::None).unwrap());
    block_in_place(|| CLUSTER.get_or_init(start)).lock().await
}

async fn until<F: Future<Output = bool>>(what: &str, is_so: impl FnMut() -> F) {
    assert!(comes_to_be(WITHIN, is_so).await, "it never came to be: {what}");
}

/// Whether it does, in that time. The clock is asked, not a timer: looks that block their thread
/// would keep a timer from being heard.
async fn comes_to_be<F: Future<Output = bool>>(
    within: Duration,
    mut is_so: impl FnMut() -> F,
) -> bool {
    let (since, mut looks) = (Instant::now(), tokio::time::interval(LOOKS_EVERY));
    while !is_so().await {
        if since.elapsed() > within {
            return false;
        }
        looks.tick().await;
    }
    true
}

async fn open(brokers: &str, prefix: &str, partitions: i32, replication: i32) -> Arc<KafkaLog> {
    let url = format!("kafka://{brokers}").parse().unwrap();
    let (prefix, topics) = (prefix.to_owned(), vec![TOPIC.to_owned()]);
    let replication = Some(replication);
    let config = KafkaConfig { url, prefix, topics, partitions, replication };
    Arc::new(KafkaLog::open(config).await.unwrap())
}

async fn store(url: &str) -> Db {
    let tables = [Migration::unapplied("V1__effects", TABLES).unwrap()];
    let migrations = Migrations { sqlite: Runner::new(&[]), postgres: Runner::new(&tables) };
    let mut config = DbConfig::new("test", url.parse().unwrap());
    config.acquire = WITHIN;
    Db::open(&config, migrations).await.unwrap()
}

fn record(n: u64) -> Record {
    let headers = vec![(EVENT_ID.to_owned(), n.to_string())];
    Record { key: format!("key{}", n % KEYS), headers, payload: (n / KEYS).to_be_bytes().to_vec() }
}

/// One event of each key.
fn batch(n: u64) -> Vec<Record> {
    (n * KEYS..(n + 1) * KEYS).map(record).collect()
}

/// A count, as the server of the store tells it.
fn count(postgres: &Postgres, of: &str) -> u64 {
    block_in_place(|| postgres.ask(&format!("select count(*) from {of}"))).unwrap().parse().unwrap()
}

fn metadata(kafka: &Kafka, topic: &str) -> Metadata {
    let mut client = ClientConfig::new();
    let client: BaseConsumer = client.set("bootstrap.servers", kafka.bootstrap()).create().unwrap();
    block_in_place(|| client.fetch_metadata(Some(topic), WITHIN)).unwrap()
}

/// The broker that leads the topic's first partition.
fn leader(kafka: &Kafka, topic: &str) -> usize {
    usize::try_from(metadata(kafka, topic).topics()[0].partitions()[0].leader()).unwrap()
}

/// All that the topic holds, by key, each with what its event is.
async fn held(log: &KafkaLog, records: usize) -> BTreeMap<String, Vec<(String, u64)>> {
    let mut reader = log.read(TOPIC, Start::Beginning).await.unwrap();
    let (mut all, mut seen) = (BTreeMap::<_, Vec<_>>::new(), 0);
    while seen < records {
        for delivered in reader.next(1000).await.unwrap().records {
            let record = delivered.record;
            let n = u64::from_be_bytes(record.payload.as_slice().try_into().unwrap());
            let id = record.header(EVENT_ID).unwrap().to_owned();
            all.entry(record.key).or_default().push((id, n));
            seen += 1;
        }
    }
    all
}

/// An event that was published again counts once, where it was first: so do consumers.
fn assert_whole_and_in_order(all: BTreeMap<String, Vec<(String, u64)>>, batches: u64) {
    assert_eq!(all.len() as u64, KEYS);
    for (key, events) in all {
        let mut seen = BTreeSet::new();
        let once = events.into_iter().filter(|(id, _)| seen.insert(id.clone()));
        let order: Vec<u64> = once.map(|(_, n)| n).collect();
        assert_eq!(order, (0..batches).collect::<Vec<_>>(), "{key}");
    }
}

/// Writes what it applies.
struct Effects(&'static str);

impl Handler for Effects {
    fn apply<'t>(
        &'t self,
        tx: &'t mut Tx<'_>,
        delivered: &'t ConsumedRecord,
    ) -> BoxFuture<'t, Result<(), HandlerError>> {
        Box::pin(async move {
            let ConsumedRecord { partition, offset, ref record, .. } = *delivered;
            // Fails when the record was applied before.
            tx.execute(
                "insert into applied (member, part, at) values ($1, $2, $3)",
                params![self.0.to_owned(), partition, offset],
            )
            .await?;
            let n = record.payload.as_slice().try_into().map_or(-1, i64::from_be_bytes);
            let id = record.header(EVENT_ID).unwrap_or_default().to_owned();
            tx.execute(
                "insert into effect (event_id, record_key, n) values ($1, $2, $3)
                 on conflict (event_id) do nothing",
                params![id, record.key.clone(), n],
            )
            .await?;
            Ok(())
        })
    }

    fn types(&self) -> &'static [&'static str] {
        &[]
    }
}

/// A member of the group, in this process.
struct Member {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Member {
    fn start(name: &'static str, db: &Db, log: Arc<dyn EventLog>) -> Self {
        let (handler, stop) = (Arc::new(Effects(name)), CancellationToken::new());
        let consumer =
            Consumer::new(Part::Analytics, "g", TOPIC, db.clone(), log, handler, Clock::system());
        let running = tokio::spawn(consumer.task().run(stop.clone()));
        Self { stop, running }
    }

    async fn leave(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

/// Publishes batch after batch, each until it is acknowledged, as the relay does.
struct Publishing {
    acknowledged: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    going_on: JoinHandle<()>,
}

impl Publishing {
    fn start(log: Arc<KafkaLog>) -> Self {
        let (acknowledged, ends) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (its_count, its_end) = (Arc::clone(&acknowledged), Arc::clone(&ends));
        let going_on = tokio::spawn(async move {
            let mut turns = tokio::time::interval(PUBLISHES_EVERY);
            while !its_end.load(Ordering::SeqCst) {
                turns.tick().await;
                let next = batch(its_count.load(Ordering::SeqCst));
                if log.publish(TOPIC, next).await.is_ok() {
                    its_count.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Self { acknowledged, ends, going_on }
    }

    async fn goes_on(&self) {
        let wanted = self.acknowledged.load(Ordering::SeqCst) + 20;
        until("it publishes", || async { self.acknowledged.load(Ordering::SeqCst) >= wanted })
            .await;
    }

    /// How many batches were acknowledged.
    async fn end(self) -> u64 {
        self.ends.store(true, Ordering::SeqCst);
        self.going_on.await.unwrap();
        self.acknowledged.load(Ordering::SeqCst)
    }
}

/// A member in a process of its own.
fn member_process(test: &str, brokers: &str, store: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(VICTIM, format!("{brokers} {store}"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_with_the_partitions_and_on_as_many_brokers_as_is_said() {
    let kafka = cluster().await;
    for (prefix, partitions, replication) in [("one.", 6, 3), ("two.", 2, 1)] {
        open(&kafka.bootstrap(), prefix, partitions, replication).await;
        let about = metadata(&kafka, &format!("{prefix}{TOPIC}"));
        let made = about.topics()[0].partitions();
        assert_eq!(made.len(), partitions as usize);
        assert!(made.iter().all(|it| it.replicas().len() == replication as usize));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_takes_effect_once_whatever_happens_to_brokers_and_members() {
    const NAME: &str = "each_event_takes_effect_once_whatever_happens_to_brokers_and_members";
    if let Some(told) = std::env::var_os(VICTIM) {
        let told = told.into_string().unwrap();
        let (brokers, url) = told.split_once(' ').unwrap();
        let log = open(brokers, "three.", PARTITIONS, 3).await;
        Member::start("victim", &store(url).await, log).running.await.unwrap();
    }
    let (kafka, postgres) = (cluster().await, Postgres::start(Version::Newest).unwrap());
    let (brokers, url) = (kafka.bootstrap(), postgres.url());
    let log = open(&brokers, "three.", PARTITIONS, 3).await;
    let db = store(&url).await;
    let publishing = Publishing::start(Arc::clone(&log));
    let one = Member::start("one", &db, log.clone());
    publishing.goes_on().await;

    let first = leader(&kafka, "three.t");
    block_in_place(|| kafka.kill(first));
    let two = Member::start("two", &db, log.clone());
    publishing.goes_on().await;
    block_in_place(|| kafka.start_again(first)).unwrap();

    let mut victim = member_process(NAME, &brokers, &url);
    let joined =
        comes_to_be(WITHIN, || async { count(&postgres, "applied where member = 'victim'") > 0 })
            .await;
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(joined, "no other process became a member");

    let second = leader(&kafka, "three.t");
    kafka.pause(second);
    publishing.goes_on().await;
    kafka.resume(second);
    two.leave().await;
    publishing.goes_on().await;

    let batches = publishing.end().await;
    until("every event took effect", || async { count(&postgres, "effect") >= batches * KEYS })
        .await;
    // What is on the topic twice was passed over by the handler, which saw it.
    let records = count(&postgres, "applied");
    assert_whole_and_in_order(held(&log, records as usize).await, batches);
    let in_order = "effect a join effect b using (record_key) where a.id < b.id and a.n >= b.n";
    assert_eq!(count(&postgres, in_order), 0);
    assert_eq!(count(&postgres, "effect"), batches * KEYS);
    assert_eq!(count(&postgres, "dead_letter"), 0);
    let with_records = "(select distinct part from applied) as partitions";
    assert_eq!(count(&postgres, with_records), PARTITIONS as u64);
    for member in ["one", "two", "victim"] {
        assert!(count(&postgres, &format!("applied where member = '{member}'")) > 0, "{member}");
    }
    one.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_broker_down_is_borne_and_two_down_acknowledge_nothing() {
    let kafka = cluster().await;
    let log = open(&kafka.bootstrap(), "four.", 3, 3).await;
    log.publish(TOPIC, batch(0)).await.unwrap();
    block_in_place(|| kafka.kill(1));
    while log.publish(TOPIC, batch(1)).await.is_err() {}
    block_in_place(|| kafka.kill(2));
    let failed = log.publish(TOPIC, batch(2)).await.unwrap_err();
    assert!(failed.0.to_string().contains("not acknowledged in time"), "{}", failed.0);
    assert!(log.check().await.is_err(), "it tells that nothing is taken");
    for broker in [1, 2] {
        block_in_place(|| kafka.start_again(broker)).unwrap();
    }
    while log.publish(TOPIC, batch(2)).await.is_err() {}
    log.check().await.unwrap();
    log.publish(TOPIC, batch(3)).await.unwrap();
    // Whatever was published twice on the way: what is last is there once.
    let mut all = held(&log, 4 * KEYS as usize).await;
    while all.values().any(|events| events.last().unwrap().1 != 3) {
        let records: usize = all.values().map(Vec::len).sum();
        all = held(&log, records + 1).await;
    }
    assert_whole_and_in_order(all, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_before_it_marks_publishes_twice_and_each_event_counts_once() {
    const BATCHES: u64 = 20;
    let (kafka, postgres) = (cluster().await, Postgres::start(Version::Newest).unwrap());
    let log = open(&kafka.bootstrap(), "five.", PARTITIONS, 3).await;
    let db = store(&postgres.url()).await;
    let unheard = Arc::new(Unheard::new(Arc::clone(&log)));
    let outbox = Outbox::new(Part::Patient, db.clone(), unheard, Clock::system());
    let stop = CancellationToken::new();
    for n in 0..BATCHES * KEYS {
        let record = record(n);
        let (id, at) = (Uuid::from_u128(n.into()), Timestamp::UNIX_EPOCH);
        let (key, payload) = (record.key, record.payload);
        let event = Event { topic: TOPIC, key, id, kind: "MADE", payload, at, trace: None };
        let committed = db.write(|tx| Box::pin(async move { append(tx, event).await })).await;
        committed.map_err(|error: DbError| error).unwrap();
    }
    tokio::spawn(outbox.relay().run(stop.clone()));
    let member = Member::start("one", &db, log.clone());
    let records = 2 * BATCHES * KEYS;
    until("all was seen", || async { count(&postgres, "applied") >= records }).await;
    assert_eq!(count(&postgres, "effect"), BATCHES * KEYS);
    let in_order = "effect a join effect b using (record_key) where a.id < b.id and a.n >= b.n";
    assert_eq!(count(&postgres, in_order), 0);
    assert_whole_and_in_order(held(&log, records as usize).await, BATCHES);
    member.leave().await;
    stop.cancel();
}
