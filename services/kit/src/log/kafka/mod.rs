//! Apache Kafka, by librdkafka.
//!
//! - `config`: the URL, and librdkafka's configuration.
//! - `context`: its callbacks.
//! - `topics`: topics that are missing are made.
//! - `publisher`: the producer.
//! - `reader`: a reader on its own, or one that is a `member` of a group.
//! - `poll`: its thread.
//! - `instances`: who members are to their group.

mod config;
mod context;
mod instances;
mod member;
mod poll;
mod publisher;
mod reader;
#[cfg(test)]
mod tests;
mod topics;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rdkafka::{producer::Producer as _, types::RDKafkaErrorCode};
use shared_middleware::clock::Ids;

pub use self::config::{KafkaConfig, KafkaUrl};
use self::{
    context::Heard, instances::Instances, publisher::Publisher, reader::Reader, topics::Topics,
};
use super::{EventLog, LogError, Positions, Record, Start, Subscription};

/// Brokers that do not answer so soon are away. Less than anyone who asks waits, who would not know
/// why.
const ANSWERS_WITHIN: Duration = Duration::from_millis(1500);

/// A log on Kafka's brokers.
pub struct KafkaLog {
    config: Arc<KafkaConfig>,
    publisher: Arc<Publisher>,
    heard: Arc<Heard>,
    instances: Instances,
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
        config.url.check_files().map_err(refused)?;
        let publisher = Publisher::new(config.url.clone(), Arc::clone(&heard));
        let publisher = Arc::new(publisher.map_err(|error| refused(error.to_string()))?);
        let instances = Instances::new(Ids::system());
        let log = Self { config: Arc::new(config.clone()), publisher, heard, instances };
        let (config, publisher) = (Arc::clone(&log.config), Arc::clone(&log.publisher));
        let topics = Topics::new(config, publisher, Arc::clone(&log.heard));
        topics.ensure().await.map_err(refused)?;
        Ok(log)
    }

    /// A topic's name in the cluster.
    fn name(&self, topic: &str) -> String {
        format!("{}{topic}", self.config.prefix)
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn publish(&self, topic: &str, records: Vec<Record>) -> Result<(), LogError> {
        self.publisher.publish(&self.name(topic), &records).await
    }

    async fn read(&self, topic: &str, start: Start) -> Result<Box<dyn Subscription>, LogError> {
        Ok(Box::new(Reader::alone(&self.config, self.name(topic), start).await?))
    }

    /// Brokers that answer, and do not take what is published, are away as well.
    async fn check(&self) -> Result<(), LogError> {
        let producer = self.publisher.producer();
        let topic = self.config.topics.first().map(|topic| self.name(topic));
        let asked = tokio::task::spawn_blocking(move || {
            producer.client().fetch_metadata(topic.as_deref(), ANSWERS_WITHIN)
        });
        match asked.await.map_err(LogError::new)? {
            Ok(metadata) => {
                self.heard.answered();
                let failed = metadata.topics().iter().find_map(|topic| topic.error());
                let failed = failed.map(|error| RDKafkaErrorCode::from(error).to_string());
                let failed = failed.or_else(|| self.publisher.failure());
                failed.map_or(Ok(()), |failed| Err(LogError::new(failed)))
            }
            Err(error) => Err(match self.heard.reason() {
                Some(reason) => LogError::new(reason),
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
        // Who cannot tell where to read on would only hold up the others of its group.
        positions.next_offset(topic, 0).await?;
        let group = format!("{}{group}", self.config.prefix);
        let (name, instance) = (self.name(topic), self.instances.take(&group));
        let reader = Reader::member(&self.config, &group, topic, name, positions, instance);
        Ok(Box::new(reader?))
    }
}
