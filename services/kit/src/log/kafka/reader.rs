//! Reads a topic on a thread of its own, since librdkafka wants to be polled.
//!
//! What is read goes through a bounded queue. When it is full the thread waits, and so do the
//! brokers; a member that is not heard of for five minutes loses its partitions.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::KafkaError,
    message::{BorrowedMessage, Headers as _, Message as _},
    types::RDKafkaErrorCode,
};
use tokio::{runtime::Handle, sync::mpsc, time::timeout};

use super::{
    config::KafkaConfig,
    context::{Ear, Heard},
    member::Member,
};
use crate::log::{Batch, Delivered, LogError, Positions, Progress, Record, Start, Subscription};

/// Records that are read ahead at most.
const READ_AHEAD_MAX: usize = 1024;
/// An empty batch is handed out after so long, to say how far behind the reader is.
const TOLD_EVERY: Duration = Duration::from_millis(250);
const POLLS_FOR: Duration = Duration::from_millis(50);
/// A reader that is dropped leaves its group within so long, or is left behind.
const LEAVES_WITHIN: Duration = Duration::from_secs(2);
pub(super) const ASKS_WITHIN: Duration = Duration::from_secs(3);

/// The partitions that a reader has.
#[derive(Default)]
pub(super) struct Assigned {
    partitions: Mutex<BTreeMap<i32, Where>>,
    /// Why the reader cannot go on.
    failure: Mutex<Option<LogError>>,
    /// What was done and is to be told to the group's coordinator.
    done: Mutex<BTreeMap<i32, i64>>,
}

/// Where a reader is in one partition.
#[derive(Clone, Copy)]
pub(super) struct Where {
    /// The position of the next record that is polled.
    pub(super) polled: i64,
    /// Of the next one that is handed out.
    pub(super) next: i64,
    /// The offset after the last record, as it was when the partition was assigned.
    pub(super) end: i64,
}

/// A topic's reader.
pub(super) struct Reader {
    topic: String,
    queue: Option<mpsc::Receiver<Delivered>>,
    assigned: Arc<Assigned>,
    heard: Arc<Heard>,
    ended: Receiver<()>,
}

// === impl Assigned ===

impl Assigned {
    pub(super) fn partitions(&self) -> MutexGuard<'_, BTreeMap<i32, Where>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fail(&self, error: LogError) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn failure(&self) -> Option<LogError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn has_failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn done(&self) -> MutexGuard<'_, BTreeMap<i32, i64>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
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
    ) -> Result<Self, LogError> {
        let (assigned, ear) = (Arc::new(Assigned::default()), Ear::default());
        let member = Member {
            ear: ear.clone(),
            topic,
            positions,
            assigned: Arc::clone(&assigned),
            runtime: Handle::current(),
        };
        let mut client = config.url.client();
        client.set("group.id", group).set("enable.auto.commit", "false");
        client.set("auto.offset.reset", "earliest").set("statistics.interval.ms", "1000");
        client.set("partition.assignment.strategy", "cooperative-sticky");
        client.set("session.timeout.ms", "10000").set("heartbeat.interval.ms", "2000");
        client.set("max.poll.interval.ms", "300000").set("allow.auto.create.topics", "false");
        let consumer: BaseConsumer<Member> =
            client.create_with_context(member).map_err(LogError::new)?;
        consumer.subscribe(&[&name]).map_err(LogError::new)?;
        Ok(Self::start(name, consumer, assigned, ear, passes))
    }

    /// A reader of all partitions, in no group.
    pub(super) async fn alone(
        config: &KafkaConfig,
        topic: String,
        start: Start,
    ) -> Result<Self, LogError> {
        let (assigned, ear) = (Arc::new(Assigned::default()), Ear::default());
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

    fn start<C: rdkafka::consumer::ConsumerContext + 'static>(
        topic: String,
        consumer: BaseConsumer<C>,
        assigned: Arc<Assigned>,
        ear: Ear,
        bears: fn(RDKafkaErrorCode) -> bool,
    ) -> Self {
        let (sender, queue) = mpsc::channel(READ_AHEAD_MAX);
        let (ends, ended) = channel();
        let its = Arc::clone(&assigned);
        thread::spawn(move || {
            poll(&consumer, &sender, &its, bears);
            // Leaves the group, so that others need not find out by its silence.
            drop(consumer);
            drop(sender);
            let _ = ends.send(());
        });
        Self { topic, queue: Some(queue), assigned, heard: ear.0, ended }
    }

    fn progress(&self) -> Vec<Progress> {
        let partitions = self.assigned.partitions();
        let of = |(&partition, at): (&i32, &Where)| {
            let end = self.heard.end(&self.topic, partition).unwrap_or(0);
            let end = end.max(at.end).max(at.next);
            Progress { partition: partition.into(), next: at.next, end }
        };
        partitions.iter().map(of).collect()
    }

    fn hand_out(&self, delivered: &Delivered) {
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

/// Polls until nobody listens or it cannot go on.
fn poll<C: rdkafka::consumer::ConsumerContext>(
    consumer: &BaseConsumer<C>,
    queue: &mpsc::Sender<Delivered>,
    assigned: &Assigned,
    bears: fn(RDKafkaErrorCode) -> bool,
) {
    while !queue.is_closed() && !assigned.has_failed() {
        tell_done(consumer, assigned);
        match consumer.poll(POLLS_FOR) {
            None => {}
            Some(Ok(message)) => {
                let delivered = delivered(&message, assigned);
                if queue.blocking_send(delivered).is_err() {
                    break;
                }
            }
            Some(Err(error)) if error.rdkafka_error_code().is_none_or(bears) => {
                tracing::debug!(error = %error, "kafka reader");
            }
            Some(Err(error)) => assigned.fail(LogError::new(error)),
        }
    }
    tell_done(consumer, assigned);
}

/// Commits to the coordinator what has taken effect: only for whoever watches the group, since the
/// position that counts is in the consumer's store.
fn tell_done<C: rdkafka::consumer::ConsumerContext>(
    consumer: &BaseConsumer<C>,
    assigned: &Assigned,
) {
    let done = std::mem::take(&mut *assigned.done());
    if done.is_empty() {
        return;
    }
    let Ok(subscription) = consumer.subscription() else { return };
    let Some(topic) = subscription.elements().first().map(|of| of.topic().to_owned()) else {
        return;
    };
    let mut offsets = TopicPartitionList::new();
    for (partition, next) in done {
        let _ = offsets.add_partition_offset(&topic, partition, Offset::Offset(next));
    }
    let _ = consumer.commit(&offsets, CommitMode::Async);
}

fn delivered(message: &BorrowedMessage<'_>, assigned: &Assigned) -> Delivered {
    let (partition, offset) = (message.partition(), message.offset());
    let mut partitions = assigned.partitions();
    let position = partitions.get_mut(&partition).map_or(offset, |at| {
        let position = at.polled.min(offset);
        at.polled = offset + 1;
        position
    });
    drop(partitions);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        let pair = |header: rdkafka::message::Header<'_, &[u8]>| {
            (header.key.to_owned(), text(header.value.unwrap_or_default()))
        };
        headers.iter().map(pair).collect()
    });
    let key = message.key().map_or_else(String::new, text);
    let payload = message.payload().unwrap_or_default().to_vec();
    let record = Record { key, headers, payload };
    let published_at = message.timestamp().to_millis();
    let published_at = published_at.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    Delivered { partition: partition.into(), position, offset, published_at, record }
}

/// Whether librdkafka gets over it by itself.
const fn passes(code: RDKafkaErrorCode) -> bool {
    !matches!(
        code,
        RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::Fatal
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::PollExceeded
    )
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
        let at = Where { polled: first, next: first, end: high };
        assigned.partitions().insert(partition, at);
        offsets.add_partition_offset(topic, partition, Offset::Offset(first))?;
    }
    consumer.assign(&offsets)
}
