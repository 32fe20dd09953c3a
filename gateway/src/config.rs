//! Every setting of the gateway, and the form in which a rate limit is written.

use std::{
    collections::HashMap, fmt, net::SocketAddr, num::NonZeroU32, str::FromStr, time::Duration,
};

use bytes::Bytes;
use http::Uri;
use ipnet::IpNet;
use shared_middleware::identity::Part;

use crate::cors::Origin;

/// The longest window of a rate limit, in seconds: one day.
const WINDOW_S_MAX: u32 = 86_400;

/// Every setting of the gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A plaintext port that sends clients to the public one, which speaks TLS then; none: no such
    /// port.
    pub redirect_listen: Option<SocketAddr>,
    /// The port that it sends them to; none: the one of `listen`.
    pub redirect_port: Option<u16>,
    /// Origins whose pages may call the API from a browser.
    pub cors_origins: Vec<Origin>,
    /// Balancers whose `X-Forwarded-For` says who the client is.
    pub trusted_proxies: Vec<IpNet>,
    /// Where each part is: `https` is called by mTLS, `http` in plaintext; several take turns.
    pub upstreams: HashMap<Part, Vec<Uri>>,
    /// Requests of one user.
    pub user_limit: Option<RateLimit>,
    /// Requests from one client address.
    pub client_limit: Option<RateLimit>,
    /// Sign-ins from one client address.
    pub login_limit: Option<RateLimit>,
    /// So many users or addresses are told apart by each limit; the rest share one allowance.
    pub clients_tracked_max: usize,
    /// A request's body may be so long.
    pub body_bytes_max: usize,
    /// A request's head, all its lines together, may be so long.
    pub head_bytes_max: usize,
    /// A request's target, path and query, may be so long.
    pub uri_bytes_max: usize,
    /// A request may have so many headers.
    pub headers_max: usize,
    /// So many clients are connected at once; a further one is told to come back.
    pub connections_max: usize,
    /// Of those, so many from one client address; 0: no bound. A balancer is no client.
    pub connections_per_client_max: usize,
    /// A request's head must be here so soon after its first byte.
    pub head_timeout: Duration,
    /// A request's body must be here so soon after its head.
    pub body_timeout: Duration,
    /// A connection without a request is closed after so long.
    pub keep_alive_timeout: Duration,
    /// A client that neither sends nor takes a byte of a body for so long is given up.
    pub client_timeout: Duration,
    /// A connection to a part, TLS included, must stand so soon.
    pub connect_timeout: Duration,
    /// A part must answer so soon.
    pub read_timeout: Duration,
    /// A connection to a part is kept so long without a request: shorter than the parts keep it, so
    /// that it is always the gateway that closes it.
    pub idle_timeout: Duration,
    /// Every address of every part is asked so often whether it is ready.
    pub health_every: Duration,
    /// So many more attempts are made where repeating is safe.
    pub upstream_retries_max: usize,
    /// Of `drain`, how long clients are still let in when the gateway stops, and sent away with
    /// their answers.
    pub leave: Duration,
    /// How long requests in flight may take when the gateway stops.
    pub drain: Duration,
    /// The gateway's own threads.
    pub threads: usize,
    /// The OpenAPI document of all parts together: JSON, served as it is.
    pub document: Bytes,
}

/// So many requests in so much time, with so many of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many in the long run.
    pub requests: NonZeroU32,
    /// In what time: whole seconds.
    pub per: Duration,
    /// How many at once after a pause.
    pub burst: NonZeroU32,
}

/// A text that is no rate limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no rate limit: N/Ts or N/Ts:BURST is wanted, such as 100/1s or 10/60s:20 (numbers \
     from 1; at most {WINDOW_S_MAX} seconds), or off"
)]
pub struct NoRateLimit(String);

/// Reads a limit, or `off`.
pub fn parse_limit(text: &str) -> Result<Option<RateLimit>, NoRateLimit> {
    if text == "off" { Ok(None) } else { text.parse().map(Some) }
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4004)),
            redirect_listen: None,
            redirect_port: None,
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            upstreams: HashMap::new(),
            user_limit: Some(RateLimit::every(100, 1)),
            client_limit: Some(RateLimit::every(200, 1)),
            login_limit: Some(RateLimit::every(10, 60)),
            clients_tracked_max: 100_000,
            body_bytes_max: 64 << 10,
            head_bytes_max: 16 << 10,
            uri_bytes_max: 8 << 10,
            headers_max: 100,
            connections_max: 10_000,
            connections_per_client_max: 8_000,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(60),
            client_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(2),
            read_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(20),
            health_every: Duration::from_secs(1),
            upstream_retries_max: 2,
            leave: Duration::ZERO,
            drain: Duration::from_secs(10),
            threads: 2,
            document: Bytes::from_static(b"{}"),
        }
    }
}

// === impl RateLimit ===

impl RateLimit {
    /// So many requests every so many seconds; zero counts as one.
    pub const fn every(requests: u32, seconds: u64) -> Self {
        let requests = match NonZeroU32::new(requests) {
            Some(requests) => requests,
            None => NonZeroU32::MIN,
        };
        let seconds = if seconds == 0 { 1 } else { seconds };
        Self { requests, per: Duration::from_secs(seconds), burst: requests }
    }

    /// The same, with so many at once.
    pub const fn with_burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }
}

impl FromStr for RateLimit {
    type Err = NoRateLimit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = || {
            let (requests, rest) = text.split_once('/')?;
            let (window, burst) = match rest.split_once(':') {
                Some((window, burst)) => (window, Some(burst)),
                None => (rest, None),
            };
            let requests = number(requests)?;
            let seconds = number(window.strip_suffix('s')?)?;
            let burst = burst.map_or(Some(requests), number)?;
            let per = Duration::from_secs(u64::from(seconds.get()));
            (seconds.get() <= WINDOW_S_MAX).then_some(Self { requests, per, burst })
        };
        parsed().ok_or_else(|| NoRateLimit(text.to_owned()))
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.requests, self.per.as_secs())?;
        if self.burst != self.requests {
            write!(f, ":{}", self.burst)?;
        }
        Ok(())
    }
}

/// Digits only: `u32::from_str` would also take a sign.
fn number(text: &str) -> Option<NonZeroU32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_limit_is_read_with_and_without_a_burst() {
        assert_eq!("100/1s".parse(), Ok(RateLimit::every(100, 1)));
        let limit: RateLimit = "10/60s:20".parse().unwrap();
        assert_eq!((limit.requests.get(), limit.burst.get()), (10, 20));
        assert_eq!(limit.per, Duration::from_secs(60));
        assert_eq!(parse_limit("off"), Ok(None));
    }

    #[test]
    fn what_is_no_limit_is_told_what_is_wanted() {
        for text in [
            "",
            "10",
            "10/",
            "/1s",
            "10/1",
            "0/1s",
            "10/0s",
            "10/1s:",
            "10/1s:0",
            "+10/1s",
            "10/1m",
            "10/86401s",
            " 10/1s",
            "10/1s ",
            "99999999999/1s",
            "Off",
            "10/1s:5:5",
        ] {
            let refused = parse_limit(text).unwrap_err().to_string();
            assert!(refused.contains("N/Ts"), "{text}: {refused}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            requests in 1u32..,
            seconds in 1u64..=86_400,
            burst in 1u32..,
        ) {
            let limit = RateLimit::every(requests, seconds)
                .with_burst(NonZeroU32::new(burst).unwrap());
            prop_assert_eq!(limit.to_string().parse(), Ok(limit));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse_limit(&text);
        }
    }
}
