//! How many messages somebody gets, or causes: whoever may register patients could else have us
//! write to anybody, as often as they like.
//!
//! What is over a limit waits until there is room again. The counts are in memory: after a restart
//! every allowance is whole.

use std::time::Duration;

use shared_middleware::rate_limit::{Limiter, MonotonicClock, RateLimit};

use crate::domain::Refusal;

/// So many addresses, and so many actors, are told apart; the others share an allowance.
const TRACKED_MAX: usize = 100_000;
const PER_S: u64 = 3600;

/// The settings.
#[derive(Clone, Copy, Debug)]
pub struct MessageLimits {
    /// Of a patient's changes one message tells in so much time: the first at once, and after it
    /// the last state. Zero: each change has its own.
    pub update_interval: Duration,
    /// Messages to one address.
    pub address: Option<RateLimit>,
    /// Messages that one user or program causes.
    pub actor: Option<RateLimit>,
}

/// What is left of each allowance.
pub(crate) struct Limits {
    address: Option<Limiter<String>>,
    actor: Option<Limiter<String>>,
}

// === impl MessageLimits ===

impl Default for MessageLimits {
    fn default() -> Self {
        Self {
            update_interval: Duration::from_secs(PER_S),
            address: Some(RateLimit::every(10, PER_S)),
            actor: Some(RateLimit::every(5000, PER_S)),
        }
    }
}

// === impl Limits ===

impl Limits {
    pub(crate) fn new(limits: &MessageLimits) -> Self {
        let limiter = |limit: Option<RateLimit>| {
            limit.map(|limit| Limiter::new(limit, TRACKED_MAX, MonotonicClock))
        };
        Self { address: limiter(limits.address), actor: limiter(limits.actor) }
    }

    /// Counts a message to an address, which this actor causes, if one is known.
    ///
    /// # Errors
    /// `TooMany` when one of the two has no allowance left.
    pub(crate) fn count(&self, address: &str, actor: Option<&str>) -> Result<(), Refusal> {
        check(self.actor.as_ref(), actor, "the actor has caused too many messages lately")?;
        let address = address.trim().to_lowercase();
        check(self.address.as_ref(), Some(&address), "the address has got too many messages lately")
    }
}

fn check(
    limiter: Option<&Limiter<String>>,
    key: Option<&str>,
    reason: &'static str,
) -> Result<(), Refusal> {
    let (Some(limiter), Some(key)) = (limiter, key) else { return Ok(()) };
    let count = limiter.check(&key.to_owned());
    if count.allowed { Ok(()) } else { Err(Refusal::TooMany { wait_s: count.reset_s, reason }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_an_actor_have_an_allowance_each_and_no_spelling_has_its_own() {
        let limits = MessageLimits {
            address: Some(RateLimit::every(2, PER_S)),
            actor: Some(RateLimit::every(3, PER_S)),
            ..MessageLimits::default()
        };
        let limits = Limits::new(&limits);
        assert_eq!(limits.count("a@example.com", Some("clerk")), Ok(()));
        assert_eq!(limits.count(" A@Example.com", None), Ok(()));
        let refused = limits.count("a@example.com", Some("clerk"));
        assert!(matches!(refused, Err(Refusal::TooMany { wait_s: 1.., .. })), "{refused:?}");
        assert_eq!(limits.count("b@example.com", Some("clerk")), Ok(()));
        assert!(limits.count("c@example.com", Some("clerk")).is_err());
        assert_eq!(limits.count("c@example.com", Some("another")), Ok(()));
    }
}
