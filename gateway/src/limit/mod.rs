//! How many requests a caller has left, by the generic cell rate algorithm.
//!
//! Every request counts against its client's address; a sign-in also against the address's
//! sign-ins; a request with a token also against its user. The answer tells the state of the most
//! specific of the limits that counted it (draft-ietf-httpapi-ratelimit-headers-11).
//!
//! The address is the one of the TCP connection: what a client writes into `X-Forwarded-For` is
//! never believed, since it would give itself a new allowance with every request.

mod store;

use std::{hash::Hash, net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::{StateInformationMiddleware, StateSnapshot},
};
use http::HeaderValue;
use shared_middleware::error::{ErrorCode, Failure};

use self::store::Bounded;
use crate::{
    client::household,
    config::{Config, RateLimit},
    metrics,
};

/// The limits that are on.
pub(crate) struct Limits {
    user: Option<Limiter<Arc<str>>>,
    client: Option<Limiter<IpAddr>>,
    login: Option<Limiter<IpAddr>>,
}

/// What a limit is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    User,
    Client,
    Login,
}

/// One limit, by key.
pub(crate) struct Limiter<K: Eq + Hash + Clone, C: Clock = MonotonicClock> {
    kind: Kind,
    policy: HeaderValue,
    burst: u32,
    /// The time that one request takes to be forgotten.
    period: Duration,
    governor: RateLimiter<K, Bounded<K>, C, StateInformationMiddleware>,
}

/// What a limit said of a request, for the answer's headers.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    kind: Kind,
    policy: HeaderValue,
    remaining: u32,
    /// Until the allowance is whole again; of a refused request, until the next one passes.
    reset_s: u64,
    allowed: bool,
}

// === impl Limits ===

impl Limits {
    /// As configured.
    pub(crate) fn new(config: &Config) -> Self {
        let tracked_max = config.clients_tracked_max;
        Self {
            user: limiter(Kind::User, config.user_limit, tracked_max),
            client: limiter(Kind::Client, config.client_limit, tracked_max),
            login: limiter(Kind::Login, config.login_limit, tracked_max),
        }
    }

    /// Counts a request of a user.
    pub(crate) fn user(&self, subject: &Arc<str>) -> Option<Verdict> {
        self.user.as_ref().map(|limiter| limiter.check(subject))
    }

    /// Counts a request from an address.
    pub(crate) fn client(&self, address: IpAddr) -> Option<Verdict> {
        self.client.as_ref().map(|limiter| limiter.check(&household(address)))
    }

    /// Counts a sign-in from an address.
    pub(crate) fn login(&self, address: IpAddr) -> Option<Verdict> {
        self.login.as_ref().map(|limiter| limiter.check(&household(address)))
    }
}

// === impl Kind ===

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Client => "client",
            Self::Login => "login",
        }
    }
}

// === impl Limiter ===

impl<K: Eq + Hash + Clone, C: Clock> Limiter<K, C> {
    pub(crate) fn new(kind: Kind, limit: RateLimit, tracked_max: usize, clock: C) -> Self {
        let period = (limit.per / limit.requests.get()).max(Duration::from_nanos(1));
        // The algorithm counts in nanoseconds: a burst that takes centuries to refill is cut.
        let longest = u64::MAX / 16 / u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let longest = u32::try_from(longest).unwrap_or(u32::MAX);
        let burst = NonZeroU32::new(limit.burst.get().min(longest)).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(burst));
        let store = Bounded::new(tracked_max, period, limit.per);
        let policy = format!("{:?};q={};w={}", kind.as_str(), limit.requests, limit.per.as_secs());
        Self {
            kind,
            policy: HeaderValue::from_maybe_shared(Bytes::from(policy))
                .expect("digits and a name are a header value"),
            burst: burst.get(),
            period,
            governor: RateLimiter::new(quota.allow_burst(burst), store, clock),
        }
    }

    /// Counts a request.
    pub(crate) fn check(&self, key: &K) -> Verdict {
        let (remaining, reset_s, allowed) = match self.governor.check_key(key) {
            Ok(state) => (state.remaining_burst_capacity(), self.until_whole_s(&state), true),
            Err(until) => (0, self.until_next_s(&until), false),
        };
        if !allowed {
            metrics::RATE_LIMITED.with_label_values(&[self.kind.as_str()]).inc();
        }
        let policy = self.policy.clone();
        Verdict { kind: self.kind, policy, remaining, reset_s, allowed }
    }

    fn until_whole_s(&self, state: &StateSnapshot) -> u64 {
        let used = self.burst.saturating_sub(state.remaining_burst_capacity());
        seconds(self.period.saturating_mul(used))
    }

    fn until_next_s(&self, until: &NotUntil<C::Instant>) -> u64 {
        seconds(until.wait_time_from(self.governor.clock().now()))
    }
}

// === impl Verdict ===

impl Verdict {
    /// Whether the request may go on; if not, how to tell the caller.
    pub(crate) fn admit(&self) -> Result<(), Failure> {
        if self.allowed {
            return Ok(());
        }
        let refused = Failure::new(ErrorCode::RateLimited, "too many requests");
        Err(refused.retry_after_s(self.reset_s))
    }

    /// The value of `RateLimit-Policy`.
    pub(crate) fn policy(&self) -> HeaderValue {
        self.policy.clone()
    }

    /// The value of `RateLimit`, written without the formatter: every answer has one.
    pub(crate) fn state(&self) -> HeaderValue {
        let mut text = BytesMut::with_capacity(40);
        text.put_u8(b'"');
        text.put_slice(self.kind.as_str().as_bytes());
        text.put_slice(b"\";r=");
        put_number(&mut text, u64::from(self.remaining));
        text.put_slice(b";t=");
        put_number(&mut text, self.reset_s);
        HeaderValue::from_maybe_shared(text.freeze()).expect("digits and a name are a header value")
    }
}

fn limiter<K: Eq + Hash + Clone>(
    kind: Kind,
    limit: Option<RateLimit>,
    tracked_max: usize,
) -> Option<Limiter<K>> {
    limit.map(|limit| Limiter::new(kind, limit, tracked_max, MonotonicClock))
}

/// Rounded up, and at least one: who comes back after so many seconds is not too early.
fn seconds(duration: Duration) -> u64 {
    let whole = duration.as_secs();
    (whole + u64::from(duration.subsec_nanos() > 0)).max(1)
}

fn put_number(text: &mut BytesMut, number: u64) {
    if number >= 10 {
        put_number(text, number / 10);
    }
    text.put_u8(b"0123456789"[usize::try_from(number % 10).unwrap_or(0)]);
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::*;

    type UserLimiter = Limiter<Arc<str>, FakeRelativeClock>;

    fn limiter_of(limit: RateLimit, tracked_max: usize) -> (UserLimiter, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limiter::new(Kind::User, limit, tracked_max, clock.clone()), clock)
    }

    fn text(value: &HeaderValue) -> &str {
        value.to_str().unwrap()
    }

    #[test]
    fn exactly_as_many_pass_as_are_allowed() {
        let (limiter, clock) = limiter_of(RateLimit::every(100, 1), 10);
        let user: Arc<str> = "u1".into();
        let passed = |n| (0..n).filter(|_| limiter.check(&user).admit().is_ok()).count();
        assert_eq!(passed(120), 100);
        clock.advance(Duration::from_secs(1));
        assert_eq!(passed(120), 100);
        clock.advance(Duration::from_millis(500));
        assert_eq!(passed(120), 50);
    }

    #[test]
    fn the_headers_count_down() {
        let (limiter, clock) = limiter_of(RateLimit::every(10, 60), 10);
        let user: Arc<str> = "u1".into();
        let first = limiter.check(&user);
        assert_eq!(text(&first.policy()), "\"user\";q=10;w=60");
        assert_eq!(text(&first.state()), "\"user\";r=9;t=6");
        assert_eq!(text(&limiter.check(&user).state()), "\"user\";r=8;t=12");
        clock.advance(Duration::from_secs(60));
        assert_eq!(text(&limiter.check(&user).state()), "\"user\";r=9;t=6");
    }

    #[test]
    fn who_waits_as_long_as_told_passes() {
        let (limiter, clock) = limiter_of(RateLimit::every(10, 60), 10);
        let user: Arc<str> = "u1".into();
        while limiter.check(&user).admit().is_ok() {}
        let refused = limiter.check(&user);
        assert_eq!(text(&refused.state()), "\"user\";r=0;t=6");
        let failure = refused.admit().unwrap_err();
        assert_eq!(failure.code(), ErrorCode::RateLimited);
        let (name, seconds) = failure.headers().next().unwrap();
        assert_eq!((name.as_str(), text(&seconds)), ("retry-after", "6"));
        clock.advance(Duration::from_secs(6));
        assert!(limiter.check(&user).admit().is_ok());
        assert!(limiter.check(&user).admit().is_err());
    }

    #[test]
    fn one_user_does_not_use_up_anothers_allowance() {
        let (limiter, _) = limiter_of(RateLimit::every(2, 1), 10);
        let (one, other): (Arc<str>, Arc<str>) = ("u1".into(), "u2".into());
        while limiter.check(&one).admit().is_ok() {}
        assert!(limiter.check(&other).admit().is_ok());
    }

    #[test]
    fn a_burst_may_be_larger_or_smaller_than_the_rate() {
        let burst = NonZeroU32::new(20).unwrap();
        let (limiter, _) = limiter_of(RateLimit::every(10, 60).with_burst(burst), 10);
        let user: Arc<str> = "u1".into();
        assert_eq!((0..100).filter(|_| limiter.check(&user).admit().is_ok()).count(), 20);
    }

    #[test]
    fn never_more_keys_are_remembered_than_allowed_and_the_rest_share_one_allowance() {
        let (limiter, _) = limiter_of(RateLimit::every(3, 3600), 64);
        let strangers = (0..10_000).map(|n| Arc::from(n.to_string()));
        let passed = strangers.filter(|key| limiter.check(key).admit().is_ok()).count();
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
        assert!(limiter.check(&known).admit().is_ok());
        assert!(limiter.governor.len() <= 16);
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
                prop_assert!(verdict.state().to_str().unwrap().starts_with("\"user\";r="));
                clock.advance(Duration::from_secs(3600));
            }
        }

        #[test]
        fn numbers_are_written_as_the_formatter_writes_them(number: u64) {
            let mut text = BytesMut::new();
            put_number(&mut text, number);
            prop_assert_eq!(std::str::from_utf8(&text).unwrap(), number.to_string());
        }
    }
}
