//! What publishes: an idempotent producer that waits for all in-sync replicas.
//!
//! One batch is on its way at a time, and one that takes too long is taken back whole before it is
//! called failed: so what follows on a failure is the same batch again, and the order of a key's
//! events is kept. A producer that is broken for good (the brokers did not let it be idempotent, or
//! lost what they had acknowledged) is replaced.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use rdkafka::{
    error::KafkaResult,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer as _, PurgeConfig},
    types::RDKafkaErrorCode,
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    config::KafkaUrl,
    context::{Ear, Heard},
};
use crate::log::{LogError, Record};

/// A batch that is not acknowledged by then is taken back; the relay tries again.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(10);
/// Anyone who failed and did not try again for so long is not the one that publishes any more.
const FAILURE_COUNTS_FOR: Duration = Duration::from_secs(30);

/// Publishes, one batch at a time.
pub(super) struct Publisher {
    url: KafkaUrl,
    heard: Arc<Heard>,
    producer: std::sync::Mutex<Arc<FutureProducer<Ear>>>,
    /// Held while a batch is on its way.
    publishing: Mutex<()>,
    /// When and why the last batch failed, if it did.
    failed: std::sync::Mutex<Option<(Instant, String)>>,
}

// === impl Publisher ===

impl Publisher {
    pub(super) fn new(url: KafkaUrl, heard: Arc<Heard>) -> KafkaResult<Self> {
        let producer = std::sync::Mutex::new(Arc::new(producer(&url, &heard)?));
        let (publishing, failed) = (Mutex::default(), std::sync::Mutex::default());
        Ok(Self { url, heard, producer, publishing, failed })
    }

    /// The producer, which also knows the state of the brokers.
    pub(super) fn producer(&self) -> Arc<FutureProducer<Ear>> {
        Arc::clone(&self.producer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why what was published last was not.
    pub(super) fn failure(&self) -> Option<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, why) = failed.as_ref()?;
        (at.elapsed() < FAILURE_COUNTS_FOR).then(|| why.clone())
    }

    /// Returns when all in-sync replicas have all of them.
    pub(super) async fn publish(&self, topic: &str, records: &[Record]) -> Result<(), LogError> {
        let _turn = self.publishing.lock().await;
        let producer = self.producer();
        let delivered = timeout(PUBLISHED_WITHIN, deliver(&producer, topic, records)).await;
        let done = match delivered {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                take_back(&producer);
                Err(error)
            }
            Err(_) => {
                take_back(&producer);
                let reason = self.heard.reason().map(|reason| format!(": {reason}"));
                let reason = reason.unwrap_or_default();
                Err(LogError::new(format!("events were not acknowledged in time{reason}")))
            }
        };
        let broken = producer.client().fatal_error();
        let done = match broken {
            None => done,
            Some((code, reason)) => {
                self.replace(producer)?;
                done.map_err(|_| LogError::new(why_broken(code, reason)))
            }
        };
        let failed = done.as_ref().err().map(|error| (Instant::now(), error.0.to_string()));
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        done
    }

    fn replace(&self, broken: Arc<FutureProducer<Ear>>) -> Result<(), LogError> {
        let new = Arc::new(producer(&self.url, &self.heard).map_err(LogError::new)?);
        *self.producer.lock().unwrap_or_else(PoisonError::into_inner) = new;
        // Its end may take a moment, and blocks.
        tokio::task::spawn_blocking(move || drop(broken));
        Ok(())
    }
}

fn producer(url: &KafkaUrl, heard: &Arc<Heard>) -> KafkaResult<FutureProducer<Ear>> {
    let mut client = url.client();
    client.set("enable.idempotence", "true").set("acks", "all");
    client.set("partitioner", "murmur2_random").set("compression.type", "lz4");
    // Ours is the time that counts.
    client.set("message.timeout.ms", "0").set("linger.ms", "1");
    client.set("allow.auto.create.topics", "false");
    client.create_with_context(Ear(Arc::clone(heard)))
}

async fn deliver(
    producer: &FutureProducer<Ear>,
    topic: &str,
    records: &[Record],
) -> Result<(), LogError> {
    let mut deliveries = Vec::with_capacity(records.len());
    for record in records {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let told =
            FutureRecord::to(topic).key(&record.key).payload(&record.payload).headers(headers);
        let queued = producer.send_result(told);
        deliveries.push(queued.map_err(|(error, _)| LogError::new(error))?);
    }
    for delivered in join_all(deliveries).await {
        delivered.map_err(LogError::new)?.map_err(|(error, _)| LogError::new(error))?;
    }
    Ok(())
}

fn why_broken(code: RDKafkaErrorCode, reason: String) -> String {
    // Anyone who may write to any topic may be idempotent.
    let no_right = code == RDKafkaErrorCode::ClusterAuthorizationFailed;
    if no_right { format!("no right to write to any topic: {reason}") } else { reason }
}

/// Takes back what is still on its way. It may have arrived all the same: readers know an event
/// that they have seen.
fn take_back(producer: &FutureProducer<Ear>) {
    producer.purge(PurgeConfig::default().queue().inflight());
}
