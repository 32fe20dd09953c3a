//! How many requests somebody has left, by the generic cell rate algorithm, in bounded memory.

mod attempts;
mod parse;
mod store;

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

#[cfg(any(test, feature = "testing"))]
pub use governor::clock::FakeRelativeClock;
use governor::{
    NotUntil, Quota, RateLimiter,
    middleware::{StateInformationMiddleware, StateSnapshot},
};

pub use governor::clock::{Clock, MonotonicClock};

use self::store::Bounded;
pub use self::{
    attempts::{Attempt, Attempts},
    parse::{InvalidRateLimit, RateLimit, parse_limit},
};

/// One limit, by key.
pub struct Limiter<K: Eq + Hash + Clone, C: Clock = MonotonicClock> {
    burst: u32,
    /// The time that one request takes to be forgotten.
    period: Duration,
    governor: RateLimiter<K, Bounded<K>, C, StateInformationMiddleware>,
}

/// What a limit said of a request.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    /// This many more may come at once.
    pub remaining: u32,
    /// Until the allowance is whole again; of a refused request, until the next one passes.
    pub reset_s: u64,
    /// Whether this one may go on.
    pub allowed: bool,
}

/// The address as far as it distinguishes clients: of IPv6, one client_network has a whole /64.
pub fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

// === impl Limiter ===

impl<K: Eq + Hash + Clone, C: Clock> Limiter<K, C> {
    /// So much for each key; this many keys are distinguished, and the rest share one allowance.
    pub fn new(limit: RateLimit, tracked_max: usize, clock: C) -> Self {
        let period = (limit.per / limit.requests.get()).max(Duration::from_nanos(1));
        // The algorithm counts in nanoseconds: a burst that takes centuries to refill is cut.
        let longest = u64::MAX / 16 / u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let longest = u32::try_from(longest).unwrap_or(u32::MAX);
        let burst = NonZeroU32::new(limit.burst.get().min(longest)).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(burst));
        let store = Bounded::new(tracked_max, period, limit.per);
        let governor = RateLimiter::new(quota.allow_burst(burst), store, clock);
        Self { burst: burst.get(), period, governor }
    }

    /// Counts a request.
    pub fn check(&self, key: &K) -> Count {
        match self.governor.check_key(key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                Count { remaining, reset_s: self.until_whole_s(&state), allowed: true }
            }
            Err(until) => {
                Count { remaining: 0, reset_s: self.until_next_s(&until), allowed: false }
            }
        }
    }

    fn until_whole_s(&self, state: &StateSnapshot) -> u64 {
        let used = self.burst.saturating_sub(state.remaining_burst_capacity());
        seconds(self.period.saturating_mul(used))
    }

    fn until_next_s(&self, until: &NotUntil<C::Instant>) -> u64 {
        seconds(until.wait_time_from(self.governor.clock().now()))
    }
}

/// Rounded up, and at least one: who comes back after this many seconds is not too early.
fn seconds(duration: Duration) -> u64 {
    let whole = duration.as_secs();
    (whole + u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    type UserLimiter = Limiter<Arc<str>, FakeRelativeClock>;

    fn limiter_of(limit: RateLimit, tracked_max: usize) -> (UserLimiter, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limiter::new(limit, tracked_max, clock.clone()), clock)
    }

    #[test]
    fn exactly_as_many_pass_as_are_allowed() {
        let (limiter, clock) = limiter_of(RateLimit::every(100, 1), 10);
        let user: Arc<str> = "u1".into();
        let passed = |n| (0..n).filter(|_| limiter.check(&user).allowed).count();
        assert_eq!(passed(120), 100);
        clock.advance(Duration::from_secs(1));
        assert_eq!(passed(120), 100);
        clock.advance(Duration::from_millis(500));
        assert_eq!(passed(120), 50);
    }

    #[test]
    fn one_user_does_not_use_up_anothers_allowance() {
        let (limiter, _) = limiter_of(RateLimit::every(2, 1), 10);
        let (one, other): (Arc<str>, Arc<str>) = ("u1".into(), "u2".into());
        while limiter.check(&one).allowed {}
        assert!(limiter.check(&other).allowed);
    }

    #[test]
    fn a_burst_may_be_larger_or_smaller_than_the_rate() {
        let burst = NonZeroU32::new(20).unwrap();
        let (limiter, _) = limiter_of(RateLimit::every(10, 60).with_burst(burst), 10);
        let user: Arc<str> = "u1".into();
        assert_eq!((0..100).filter(|_| limiter.check(&user).allowed).count(), 20);
    }

    #[test]
    fn never_more_keys_are_remembered_than_allowed_and_the_rest_share_one_allowance() {
        let (limiter, _) = limiter_of(RateLimit::every(3, 3600), 64);
        let strangers = (0..10_000).map(|n| Arc::from(n.to_string()));
        let passed = strangers.filter(|key| limiter.check(key).allowed).count();
        assert!(limiter.governor.len() <= 64);
        // Every remembered key passes once; those that share pass as often as one user, a shard.
        assert!(passed <= 64 + 3 * store::SHARDS, "{passed}");
    }

    #[test]
    fn keys_that_are_whole_again_make_room() {
        let (limiter, clock) = limiter_of(RateLimit::every(1, 1), 16);
        for n in 0..1000 {
            limiter.check(&Arc::from(n.to_string()));
        }
        clock.advance(Duration::from_secs(10));
        for n in 0..1000 {
            limiter.check(&Arc::from(format!("later-{n}")));
        }
        let known: Arc<str> = "later-0".into();
        clock.advance(Duration::from_secs(10));
        assert!(limiter.check(&known).allowed);
        assert!(limiter.governor.len() <= 16);
    }

    #[test]
    fn addresses_of_one_household_are_one_client() {
        let address = |text: &str| client_network(text.parse().unwrap());
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
    }

    proptest! {
        #[test]
        fn the_largest_limits_are_computed_without_overflow(
            requests in 1u32..,
            s in 1u64..=86_400,
            burst in 1u32..,
        ) {
            let limit = RateLimit::every(requests, s).with_burst(NonZeroU32::new(burst).unwrap());
            let (limiter, clock) = limiter_of(limit, 10);
            let user: Arc<str> = "u1".into();
            for _ in 0..3 {
                let verdict = limiter.check(&user);
                prop_assert!(verdict.reset_s >= 1);
                clock.advance(Duration::from_secs(3600));
            }
        }
    }
}
