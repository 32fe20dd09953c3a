//! How soon Kafka's consumer groups have caught up with what was written.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaResult,
};

const TOPIC: &str = "patient";
/// The consumer groups of the mesh.
const GROUPS: [&str; 2] = [analytics::GROUP, notification::GROUP];
/// What takes longer is told as so much: the judge says whether it came true at all.
const WATCHED_FOR: Duration = Duration::from_secs(120);
const LOOKS_EVERY: Duration = Duration::from_millis(100);
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Waits until the topic has this many records, and each group has committed all that it had then;
/// how long that was after `since`. It blocks.
pub(crate) fn caught_up(bootstrap: &str, records: u64, since: Instant) -> Duration {
    let readers: Vec<_> = GROUPS.iter().map(|group| client(bootstrap, group)).collect();
    let mut wanted = None;
    while since.elapsed() < WATCHED_FOR {
        if wanted.is_none() {
            let enough = |ends: &Vec<(i32, i64)>| ends.iter().map(|(_, end)| *end).sum::<i64>();
            let full = |ends: &Vec<_>| u64::try_from(enough(ends)).is_ok_and(|all| all >= records);
            wanted = ends(&readers[0]).ok().filter(full);
        }
        let all_read = |wanted: &Vec<(i32, i64)>| {
            readers.iter().all(|reader| has_read(reader, wanted).unwrap_or(false))
        };
        if wanted.as_ref().is_some_and(all_read) {
            break;
        }
        sleep(LOOKS_EVERY);
    }
    since.elapsed()
}

fn client(bootstrap: &str, group: &str) -> BaseConsumer {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", bootstrap).set("group.id", group);
    client.set("enable.auto.commit", "false");
    client.create().unwrap()
}

/// The offset after the last record of each partition.
fn ends(reader: &BaseConsumer) -> KafkaResult<Vec<(i32, i64)>> {
    let metadata = reader.fetch_metadata(Some(TOPIC), ANSWERS_WITHIN)?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    let end = |partition: &rdkafka::metadata::MetadataPartition| {
        let (_, end) = reader.fetch_watermarks(TOPIC, partition.id(), ANSWERS_WITHIN)?;
        Ok((partition.id(), end))
    };
    partitions.map(end).collect()
}

fn has_read(reader: &BaseConsumer, wanted: &[(i32, i64)]) -> KafkaResult<bool> {
    let mut asked = TopicPartitionList::new();
    for (partition, _) in wanted {
        asked.add_partition(TOPIC, *partition);
    }
    let committed = reader.committed_offsets(asked, ANSWERS_WITHIN)?;
    Ok(wanted.iter().all(|&(partition, end)| {
        let found = committed.find_partition(TOPIC, partition).map(|found| found.offset());
        end == 0 || matches!(found, Some(Offset::Offset(next)) if next >= end)
    }))
}
