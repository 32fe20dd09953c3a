//! Topics that are missing are made: at the start, and again in the background while the brokers
//! are away.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    error::KafkaError,
    producer::Producer as _,
    types::RDKafkaErrorCode,
};
use tokio::time::{Instant, sleep};

use super::{
    config::KafkaConfig,
    context::{Ear, Heard},
    publisher::Publisher,
};

/// A start waits so long for the brokers.
const START_WAITS: Duration = Duration::from_secs(3);
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);
const MADE_WITHIN: Duration = Duration::from_secs(10);
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Replication that leaves it to the cluster (KIP-464).
const CLUSTERS_DEFAULT: i32 = -1;

/// The topics that there must be.
pub(super) struct Topics {
    config: Arc<KafkaConfig>,
    /// Asks what there is: unlike an admin client it hears why brokers cannot be reached.
    publisher: Arc<Publisher>,
    heard: Arc<Heard>,
}

/// Why not all topics are there.
#[derive(Debug)]
enum Missing {
    /// The brokers do not answer: later they may.
    Away(KafkaError),
    /// Waiting will not help.
    Refused(String),
}

// === impl Topics ===

impl Topics {
    pub(super) const fn new(
        config: Arc<KafkaConfig>,
        publisher: Arc<Publisher>,
        heard: Arc<Heard>,
    ) -> Self {
        Self { config, publisher, heard }
    }

    /// Makes what is missing, now or in the background.
    ///
    /// # Errors
    /// When waiting will not help; the text says why.
    pub(super) async fn ensure(self) -> Result<(), String> {
        let started = Instant::now();
        let away = loop {
            match self.make().await {
                Ok(()) => return Ok(()),
                Err(Missing::Refused(why)) => return Err(why),
                Err(Missing::Away(error)) if started.elapsed() > START_WAITS => break error,
                Err(Missing::Away(_)) => {}
            }
        };
        if let Some(why) = self.heard.refusal_in_the_end() {
            return Err(why.to_owned());
        }
        let log = format!("{:?}", self.config.url);
        tracing::warn!(
            log,
            error = self.heard.reason().unwrap_or_else(|| away.to_string()),
            "Kafka unreachable: events wait in the outbox (events.log)"
        );
        tokio::spawn(self.make_later());
        Ok(())
    }

    async fn make_later(self) {
        loop {
            sleep(AGAIN_AFTER).await;
            match self.make().await {
                Ok(()) => return tracing::info!("Kafka reachable"),
                Err(Missing::Away(error)) => {
                    tracing::debug!(error = %error, "Kafka unreachable, retrying")
                }
                Err(Missing::Refused(why)) => {
                    tracing::error!(why, "cannot publish: Kafka refused the client (events.log)")
                }
            }
        }
    }

    async fn make(&self) -> Result<(), Missing> {
        let missing = self.missing().await?;
        if missing.is_empty() {
            return Ok(());
        }
        let admin: AdminClient<Ear> = self
            .config
            .url
            .client()
            .create_with_context(Ear::default())
            .map_err(|error| Missing::Refused(error.to_string()))?;
        let replication = self.config.replication.unwrap_or(CLUSTERS_DEFAULT);
        let topics: Vec<_> = missing
            .iter()
            .map(|name| {
                NewTopic::new(name, self.config.partitions, TopicReplication::Fixed(replication))
                    // Projections are rebuilt from the first event on.
                    .set("retention.ms", "-1")
            })
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(MADE_WITHIN));
        for made in admin.create_topics(&topics, &options).await.map_err(Missing::Away)? {
            match made {
                Ok(name) => tracing::info!(topic = name, "topic created"),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    return Err(Missing::Refused(format!("topic {name} cannot be made: {code}")));
                }
            }
        }
        Ok(())
    }

    async fn missing(&self) -> Result<Vec<String>, Missing> {
        let producer = self.publisher.producer();
        let names: Vec<String> =
            self.config.topics.iter().map(|name| format!("{}{name}", self.config.prefix)).collect();
        let asked = tokio::task::spawn_blocking(move || {
            let mut missing = Vec::new();
            for name in names {
                let metadata = producer.client().fetch_metadata(Some(&name), ANSWERS_WITHIN)?;
                let error = metadata.topics().first().and_then(|topic| topic.error());
                match error.map(RDKafkaErrorCode::from) {
                    None => {}
                    Some(RDKafkaErrorCode::UnknownTopicOrPartition) => missing.push(name),
                    Some(code) => return Err(KafkaError::MetadataFetch(code)),
                }
            }
            Ok(missing)
        });
        let asked = asked.await.map_err(|error| Missing::Refused(error.to_string()))?;
        if asked.is_ok() {
            self.heard.answered();
        }
        asked.map_err(|error| match (self.heard.refusal(), error.rdkafka_error_code()) {
            (Some(refusal), _) => Missing::Refused(refusal.to_owned()),
            (None, Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed)) => {
                Missing::Refused(format!("no right to see its topics: {code}"))
            }
            _ => Missing::Away(error),
        })
    }
}
