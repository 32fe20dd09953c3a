//! What the event log holds, read as it is.

use std::{collections::BTreeMap, path::Path, time::Duration};

use prost::Message as _;
use proto::patient_events::PatientEvent;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    producer::{BaseProducer, BaseRecord, Producer as _},
};

const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A topic's events, in the order of the log within each patient.
#[derive(Default)]
pub(crate) struct Topic {
    /// By patient: versions in the order in which they were first published.
    pub(crate) versions: BTreeMap<String, Vec<i64>>,
    /// By event type: how many different events.
    pub(crate) types: BTreeMap<String, u64>,
    /// Events that were published more than once: at least once is what the wire promises.
    pub(crate) repeated: u64,
    seen: std::collections::BTreeSet<String>,
}

// === impl Topic ===

impl Topic {
    fn take(&mut self, payload: &[u8]) {
        let Ok(event) = PatientEvent::decode(payload) else { return };
        if event.event_id.is_empty() {
            return;
        }
        if !self.seen.insert(event.event_id) {
            self.repeated += 1;
            return;
        }
        *self.types.entry(event.event_type).or_default() += 1;
        self.versions.entry(event.patient_id).or_default().push(event.version);
    }

    /// Of the embedded log, in this file.
    pub(crate) fn embedded(path: &Path) -> Self {
        let mut topic = Self::default();
        let events = rusqlite::Connection::open(path).unwrap();
        let sql = "select payload from log_record where topic = 'patient' order by position";
        let mut found = events.prepare(sql).unwrap();
        let payloads = found.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        payloads.for_each(|payload| topic.take(&payload.unwrap()));
        topic
    }

    /// Of Kafka's.
    pub(crate) fn kafka(bootstrap: &str) -> Self {
        let mut topic = Self::default();
        read(bootstrap, "patient", |payload| topic.take(payload));
        topic
    }
}

/// How many dead letters there are.
pub(crate) fn dead_letters_embedded(path: &Path) -> u64 {
    let events = rusqlite::Connection::open(path).unwrap();
    let sql = "select count(*) from log_record where topic = 'patient.dlq'";
    events.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().try_into().unwrap()
}

pub(crate) fn dead_letters_kafka(bootstrap: &str) -> u64 {
    let mut count = 0;
    read(bootstrap, "patient.dlq", |_| count += 1);
    count
}

/// Puts something into the topic that nobody can read.
pub(crate) fn poison_embedded(path: &Path, key: &str) {
    let events = rusqlite::Connection::open(path).unwrap();
    events.busy_timeout(ANSWERS_WITHIN).unwrap();
    let sql = "insert into log_record (topic, record_key, headers, payload)
               values ('patient', ?1, '[]', x'ff00ff')";
    events.execute(sql, [key]).unwrap();
}

pub(crate) fn poison_kafka(bootstrap: &str, key: &str) {
    let mut client = ClientConfig::new();
    let producer: BaseProducer = client.set("bootstrap.servers", bootstrap).create().unwrap();
    let record = BaseRecord::to("patient").key(key).payload(&[0xff, 0x00, 0xff]);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(ANSWERS_WITHIN).unwrap();
}

fn read(bootstrap: &str, topic: &str, mut take: impl FnMut(&[u8])) {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", bootstrap).set("group.id", "judge");
    client.set("enable.auto.commit", "false");
    let consumer: BaseConsumer = client.create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), ANSWERS_WITHIN).unwrap();
    let mut all = TopicPartitionList::new();
    let mut left = 0;
    for partition in metadata.topics()[0].partitions() {
        let (_, end) = consumer.fetch_watermarks(topic, partition.id(), ANSWERS_WITHIN).unwrap();
        left += end;
        all.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    while left > 0 {
        let message = consumer.poll(ANSWERS_WITHIN).expect("the log has more").unwrap();
        take(message.payload().unwrap_or_default());
        left -= 1;
    }
}
