//! How many messages somebody gets: anyone who may register patients could else have us write to
//! one address as often as they like.
//!
//! What is over a limit waits until there is room again. The counts are in memory: after a restart
//! every allowance is whole.

use std::time::Duration;

use shared_middleware::rate_limit::{Limiter, MonotonicClock, RateLimit};

use crate::domain::Refusal;

/// This many addresses are distinguished; the others share an allowance.
const TRACKED_MAX: usize = 100_000;
const PER_S: u64 = 3600;

/// The settings.
#[derive(Clone, Copy, Debug)]
pub struct MessageLimits {
    /// Of a patient's changes one message is sent in this time: the first at once, and after it
    /// the last state. Zero: each change has its own.
    pub update_interval: Duration,
    /// Messages to one address.
    pub address: Option<RateLimit>,
}

/// What is left of each allowance.
pub(crate) struct Limits {
    address: Option<Limiter<String>>,
}

// === impl MessageLimits ===

impl Default for MessageLimits {
    fn default() -> Self {
        Self {
            update_interval: Duration::from_secs(PER_S),
            address: Some(RateLimit::every(10, PER_S)),
        }
    }
}

// === impl Limits ===

impl Limits {
    pub(crate) fn new(limits: &MessageLimits) -> Self {
        let limiter = |limit| Limiter::new(limit, TRACKED_MAX, MonotonicClock);
        Self { address: limits.address.map(limiter) }
    }

    /// Counts a message to an address.
    ///
    /// # Errors
    /// `TooMany` when it has no allowance left.
    pub(crate) fn count(&self, address: &str) -> Result<(), Refusal> {
        let Some(limiter) = &self.address else { return Ok(()) };
        let count = limiter.check(&address.trim().to_lowercase());
        if count.allowed {
            return Ok(());
        }
        let reason = "the address has got too many messages lately";
        Err(Refusal::TooMany { wait_s: count.reset_s, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_allowance_however_it_is_written() {
        let address = Some(RateLimit::every(2, PER_S));
        let limits = Limits::new(&MessageLimits { address, ..MessageLimits::default() });
        assert_eq!(limits.count("a@example.com"), Ok(()));
        assert_eq!(limits.count(" A@Example.com"), Ok(()));
        let refused = limits.count("a@example.com");
        assert!(matches!(refused, Err(Refusal::TooMany { wait_s: 1.., .. })), "{refused:?}");
        assert_eq!(limits.count("b@example.com"), Ok(()));
    }
}
