//! Reads a topic: on its own, or as a member of a group.
//!
//! What is read goes through a bounded queue. When it is full the thread that polls waits, and so
//! do the brokers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use async_trait::async_trait;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use tokio::{runtime::Handle, sync::mpsc, time::timeout};

use super::{
    config::KafkaConfig,
    context::{Ear, Heard},
    instances::Instance,
    member::Member,
    poll::Poller,
};
use crate::log::{Batch, ConsumedRecord, LogError, Positions, Progress, Start, Subscription};

/// Records that are read ahead at most.
const READ_AHEAD_MAX: usize = 1024;
/// An empty batch is handed out after so long, to say how far behind the reader is.
const TOLD_EVERY: Duration = Duration::from_millis(250);
/// A reader that is dropped leaves its group within so long, or is left behind.
const LEAVES_WITHIN: Duration = Duration::from_secs(2);
const ASKS_WITHIN: Duration = Duration::from_secs(3);

/// The partitions that a reader has.
pub(super) struct Assigned {
    /// The topic, as anyone who reads it knows it.
    topic: String,
    partitions: Mutex<BTreeMap<i32, Where>>,
    /// Why the reader cannot go on.
    failure: Mutex<Option<LogError>>,
    /// What was done and is to be committed to the group's coordinator.
    done: Mutex<BTreeMap<i32, i64>>,
    /// What was committed last.
    told: Mutex<BTreeMap<i32, i64>>,
    /// The partitions of which it would not hear: the group was being rebalanced.
    untold: Mutex<BTreeSet<i32>>,
}

/// Where a reader is in one partition.
#[derive(Clone, Copy)]
pub(super) struct Where {
    /// The position of the next record that is polled.
    pub(super) polled: i64,
    /// Of the next one that is handed out.
    pub(super) next: i64,
    /// The offset after the last record as it was in the beginning, if that was asked.
    pub(super) end: Option<i64>,
}

/// A topic's reader.
pub(super) struct Reader {
    topic: String,
    queue: Option<mpsc::Receiver<ConsumedRecord>>,
    assigned: Arc<Assigned>,
    heard: Arc<Heard>,
    ended: Receiver<()>,
    /// Who it is to its group; free for the next one when this one is dropped.
    instance: Option<Instance>,
}

// === impl Assigned ===

impl Assigned {
    fn of(topic: &str) -> Arc<Self> {
        let (partitions, failure, done, told, untold) = Default::default();
        Arc::new(Self { topic: topic.to_owned(), partitions, failure, done, told, untold })
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn partitions(&self) -> MutexGuard<'_, BTreeMap<i32, Where>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fail(&self, error: LogError) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn failure(&self) -> Option<LogError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn done(&self) -> MutexGuard<'_, BTreeMap<i32, i64>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This is done up to there, maybe by another member that could not commit any more.
    pub(super) fn is_done(&self, partition: i32, next: i64) {
        self.done().insert(partition, next);
    }

    fn untold(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<i32, i64>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn was_not_told(&self, partition: i32) {
        self.untold().insert(partition);
    }

    /// Of what was not acknowledged the newest is committed again, if it is still ours: a commit
    /// that failed may have been followed by one that did not.
    pub(super) fn tell_again(&self) {
        let untold = std::mem::take(&mut *self.untold());
        let (partitions, told) = (self.partitions(), self.told());
        for partition in untold.into_iter().filter(|partition| partitions.contains_key(partition)) {
            if let Some(&next) = told.get(&partition) {
                self.done().entry(partition).or_insert(next);
            }
        }
    }

    pub(super) fn take_done(&self) -> BTreeMap<i32, i64> {
        let done = std::mem::take(&mut *self.done());
        self.told().extend(&done);
        done
    }
}

// === impl Reader ===

impl Reader {
    /// A member of a group: the group's other members have the other partitions.
    pub(super) fn member(
        config: &KafkaConfig,
        group: &str,
        topic: &'static str,
        name: String,
        positions: Arc<dyn Positions>,
        instance: Instance,
    ) -> Result<Self, LogError> {
        let (assigned, ear) = (Assigned::of(topic), Ear::default());
        let member = Member {
            ear: ear.clone(),
            positions,
            assigned: Arc::clone(&assigned),
            runtime: Handle::current(),
        };
        let mut client = config.url.client();
        client.set("group.id", group).set("enable.auto.commit", "false");
        client.set("group.instance.id", instance.name());
        // Positions are ours: one that the log does not reach is told, and never replaced.
        client.set("auto.offset.reset", "error").set("statistics.interval.ms", "1000");
        client.set("partition.assignment.strategy", "cooperative-sticky");
        // The least that brokers take by default: so long a partition of a killed member waits.
        client.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "1500");
        // And so long a group that is rebalanced waits for a member that does not come back.
        client.set("max.poll.interval.ms", "15000").set("allow.auto.create.topics", "false");
        let consumer: BaseConsumer<Member> =
            client.create_with_context(member).map_err(LogError::new)?;
        consumer.subscribe(&[&name]).map_err(LogError::new)?;
        let mut reader = Self::start(name, consumer, assigned, ear, passes);
        reader.instance = Some(instance);
        Ok(reader)
    }

    /// A reader of all partitions, in no group.
    pub(super) async fn alone(
        config: &KafkaConfig,
        topic: String,
        start: Start,
    ) -> Result<Self, LogError> {
        let (assigned, ear) = (Assigned::of(&topic), Ear::default());
        let mut client = config.url.client();
        // It is never joined: librdkafka wants a name all the same.
        client.set("group.id", format!("{}medisync-reader", config.prefix));
        client.set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
        client.set("statistics.interval.ms", "1000");
        let consumer: BaseConsumer<Ear> =
            client.create_with_context(ear.clone()).map_err(LogError::new)?;
        let (name, its) = (topic.clone(), Arc::clone(&assigned));
        let placed = tokio::task::spawn_blocking(move || {
            place(&consumer, &name, start, &its).map(|()| consumer)
        });
        let consumer = placed.await.map_err(LogError::new)?.map_err(LogError::new)?;
        // It asks for the group's coordinator all the same, and may do without an answer.
        let bears = |code| code == RDKafkaErrorCode::GroupAuthorizationFailed || passes(code);
        Ok(Self::start(topic, consumer, assigned, ear, bears))
    }

    fn start<C: ConsumerContext + 'static>(
        topic: String,
        consumer: BaseConsumer<C>,
        assigned: Arc<Assigned>,
        ear: Ear,
        bears: fn(RDKafkaErrorCode) -> bool,
    ) -> Self {
        let (sender, queue) = mpsc::channel(READ_AHEAD_MAX);
        let (ends, ended) = channel();
        let poller = Poller {
            consumer,
            topic: topic.clone(),
            queue: sender,
            assigned: Arc::clone(&assigned),
            bears,
            runtime: Handle::current(),
        };
        thread::spawn(move || {
            poller.run();
            poller.leave();
            let _ = ends.send(());
        });
        Self { topic, queue: Some(queue), assigned, heard: ear.0, ended, instance: None }
    }

    fn progress(&self) -> Vec<Progress> {
        let partitions = self.assigned.partitions();
        let of = |(&partition, at): (&i32, &Where)| {
            let end = self.heard.end(&self.topic, partition).max(at.end)?.max(at.next);
            Some(Progress { partition: partition.into(), next: at.next, end })
        };
        partitions.iter().filter_map(of).collect()
    }

    fn hand_out(&self, delivered: &ConsumedRecord) {
        let mut partitions = self.assigned.partitions();
        let partition = i32::try_from(delivered.partition).unwrap_or(-1);
        if let Some(at) = partitions.get_mut(&partition) {
            at.next = delivered.offset + 1;
        }
    }
}

#[async_trait]
impl Subscription for Reader {
    async fn next(&mut self, records_max: u32) -> Result<Batch, LogError> {
        let mut records = Vec::new();
        if let Some(queue) = &mut self.queue {
            match timeout(TOLD_EVERY, queue.recv()).await {
                Ok(Some(first)) => records.push(first),
                Ok(None) => {
                    let failure = self.assigned.failure();
                    return Err(failure.unwrap_or_else(|| LogError::new("the reader has ended")));
                }
                Err(_) => {}
            }
            while !records.is_empty() && records.len() < records_max as usize {
                let Ok(more) = queue.try_recv() else { break };
                records.push(more);
            }
        }
        records.iter().for_each(|record| self.hand_out(record));
        Ok(Batch { records, progress: self.progress() })
    }

    fn done(&mut self) {
        let partitions = self.assigned.partitions();
        *self.assigned.done() = partitions.iter().map(|(&p, at)| (p, at.next)).collect();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The thread sees that nobody takes what it reads.
        self.queue = None;
        let _ = self.ended.recv_timeout(LEAVES_WITHIN);
    }
}

/// Assigns every partition from where it is to be read.
fn place(
    consumer: &BaseConsumer<Ear>,
    topic: &str,
    start: Start,
    assigned: &Assigned,
) -> Result<(), KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), ASKS_WITHIN)?;
    let about = metadata.topics().first();
    if let Some(error) = about.and_then(|topic| topic.error()) {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    let partitions = about.map_or_else(Vec::new, |topic| {
        topic.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect()
    });
    let mut offsets = TopicPartitionList::new();
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, ASKS_WITHIN)?;
        let first = match start {
            Start::Beginning => low,
            Start::End => high,
            Start::At { partition: at, offset } if at == i64::from(partition) => offset,
            Start::At { .. } => continue,
            Start::Time(from) => {
                let mut asked = TopicPartitionList::new();
                let from = Offset::Offset(from.as_millisecond());
                asked.add_partition_offset(topic, partition, from)?;
                let found = consumer.offsets_for_times(asked, ASKS_WITHIN)?;
                match found.elements().first().map(|found| found.offset()) {
                    Some(Offset::Offset(first)) => first,
                    _ => high,
                }
            }
        };
        let at = Where { polled: first, next: first, end: Some(high) };
        assigned.partitions().insert(partition, at);
        offsets.add_partition_offset(topic, partition, Offset::Offset(first))?;
    }
    consumer.assign(&offsets)
}

/// Whether librdkafka gets over it by itself.
const fn passes(code: RDKafkaErrorCode) -> bool {
    !matches!(
        code,
        RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::Fatal
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::InvalidSessionTimeout
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::PollExceeded
    )
}
