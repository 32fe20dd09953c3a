//! How many requests a caller has left.
//!
//! Every request counts against its client's address; a sign-in or a refresh that fails also
//! against the address's failures of its kind; a request with a token also against its user. The
//! response has the state of the most specific of the limits that counted it
//! (draft-ietf-httpapi-ratelimit-headers-11).
//!
//! Sign-ins that succeed cost an address nothing more: a ward signs in from one address when the
//! shift changes.
//!
//! The address is that of the TCP connection or, behind a trusted proxy, the one that the proxy
//! names (see `client_ip`): a client cannot choose it.

use std::{hash::Hash, net::IpAddr, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, StatusCode};
use shared_middleware::{
    error::{ErrorCode, Failure},
    rate_limit::{
        self, Attempt, Attempts, Clock, Count, MonotonicClock, RateLimit, client_network,
    },
};

use crate::metrics;

/// The limits that are on.
pub(crate) struct Limits {
    user: Option<Limiter<Arc<str>>>,
    client: Option<Limiter<IpAddr>>,
    login: Option<SignIns>,
    refresh: Option<SignIns>,
}

/// This many more refreshes may fail than sign-ins: nobody can guess a refresh token, and where
/// many share an address, those of yesterday fail in the morning.
const REFRESHES_FOR_A_SIGN_IN: u32 = 10;

/// What a limit is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitKind {
    User,
    Client,
    Login,
    Refresh,
}

/// One limit, by key.
pub(crate) struct Limiter<K: Eq + Hash + Clone, C: Clock = MonotonicClock> {
    kind: LimitKind,
    policy: HeaderValue,
    counts: rate_limit::Limiter<K, C>,
}

/// How often sign-ins, or refreshes, from an address may fail.
struct SignIns {
    kind: LimitKind,
    policy: HeaderValue,
    attempts: Attempts<IpAddr>,
}

/// A sign-in in progress. One that is dropped counts as failed.
pub(crate) struct SignIn {
    kind: LimitKind,
    policy: HeaderValue,
    attempt: Attempt<IpAddr>,
}

/// What a limit said of a request, for the answer's headers.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    kind: LimitKind,
    policy: HeaderValue,
    count: Count,
}

// === impl Limits ===

impl Limits {
    /// Of a user's requests, an address's requests, and failed sign-ins from an address; each
    /// remembers at most this many users or addresses.
    pub(crate) fn new(
        user: Option<RateLimit>,
        client: Option<RateLimit>,
        login: Option<RateLimit>,
        tracked_max: usize,
    ) -> Self {
        Self {
            user: limiter(LimitKind::User, user, tracked_max),
            client: limiter(LimitKind::Client, client, tracked_max),
            login: login.map(|limit| SignIns::new(LimitKind::Login, limit, tracked_max)),
            refresh: login.map(|limit| {
                let limit = limit.times(REFRESHES_FOR_A_SIGN_IN);
                SignIns::new(LimitKind::Refresh, limit, tracked_max)
            }),
        }
    }

    /// Counts a request of a user.
    pub(crate) fn user(&self, subject: &Arc<str>) -> Option<Decision> {
        self.user.as_ref().map(|limiter| limiter.check(subject))
    }

    /// Counts a request from an address.
    pub(crate) fn client(&self, address: IpAddr) -> Option<Decision> {
        self.client.as_ref().map(|limiter| limiter.check(&client_network(address)))
    }

    /// Lets a sign-in from an address begin, unless too many have failed.
    pub(crate) async fn login(&self, address: IpAddr) -> Option<Result<SignIn, Decision>> {
        Some(self.login.as_ref()?.begin(address).await)
    }

    /// Lets a refresh from an address begin, unless too many have failed.
    pub(crate) async fn refresh(&self, address: IpAddr) -> Option<Result<SignIn, Decision>> {
        Some(self.refresh.as_ref()?.begin(address).await)
    }
}

// === impl LimitKind ===

impl LimitKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Client => "client",
            Self::Login => "login",
            Self::Refresh => "refresh",
        }
    }
}

// === impl Limiter ===

impl<K: Eq + Hash + Clone, C: Clock> Limiter<K, C> {
    pub(crate) fn new(kind: LimitKind, limit: RateLimit, tracked_max: usize, clock: C) -> Self {
        Self {
            kind,
            policy: policy(kind, limit),
            counts: rate_limit::Limiter::new(limit, tracked_max, clock),
        }
    }

    /// Counts a request.
    pub(crate) fn check(&self, key: &K) -> Decision {
        let count = self.counts.check(key);
        if !count.allowed {
            metrics::RATE_LIMITED.with_label_values(&[self.kind.as_str()]).inc();
        }
        Decision { kind: self.kind, policy: self.policy.clone(), count }
    }
}

// === impl SignIns ===

impl SignIns {
    fn new(kind: LimitKind, limit: RateLimit, tracked_max: usize) -> Self {
        let attempts = Attempts::new(limit, tracked_max, MonotonicClock);
        Self { kind, policy: policy(kind, limit), attempts }
    }

    async fn begin(&self, address: IpAddr) -> Result<SignIn, Decision> {
        let (kind, policy) = (self.kind, self.policy.clone());
        match self.attempts.begin(&client_network(address)).await {
            Ok(attempt) => Ok(SignIn { kind, policy, attempt }),
            Err(count) => {
                metrics::RATE_LIMITED.with_label_values(&[kind.as_str()]).inc();
                Err(Decision { kind, policy, count })
            }
        }
    }
}

// === impl SignIn ===

impl SignIn {
    /// It was answered. A response that says nothing of the password does not count: an auth
    /// that is away or busy locks nobody out.
    pub(crate) fn answered(self, status: StatusCode) -> Decision {
        let Self { kind, policy, attempt } = self;
        let uncounted = status.is_success() || status.is_server_error();
        let count = if uncounted { attempt.uncounted() } else { attempt.failed() };
        Decision { kind, policy, count }
    }
}

// === impl Decision ===

impl Decision {
    /// Whether the request may go on; if not, the refusal.
    pub(crate) fn admit(&self) -> Result<(), Failure> {
        if self.count.allowed {
            return Ok(());
        }
        let refused = Failure::new(ErrorCode::RateLimited, "too many requests");
        Err(refused.retry_after_s(self.count.reset_s))
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
        put_number(&mut text, u64::from(self.count.remaining));
        text.put_slice(b";t=");
        put_number(&mut text, self.count.reset_s);
        HeaderValue::from_maybe_shared(text.freeze()).expect("digits and a name are a header value")
    }
}

fn limiter<K: Eq + Hash + Clone>(
    kind: LimitKind,
    limit: Option<RateLimit>,
    tracked_max: usize,
) -> Option<Limiter<K>> {
    limit.map(|limit| Limiter::new(kind, limit, tracked_max, MonotonicClock))
}

fn policy(kind: LimitKind, limit: RateLimit) -> HeaderValue {
    let policy = format!("{:?};q={};w={}", kind.as_str(), limit.requests, limit.per.as_secs());
    HeaderValue::from_maybe_shared(Bytes::from(policy))
        .expect("digits and a name are a header value")
}

fn put_number(text: &mut BytesMut, number: u64) {
    if number >= 10 {
        put_number(text, number / 10);
    }
    text.put_u8(b"0123456789"[usize::try_from(number % 10).unwrap_or(0)]);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use shared_middleware::rate_limit::FakeRelativeClock;

    use super::*;

    type UserLimiter = Limiter<Arc<str>, FakeRelativeClock>;

    fn limiter_of(limit: RateLimit, tracked_max: usize) -> (UserLimiter, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limiter::new(LimitKind::User, limit, tracked_max, clock.clone()), clock)
    }

    fn text(value: &HeaderValue) -> &str {
        value.to_str().unwrap()
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

    proptest! {
        #[test]
        fn numbers_are_written_as_the_formatter_writes_them(number: u64) {
            let mut text = BytesMut::new();
            put_number(&mut text, number);
            prop_assert_eq!(std::str::from_utf8(&text).unwrap(), number.to_string());
        }
    }
}
