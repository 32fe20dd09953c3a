//! The event log: publish, and read as a member of a consumer group.
//!
//! Topics, keys, partitions, offsets and groups mean what they mean in Kafka. A group's position is
//! not kept here: each consumer keeps it with the effect of what it read, in one transaction of its
//! own store, and says on subscribing where to go on.
//!
//! - `embedded`: a table in a SQLite file.
//! - `kafka`: Apache Kafka.

mod embedded;
mod kafka;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;

pub(crate) use self::embedded::{headers_json, parse_headers};
pub use self::{
    embedded::EmbeddedLog,
    kafka::{KafkaConfig, KafkaLog, KafkaUrl},
};

/// Header: the event's id.
pub const EVENT_ID: &str = "event-id";
/// Header: what happened.
pub const EVENT_TYPE: &str = "event-type";
/// Header: the trace that it happened in (W3C Trace Context).
pub const TRACEPARENT: &str = shared_middleware::trace_context::TRACEPARENT;
/// Header: how the payload is written.
pub const CONTENT_TYPE: &str = "content-type";
/// Value of [`CONTENT_TYPE`].
pub const PROTOBUF: &str = "application/x-protobuf";

/// Header of a dead letter: the group that could not handle it.
pub const SOURCE_GROUP: &str = "source-group";
/// Header of a dead letter: the topic that it was read from.
pub const SOURCE_TOPIC: &str = "source-topic";
/// Header of a dead letter: the partition that it was read from.
pub const SOURCE_PARTITION: &str = "source-partition";
/// Header of a dead letter: its offset there.
pub const SOURCE_OFFSET: &str = "source-offset";

/// Something to publish. What it says may be of a person: it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose order is kept.
    pub key: String,
    /// Names and values, in order; [`EVENT_ID`] among them.
    pub headers: Vec<(String, String)>,
    /// What is said.
    pub payload: Vec<u8>,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// Which partition of the topic.
    pub partition: i64,
    /// The position that it was read from: its offset, or less where the log has a gap before it.
    pub position: i64,
    /// Where in the partition.
    pub offset: i64,
    /// When it was published, where the log knows.
    pub published_at: Option<Timestamp>,
    /// The record.
    pub record: Record,
}

/// How far one partition was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which partition.
    pub partition: i64,
    /// Where to go on after this batch.
    pub next: i64,
    /// The offset after the partition's last record, as far as is known.
    pub end: i64,
}

/// What one read brought.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// In order within each partition.
    pub records: Vec<ConsumedRecord>,
    /// Every partition that this reader has now, as soon as it is known where it ends.
    pub progress: Vec<Progress>,
}

/// Where to begin reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record that is still there.
    Beginning,
    /// With whatever is published from now on.
    End,
    /// With the first record that was published then or later.
    Time(Timestamp),
    /// With this offset of one partition, and none of the others.
    At {
        /// Which partition.
        partition: i64,
        /// Where in it.
        offset: i64,
    },
}

/// Why the log did not do it. Always worth another try.
#[derive(Debug, thiserror::Error)]
#[error("the event log is not available")]
pub struct LogError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A place where events are kept in order.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Appends the records in this order; returns when they are on disk. A record whose event id
    /// the topic has already may be passed over.
    async fn publish(&self, topic: &str, records: Vec<Record>) -> Result<(), LogError>;

    /// Reads a topic by itself, as a member of no group.
    async fn read(&self, topic: &str, start: Start) -> Result<Box<dyn Subscription>, LogError>;

    /// Whether it answers.
    async fn check(&self) -> Result<(), LogError>;

    /// Joins a consumer group.
    async fn subscribe(
        &self,
        group: &'static str,
        topic: &'static str,
        positions: Arc<dyn Positions>,
    ) -> Result<Box<dyn Subscription>, LogError>;
}

/// Where a consumer keeps how far it has read.
#[async_trait]
pub trait Positions: Send + Sync + 'static {
    /// The offset to go on from in this partition; 0 from its beginning.
    async fn next_offset(&self, topic: &str, partition: i64) -> Result<i64, LogError>;
}

/// A reader of a topic: one on its own, or a member of a consumer group.
#[async_trait]
pub trait Subscription: Send {
    /// Waits for records; at most this many. An empty batch says only how far behind the reader is.
    async fn next(&mut self, records_max: u32) -> Result<Batch, LogError>;

    /// Says that all that was read so far has taken effect, for anyone who watches the group.
    fn done(&mut self) {}
}

/// The log of a process that has nothing to do with events.
#[derive(Clone, Copy, Debug)]
pub struct NoEventLog;

// === impl Record ===

impl Record {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// What makes it the same record when it is published again: its event's id; for a dead letter
    /// where it came from (when that is not known, its event's id), and for whom, since each group
    /// buries its own.
    pub fn identity(&self) -> String {
        let id = self.header(EVENT_ID).unwrap_or_default();
        let Some(group) = self.header(SOURCE_GROUP) else { return id.to_owned() };
        match (self.header(SOURCE_PARTITION), self.header(SOURCE_OFFSET)) {
            (Some(partition), Some(offset)) => [group, partition, offset].join("/"),
            _ => [group, id].join("/"),
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = format_args!("{} bytes", self.payload.len());
        f.debug_struct("Record")
            .field("key", &self.key)
            .field("headers", &self.headers)
            .field("payload", &payload)
            .finish()
    }
}

// === impl Progress ===

impl Progress {
    /// Records that wait to be read.
    pub const fn lag(&self) -> i64 {
        let behind = self.end.saturating_sub(self.next);
        if behind > 0 { behind } else { 0 }
    }
}

// === impl LogError ===

impl LogError {
    /// For this reason.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }

    fn absent() -> Self {
        Self::new("this process was started without one")
    }

    /// A consumer has read further than the log goes: it is another log, or an older copy.
    pub(crate) fn behind(topic: &str, partition: i64, next: i64, end: i64) -> Self {
        Self::new(format!(
            "partition {partition} of {topic} ends at {end}, and was read up to {next} already: \
             was the log replaced by another or an older one?"
        ))
    }
}

// === impl NoEventLog ===

#[async_trait]
impl EventLog for NoEventLog {
    async fn publish(&self, _: &str, _: Vec<Record>) -> Result<(), LogError> {
        Err(LogError::absent())
    }

    async fn read(&self, _: &str, _: Start) -> Result<Box<dyn Subscription>, LogError> {
        Err(LogError::absent())
    }

    async fn check(&self) -> Result<(), LogError> {
        Ok(())
    }

    async fn subscribe(
        &self,
        _: &'static str,
        _: &'static str,
        _: Arc<dyn Positions>,
    ) -> Result<Box<dyn Subscription>, LogError> {
        Err(LogError::absent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(headers: &[(&str, &str)]) -> Record {
        let header = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers = headers.iter().map(header).collect();
        Record { key: "k".to_owned(), headers, payload: b"Jane Roe".to_vec() }
    }

    #[test]
    fn each_group_buries_its_own_and_none_twice() {
        let event = (EVENT_ID, "e");
        assert_eq!(record(&[event]).identity(), "e");
        let from = [(SOURCE_PARTITION, "3"), (SOURCE_OFFSET, "7")];
        for group in ["analytics", "notification"] {
            let group_header = (SOURCE_GROUP, group);
            let known = record(&[event, from[0], from[1], group_header]);
            assert_eq!(known.identity(), format!("{group}/3/7"));
            assert_eq!(record(&[event, group_header]).identity(), format!("{group}/e"));
        }
    }

    #[test]
    fn what_a_record_says_is_not_printed() {
        let printed = format!("{:?}", record(&[]));
        assert!(printed.contains("8 bytes") && !printed.contains("74, 97"), "{printed}");
    }
}
