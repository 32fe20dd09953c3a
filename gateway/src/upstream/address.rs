//! Where a part listens: an address, or a name that is looked up again now and then.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::Uri;
use shared_middleware::identity::Part;
use tokio::time::{Instant, timeout};

/// An address that could not be connected to is passed over for so long while there are others.
const PASSED_OVER_FOR: Duration = Duration::from_secs(2);

/// A name is looked up again after so long: replicas come and go.
const LOOKED_UP_EVERY: Duration = Duration::from_secs(5);

/// Why a part cannot be called as configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("the URL of {0}, {1}, must be http://host:port or https://host:port")]
    Url(Part, Uri),
    #[error("the certificate of the gateway cannot be used: {0}")]
    Certificate(&'static str),
}

/// Where a part listens.
pub(super) struct Address {
    pub(super) tls: bool,
    host: String,
    port: u16,
    found: ArcSwap<Found>,
    /// Milliseconds since `began`; 0 when it was never passed over.
    passed_over_until_ms: AtomicU64,
    began: Instant,
}

/// What a name stood for.
struct Found {
    sockets: Arc<[SocketAddr]>,
    /// None of an address, which stands for itself.
    until: Option<Instant>,
}

// === impl Address ===

impl Address {
    pub(super) fn parse(part: Part, url: &Uri) -> Result<Self, UpstreamError> {
        let bad = || UpstreamError::Url(part, url.clone());
        let tls = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad()),
        };
        let host = url.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        if !url.path().trim_end_matches('/').is_empty() || url.query().is_some() {
            return Err(bad());
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let began = Instant::now();
        let found = match host.parse::<IpAddr>() {
            Ok(ip) => Found { sockets: Arc::new([SocketAddr::new(ip, port)]), until: None },
            Err(_) => Found { sockets: Arc::new([]), until: Some(began) },
        };
        let found = ArcSwap::from_pointee(found);
        Ok(Self { tls, host, port, found, passed_over_until_ms: AtomicU64::new(0), began })
    }

    /// Where to connect to; what a name stood for before when it cannot be looked up now.
    pub(super) async fn sockets(&self, within: Duration) -> Arc<[SocketAddr]> {
        let found = self.found.load_full();
        if found.until.is_none_or(|until| Instant::now() < until) {
            return Arc::clone(&found.sockets);
        }
        let looked_up = tokio::net::lookup_host((self.host.as_str(), self.port));
        let sockets = match timeout(within, looked_up).await {
            Ok(Ok(sockets)) => sockets.collect(),
            _ => Arc::clone(&found.sockets),
        };
        // What could not be looked up is asked for again with the next request.
        let until = (!sockets.is_empty()).then(|| Instant::now() + LOOKED_UP_EVERY);
        let until = Some(until.unwrap_or(self.began));
        self.found.store(Arc::new(Found { sockets: Arc::clone(&sockets), until }));
        sockets
    }

    /// Whether it is here that one connects to.
    pub(super) fn is(&self, socket: SocketAddr) -> bool {
        self.found.load().sockets.contains(&socket)
    }

    pub(super) fn pass_over(&self) {
        let until = self.now_ms().saturating_add(millis(PASSED_OVER_FOR));
        self.passed_over_until_ms.store(until, Ordering::Relaxed);
    }

    pub(super) fn is_passed_over(&self) -> bool {
        match self.passed_over_until_ms.load(Ordering::Relaxed) {
            0 => false,
            until => self.now_ms() < until,
        }
    }

    fn now_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, UpstreamError> {
        Address::parse(Part::Patient, &url.parse().unwrap())
    }

    #[tokio::test]
    async fn an_address_stands_for_itself() {
        for (url, socket) in [
            ("http://127.0.0.1:4000", "127.0.0.1:4000"),
            ("https://[::1]:4000/", "[::1]:4000"),
            ("https://192.0.2.1", "192.0.2.1:443"),
        ] {
            let address = parse(url).unwrap();
            let sockets = address.sockets(Duration::from_secs(1)).await;
            assert_eq!(&*sockets, [socket.parse().unwrap()]);
            assert_eq!(address.tls, url.starts_with("https"));
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up() {
        let address = parse("http://localhost:4000").unwrap();
        let sockets = address.sockets(Duration::from_secs(5)).await;
        assert!(sockets.iter().all(|socket| socket.ip().is_loopback() && socket.port() == 4000));
        assert!(!sockets.is_empty());
    }

    #[test]
    fn what_is_no_url_of_a_part_is_refused() {
        for url in ["ftp://h:1", "h:1", "/path", "http://h:1/path", "http://h:1?q"] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}
