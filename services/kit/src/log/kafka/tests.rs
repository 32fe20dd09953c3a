//! The log on librdkafka's own brokers, which live in this process and fail when they are told to.

use std::collections::BTreeSet;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::time::timeout;

use super::*;
use crate::{
    log::{ConsumedRecord, EVENT_ID, Progress},
    testing::FromTheStart,
};

const TOPIC: &str = "t";

struct World {
    cluster: MockCluster<'static, DefaultProducerContext>,
    log: KafkaLog,
}

/// Positions as a consumer's store would keep them.
struct At(i64);

#[async_trait]
impl Positions for At {
    async fn next_offset(&self, _: &str, _: i64) -> Result<i64, LogError> {
        Ok(self.0)
    }
}

fn record(n: usize) -> Record {
    Record {
        key: format!("k{}", n % 3),
        headers: vec![(EVENT_ID.to_owned(), format!("e{n}"))],
        payload: format!("v{n}").into_bytes(),
    }
}

fn numbers(records: &[ConsumedRecord]) -> Vec<usize> {
    let number = |delivered: &ConsumedRecord| {
        std::str::from_utf8(&delivered.record.payload).unwrap()[1..].parse().unwrap()
    };
    records.iter().map(number).collect()
}

/// Reads until there are this many.
async fn records(subscription: &mut dyn Subscription, count: usize) -> Vec<ConsumedRecord> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.extend(subscription.next(100).await.unwrap().records);
    }
    seen
}

impl World {
    async fn with(partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("x.t", partitions, 1).unwrap();
        let config = KafkaConfig {
            url: format!("kafka://{}", cluster.bootstrap_servers()).parse().unwrap(),
            prefix: "x.".to_owned(),
            topics: vec![TOPIC.to_owned()],
            partitions,
            replication: None,
        };
        let log = KafkaLog::open(config).await.unwrap();
        Self { cluster, log }
    }

    async fn publish(&self, numbers: std::ops::Range<usize>) {
        self.log.publish(TOPIC, numbers.map(record).collect()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_read_in_order_with_its_key_and_headers() {
    let world = World::with(1).await;
    world.log.check().await.unwrap();
    world.publish(0..50).await;
    let from = Arc::new(FromTheStart);
    let mut member = world.log.subscribe("g", TOPIC, from).await.unwrap();
    let read = records(&mut *member, 50).await;
    assert_eq!(numbers(&read), (0..50).collect::<Vec<_>>());
    assert_eq!(read[7].record, record(7));
    assert_eq!((read[7].position, read[7].offset), (7, 7));
    // The brokers are not asked where it ends: they tell with the records.
    let idle = loop {
        let batch = member.next(100).await.unwrap();
        if !batch.progress.is_empty() {
            break batch;
        }
    };
    assert_eq!(idle.progress, [Progress { partition: 0, next: 50, end: 50 }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_goes_on_from_its_own_position_whatever_the_group_did() {
    let world = World::with(1).await;
    world.publish(0..10).await;
    for next in [4, 0, 9] {
        let mut member = world.log.subscribe("g", TOPIC, Arc::new(At(next))).await.unwrap();
        let read = records(&mut *member, 10 - next as usize).await;
        assert_eq!(numbers(&read)[0], next as usize);
        member.done();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_the_log_does_not_reach_is_an_error_and_no_silence() {
    let world = World::with(1).await;
    world.publish(0..3).await;
    let mut member = world.log.subscribe("g", TOPIC, Arc::new(At(4))).await.unwrap();
    let failed = loop {
        if let Err(error) = member.next(10).await {
            break error;
        }
    };
    assert!(failed.0.to_string().contains("was read up to 4 already"), "{}", failed.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_the_partitions_and_a_key_keeps_its_order() {
    let world = World::with(4).await;
    let from = || Arc::new(FromTheStart);
    let mut first = world.log.subscribe("g", TOPIC, from()).await.unwrap();
    world.publish(0..30).await;
    let read = records(&mut *first, 30).await;
    for key in ["k0", "k1", "k2"] {
        let of_key: Vec<_> = read.iter().filter(|d| d.record.key == key).cloned().collect();
        assert!(numbers(&of_key).is_sorted(), "{of_key:?}");
        assert!(of_key.iter().all(|d| d.partition == of_key[0].partition));
    }
    let mut second = world.log.subscribe("g", TOPIC, from()).await.unwrap();
    let (mut ours, mut theirs) = (4, 0);
    while (ours, theirs) != (2, 2) {
        ours = first.next(100).await.unwrap().progress.len();
        theirs = second.next(100).await.unwrap().progress.len();
    }
    drop(second);
    while first.next(100).await.unwrap().progress.len() < 4 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_reads_while_brokers_do_not_say_where_partitions_end() {
    let world = World::with(4).await;
    world.publish(0..30).await;
    let leads_not = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    world.cluster.request_errors(rdkafka::types::RDKafkaApiKey::ListOffsets, &[leads_not; 500]);
    let mut member = world.log.subscribe("g", TOPIC, Arc::new(FromTheStart)).await.unwrap();
    assert_eq!(records(&mut *member, 30).await.len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_owner_takes_nothing_keeps_no_other_waiting() {
    const MORE_THAN_IS_READ_AHEAD: usize = 6000;
    let world = World::with(4).await;
    for first in (0..MORE_THAN_IS_READ_AHEAD).step_by(1000) {
        world.publish(first..first + 1000).await;
    }
    let from = || Arc::new(FromTheStart);
    let mut slow = world.log.subscribe("g", TOPIC, from()).await.unwrap();
    let place = |record: ConsumedRecord| (record.partition, record.offset);
    let mut seen: BTreeSet<_> = records(&mut *slow, 1).await.into_iter().map(place).collect();
    let mut other = world.log.subscribe("g", TOPIC, from()).await.unwrap();
    let shared = async {
        loop {
            let batch = other.next(100).await.unwrap();
            seen.extend(batch.records.into_iter().map(place));
            if batch.progress.len() == 2 {
                break;
            }
        }
    };
    timeout(Duration::from_secs(60), shared).await.expect("the other one gets its partitions");
    // What was held back meanwhile is not lost.
    while seen.len() < MORE_THAN_IS_READ_AHEAD {
        for member in [&mut slow, &mut other] {
            seen.extend(member.next(100).await.unwrap().records.into_iter().map(place));
        }
    }
}

#[test]
fn a_reader_that_follows_one_that_is_gone_is_the_same_to_its_group() {
    let instances = Instances::new(Ids::system());
    let (one, two) = (instances.take("g"), instances.take("g"));
    assert_ne!(one.name(), two.name());
    let name = one.name().to_owned();
    drop(one);
    assert_ne!(instances.take("another").name(), name);
    assert_eq!(instances.take("g").name(), name);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_alone_begins_where_it_wants() {
    let world = World::with(1).await;
    world.publish(0..10).await;
    for (start, first) in [(Start::Beginning, 0), (Start::At { partition: 0, offset: 6 }, 6)] {
        let mut reader = world.log.read(TOPIC, start).await.unwrap();
        assert_eq!(numbers(&records(&mut *reader, 1).await)[0], first);
    }
    let mut reader = world.log.read(TOPIC, Start::End).await.unwrap();
    world.publish(10..11).await;
    assert_eq!(numbers(&records(&mut *reader, 1).await), [10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_fail_now_and_then_do_not_break_the_order() {
    let world = World::with(1).await;
    let errors = [
        rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
    ];
    for round in 0..5 {
        world.cluster.request_errors(rdkafka::types::RDKafkaApiKey::Produce, &errors);
        world.publish(round * 20..(round + 1) * 20).await;
    }
    let mut reader = world.log.read(TOPIC, Start::Beginning).await.unwrap();
    let read = numbers(&records(&mut *reader, 100).await);
    assert_eq!(read, (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_published_is_taken_back_and_can_be_published_later() {
    let world = World::with(1).await;
    world.cluster.broker_down(1).unwrap();
    let (late, ..) = tokio::join!(world.log.publish(TOPIC, vec![record(0), record(1)]), async {
        assert!(world.log.check().await.is_err())
    },);
    assert!(late.is_err());
    world.cluster.broker_up(1).unwrap();
    world.publish(0..3).await;
    let mut reader = world.log.read(TOPIC, Start::Beginning).await.unwrap();
    let read = numbers(&records(&mut *reader, 3).await);
    assert_eq!(read, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_is_told_at_once() {
    let url = "kafka://no-such-host.invalid:9092".parse().unwrap();
    let (prefix, topics) = (String::new(), vec![TOPIC.to_owned()]);
    let config = KafkaConfig { url, prefix, topics, partitions: 1, replication: None };
    let Err(error) = KafkaLog::open(config).await else { panic!("there is no such host") };
    assert!(error.to_string().contains("the host is unknown"), "{error}");
}
