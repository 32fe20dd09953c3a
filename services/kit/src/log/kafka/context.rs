//! What librdkafka tells us beside what it was asked: errors, its log, statistics.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rdkafka::{
    ClientContext, Statistics, config::RDKafkaLogLevel, consumer::ConsumerContext,
    error::KafkaError, types::RDKafkaErrorCode,
};

/// What was heard from the brokers last.
#[derive(Default)]
pub(super) struct Heard {
    failure: Mutex<Option<RDKafkaErrorCode>>,
    /// By topic and partition: the offset after the last record.
    ends: Mutex<HashMap<(String, i32), i64>>,
}

/// Listens, for one client.
#[derive(Clone, Default)]
pub(super) struct Ear(pub(super) Arc<Heard>);

// === impl Heard ===

impl Heard {
    /// A failure that no other try will change, if that is what it was: how we come, not when.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        match *self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(RDKafkaErrorCode::Authentication) => {
                Some("the brokers do not accept the user and password, or want some")
            }
            Some(RDKafkaErrorCode::Resolve) => Some("the host is unknown"),
            Some(RDKafkaErrorCode::SSL) => {
                Some("no TLS connection: a certificate is not trusted, or the port speaks none")
            }
            _ => None,
        }
    }

    pub(super) fn end(&self, topic: &str, partition: i32) -> Option<i64> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get(&(topic.to_owned(), partition)).copied()
    }

    /// The brokers answered: what failed before is over.
    pub(super) fn answered(&self) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn keep_failure(&self, code: RDKafkaErrorCode) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
    }
}

// === impl Ear ===

impl ClientContext for Ear {
    /// Our own words say what matters, where it matters; these are for whoever looks closer.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code()
            && code != RDKafkaErrorCode::AllBrokersDown
        {
            self.0.keep_failure(code);
        }
        tracing::debug!(error = %error, reason, "librdkafka");
    }

    fn stats(&self, statistics: Statistics) {
        let mut ends = self.0.ends.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, about) in statistics.topics {
            for (partition, about) in about.partitions {
                if partition >= 0 && about.hi_offset >= 0 {
                    ends.insert((topic.clone(), partition), about.hi_offset);
                }
            }
        }
    }
}

impl ConsumerContext for Ear {}
