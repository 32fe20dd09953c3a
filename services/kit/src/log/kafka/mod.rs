//! Apache Kafka, by librdkafka.
//!
//! - `config`: the URL, and what librdkafka is told.
//! - `context`: what it tells us.
//! - `topics`: topics that are missing are made.
//! - `reader`: a thread that polls, for a reader on its own or a `member` of a group.
//!
//! The producer is idempotent and waits for all in-sync replicas. One batch is on its way at a
//! time, and one that takes too long is taken back whole before it is called failed: so what
//! follows on a failure is the same batch again, and the order of a key's events is kept.

mod config;
mod context;
mod member;
mod reader;
#[cfg(test)]
mod tests;
mod topics;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::join_all;
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer as _, PurgeConfig},
    types::RDKafkaErrorCode,
};
use tokio::{sync::Mutex, time::timeout};

pub use self::config::{KafkaConfig, KafkaUrl};
use self::{
    context::{Ear, Heard},
    reader::Reader,
    topics::Topics,
};
use super::{EventLog, LogError, Positions, Record, Start, Subscription};

/// A batch that is not acknowledged by then is taken back; the relay tries again.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(10);
/// Brokers that do not answer so soon are away.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// A log on Kafka's brokers.
pub struct KafkaLog {
    config: Arc<KafkaConfig>,
    producer: Arc<FutureProducer<Ear>>,
    heard: Arc<Heard>,
    /// Held while a batch is on its way.
    publishing: Mutex<()>,
}

/// Why the log cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum KafkaRefused {
    /// How we come is wrong, and waiting will not help.
    #[error("{0:?} cannot be used: {1}")]
    Refused(KafkaUrl, String),
}

// === impl KafkaLog ===

impl KafkaLog {
    /// Connects and makes the topics that are missing. Brokers that are away are no failure: they
    /// are waited for in the background, and so are topics.
    ///
    /// # Errors
    /// When waiting will not help: an unknown host, a wrong password, no right to make a topic.
    pub async fn open(config: KafkaConfig) -> Result<Self, KafkaRefused> {
        let heard = Arc::new(Heard::default());
        let refused = |why: String| KafkaRefused::Refused(config.url.clone(), why);
        let mut client = config.url.client();
        client.set("enable.idempotence", "true").set("acks", "all");
        client.set("partitioner", "murmur2_random").set("compression.type", "lz4");
        // Ours is the time that counts: see `publish`.
        client.set("message.timeout.ms", "0").set("linger.ms", "1");
        client.set("allow.auto.create.topics", "false");
        let producer = client.create_with_context(Ear(Arc::clone(&heard)));
        let producer = producer.map_err(|error| refused(error.to_string()))?;
        let log = Self {
            config: Arc::new(config.clone()),
            producer: Arc::new(producer),
            heard,
            publishing: Mutex::new(()),
        };
        let (config, producer) = (Arc::clone(&log.config), Arc::clone(&log.producer));
        let topics = Topics::new(config, producer, Arc::clone(&log.heard));
        topics.ensure().await.map_err(refused)?;
        Ok(log)
    }

    /// A topic's name in the cluster.
    fn name(&self, topic: &str) -> String {
        format!("{}{topic}", self.config.prefix)
    }

    async fn deliver(&self, topic: &str, records: &[Record]) -> Result<(), LogError> {
        let mut deliveries = Vec::with_capacity(records.len());
        for record in records {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for (key, value) in &record.headers {
                headers = headers.insert(Header { key, value: Some(value) });
            }
            let told =
                FutureRecord::to(topic).key(&record.key).payload(&record.payload).headers(headers);
            let queued = self.producer.send_result(told);
            deliveries.push(queued.map_err(|(error, _)| LogError::new(error))?);
        }
        for delivered in join_all(deliveries).await {
            delivered.map_err(LogError::new)?.map_err(|(error, _)| LogError::new(error))?;
        }
        Ok(())
    }

    /// Takes back what is still on its way. It may have arrived all the same: readers know an event
    /// that they have seen.
    fn take_back(&self) -> LogError {
        self.producer.purge(PurgeConfig::default().queue().inflight());
        match self.heard.refusal() {
            Some(refusal) => LogError::new(refusal),
            None => LogError::new("the brokers did not acknowledge the events in time"),
        }
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn publish(&self, topic: &str, records: Vec<Record>) -> Result<(), LogError> {
        let topic = self.name(topic);
        let _turn = self.publishing.lock().await;
        match timeout(PUBLISHED_WITHIN, self.deliver(&topic, &records)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                self.take_back();
                Err(error)
            }
            Err(_) => Err(self.take_back()),
        }
    }

    async fn read(&self, topic: &str, start: Start) -> Result<Box<dyn Subscription>, LogError> {
        Ok(Box::new(Reader::alone(&self.config, self.name(topic), start).await?))
    }

    async fn check(&self) -> Result<(), LogError> {
        let producer = Arc::clone(&self.producer);
        let topic = self.config.topics.first().map(|topic| self.name(topic));
        let asked = tokio::task::spawn_blocking(move || {
            producer.client().fetch_metadata(topic.as_deref(), ANSWERS_WITHIN)
        });
        match asked.await.map_err(LogError::new)? {
            Ok(metadata) => {
                self.heard.answered();
                let failed = metadata.topics().iter().find_map(|topic| topic.error());
                failed.map_or(Ok(()), |error| Err(LogError::new(RDKafkaErrorCode::from(error))))
            }
            Err(error) => Err(match self.heard.refusal() {
                Some(refusal) => LogError::new(refusal),
                None => LogError::new(error),
            }),
        }
    }

    async fn subscribe(
        &self,
        group: &'static str,
        topic: &'static str,
        positions: Arc<dyn Positions>,
    ) -> Result<Box<dyn Subscription>, LogError> {
        let group = format!("{}{group}", self.config.prefix);
        let reader = Reader::member(&self.config, &group, topic, self.name(topic), positions);
        Ok(Box::new(reader?))
    }
}
