//! librdkafka's callbacks: errors, its log, statistics.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rdkafka::{
    ClientContext, Statistics, config::RDKafkaLogLevel, consumer::ConsumerContext,
    error::KafkaError, types::RDKafkaErrorCode,
};

/// What librdkafka's log says when a broker hangs up, and when that was after greetings: so it does
/// on anyone who does not log in where that is wanted.
const HUNG_UP: &str = "Disconnected:";
const WAS_UP: &str = "in state UP";
const HANG_UP: &str = "the brokers hang up: they may want a user and password";

/// The last state of the brokers.
#[derive(Default)]
pub(super) struct Heard {
    failure: Mutex<Option<Failure>>,
    /// By topic and partition: the offset after the last record.
    ends: Mutex<HashMap<(String, i32), i64>>,
}

/// Why there is no connection.
#[derive(Clone)]
enum Failure {
    /// No other try will change it: how we come is wrong, not when.
    Refused(&'static str),
    /// The brokers hang up on anyone who does not say who it is; or they are about to end.
    HangUp,
    /// In librdkafka's words.
    Other(String),
}

/// Listens, for one client.
#[derive(Clone, Default)]
pub(super) struct Ear(pub(super) Arc<Heard>);

// === impl Heard ===

impl Heard {
    /// What no other try will change, if that is what it was.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        match self.failure() {
            Some(Failure::Refused(why)) => Some(why),
            _ => None,
        }
    }

    /// The same, of brokers that had time enough to say something else.
    pub(super) fn refusal_in_the_end(&self) -> Option<&'static str> {
        match self.failure() {
            Some(Failure::HangUp) => Some(HANG_UP),
            _ => self.refusal(),
        }
    }

    /// Why they cannot be reached, if that is known.
    pub(super) fn reason(&self) -> Option<String> {
        Some(match self.failure()? {
            Failure::Refused(why) => why.to_owned(),
            Failure::HangUp => HANG_UP.to_owned(),
            Failure::Other(reason) => reason,
        })
    }

    pub(super) fn end(&self, topic: &str, partition: i32) -> Option<i64> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get(&(topic.to_owned(), partition)).copied()
    }

    /// The brokers answered: what failed before is over.
    pub(super) fn answered(&self) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep_failure(&self, code: RDKafkaErrorCode, reason: &str) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        // A broker that hung up may be written to all the same, which then fails.
        if !(matches!(*failure, Some(Failure::HangUp)) && reason.contains(WAS_UP)) {
            *failure = Some(Failure::new(code, reason));
        }
    }
}

// === impl Failure ===

impl Failure {
    fn new(code: RDKafkaErrorCode, reason: &str) -> Self {
        match code {
            RDKafkaErrorCode::Authentication => {
                Self::Refused("the brokers do not accept the user and password, or want some")
            }
            RDKafkaErrorCode::Resolve => Self::Refused("the host is unknown"),
            RDKafkaErrorCode::SSL => Self::Refused(
                "no TLS connection: a certificate is not trusted, or the port speaks none",
            ),
            _ if reason.contains(HUNG_UP) && reason.contains(WAS_UP) => Self::HangUp,
            _ => Self::Other(reason.to_owned()),
        }
    }
}

// === impl Ear ===

impl ClientContext for Ear {
    /// Our own words say what matters, where it matters; these are for anyone who looks closer.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "FAIL" && message.contains(HUNG_UP) {
            // Without the thread that it names first.
            let reason = message.split_once("]: ").map_or(message, |(_, reason)| reason);
            self.0.keep_failure(RDKafkaErrorCode::BrokerTransportFailure, reason);
        }
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code()
            && code != RDKafkaErrorCode::AllBrokersDown
        {
            self.0.keep_failure(code, reason);
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
