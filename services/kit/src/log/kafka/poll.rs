//! The thread of a reader, since librdkafka wants to be polled.
//!
//! It never stands still for long, whatever its owner or the brokers do: while a group is
//! rebalanced all its members wait for the slowest.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext},
    error::KafkaResult,
    message::{BorrowedMessage, Headers as _, Message as _},
    types::RDKafkaErrorCode,
};
use tokio::{
    runtime::Handle,
    sync::mpsc::{self, error::TrySendError},
    time::timeout,
};

use super::reader::{Assigned, Where};
use crate::log::{ConsumedRecord, LogError, Record};

const POLLS_FOR: Duration = Duration::from_millis(50);
/// An owner that takes nothing for so long is slow: the brokers are to send nothing more until it
/// does, and the thread polls on. To pause costs what was read ahead, so it is not done at once.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);
/// A broker that does not say so soon where a partition ends is asked again after the next poll.
const ASKS_WITHIN: Duration = Duration::from_secs(1);
/// Polls of a member that leaves, for the brokers to notice: a member that does not leave is
/// waited for, as long as a session lasts.
const LEAVING_POLLS_MAX: u32 = 20;
const LEFT_AFTER_POLLS: u32 = 4;

/// What polls, and hands on what it gets.
pub(super) struct Poller<C: ConsumerContext> {
    pub(super) consumer: BaseConsumer<C>,
    /// The topic in the cluster.
    pub(super) topic: String,
    pub(super) queue: mpsc::Sender<ConsumedRecord>,
    pub(super) assigned: Arc<Assigned>,
    /// Errors that librdkafka gets over by itself.
    pub(super) bears: fn(RDKafkaErrorCode) -> bool,
    pub(super) runtime: Handle,
}

/// What is not handed on yet.
#[derive(Default)]
struct Held {
    records: VecDeque<ConsumedRecord>,
    paused: bool,
    /// Some partition was to be read from where the log has nothing.
    astray: bool,
}

// === impl Poller ===

impl<C: ConsumerContext> Poller<C> {
    /// Polls until nobody listens or it cannot go on.
    pub(super) fn run(&self) {
        let mut held = Held::default();
        while !self.queue.is_closed() && !self.assigned.has_failed() {
            self.tell_done();
            self.hand_on(&mut held);
            if held.astray {
                held.astray = self.find_back().is_err();
            }
            match self.consumer.poll(POLLS_FOR) {
                None => {}
                Some(Ok(message)) => held.records.push_back(delivered(&message, &self.assigned)),
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::AutoOffsetReset) => held.astray = true,
                    Some(code) if !(self.bears)(code) => self.assigned.fail(LogError::new(error)),
                    _ => tracing::debug!(error = %error, "kafka reader"),
                },
            }
        }
        self.tell_done();
    }

    /// Leaves the group, so that others need not find out by its silence.
    pub(super) fn leave(self) {
        if !self.consumer.subscription().is_ok_and(|topics| topics.count() > 0) {
            return;
        }
        self.consumer.unsubscribe();
        let mut without = 0;
        for _ in 0..LEAVING_POLLS_MAX {
            self.consumer.poll(POLLS_FOR);
            without += u32::from(self.assigned.partitions().is_empty());
            if without == LEFT_AFTER_POLLS {
                break;
            }
        }
    }

    /// Hands on what can be. What cannot is kept, and nothing more asked for meanwhile.
    fn hand_on(&self, held: &mut Held) {
        while let Some(next) = held.records.pop_front() {
            let refused = match self.queue.try_send(next) {
                Ok(()) => continue,
                Err(TrySendError::Closed(_)) => return,
                Err(TrySendError::Full(next)) => next,
            };
            held.records.push_front(refused);
            if !held.paused && self.has_room_soon() {
                continue;
            }
            // Whatever still comes is of partitions that were given since.
            if !held.paused || held.records.len() > 1 {
                held.paused = self.of_assigned(|consumer, all| consumer.pause(all)).is_ok();
            }
            return;
        }
        if held.paused {
            held.paused = self.of_assigned(|consumer, all| consumer.resume(all)).is_err();
        }
    }

    fn has_room_soon(&self) -> bool {
        let room = async { timeout(TAKEN_WITHIN, self.queue.reserve()).await.is_ok() };
        self.runtime.block_on(room)
    }

    fn of_assigned(
        &self,
        act: impl FnOnce(&BaseConsumer<C>, &TopicPartitionList) -> KafkaResult<()>,
    ) -> KafkaResult<()> {
        act(&self.consumer, &self.consumer.assignment()?)
    }

    /// Reads on where there is something to read. A position that the log does not reach is no
    /// place to wait at: records to come would be taken for ones that were seen.
    fn find_back(&self) -> KafkaResult<()> {
        let assigned: Vec<(i32, Where)> =
            self.assigned.partitions().iter().map(|(&partition, at)| (partition, *at)).collect();
        for (partition, at) in assigned {
            let (low, end) = self.consumer.fetch_watermarks(&self.topic, partition, ASKS_WITHIN)?;
            if at.polled > end {
                let topic = self.assigned.topic();
                self.assigned.fail(LogError::behind(topic, partition.into(), at.polled, end));
                return Ok(());
            }
            let first = Offset::Offset(at.polled.max(low));
            self.consumer.seek(&self.topic, partition, first, ASKS_WITHIN)?;
        }
        Ok(())
    }

    /// Commits to the coordinator what has taken effect: only for anyone who watches the group,
    /// since the position that counts is in the consumer's store.
    fn tell_done(&self) {
        let done = self.assigned.take_done();
        if done.is_empty() {
            return;
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in done {
            let _ = offsets.add_partition_offset(&self.topic, partition, Offset::Offset(next));
        }
        let _ = self.consumer.commit(&offsets, CommitMode::Async);
    }
}

fn delivered(message: &BorrowedMessage<'_>, assigned: &Assigned) -> ConsumedRecord {
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
    ConsumedRecord { partition: partition.into(), position, offset, published_at, record }
}
