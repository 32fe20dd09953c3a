//! Where a part listens: an address, or a name that is looked up again now and then.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use http::Uri;
use shared_middleware::identity::Part;
use tokio::time::{Instant, timeout};

use super::endpoint::Endpoint;

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
    tls: bool,
    host: String,
    port: u16,
    found: ArcSwap<Resolved>,
}

/// What a name stands for.
struct Resolved {
    endpoints: Arc<[Arc<Endpoint>]>,
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
        let found = match host.parse::<IpAddr>() {
            Ok(ip) => {
                let endpoint = Endpoint::new(tls, SocketAddr::new(ip, port));
                Resolved { endpoints: Arc::new([Arc::new(endpoint)]), until: None }
            }
            Err(_) => Resolved { endpoints: Arc::new([]), until: Some(Instant::now()) },
        };
        Ok(Self { tls, host, port, found: ArcSwap::from_pointee(found) })
    }

    /// Where to connect to; what a name stood for before when it cannot be looked up now.
    pub(super) async fn endpoints(&self, within: Duration) -> Arc<[Arc<Endpoint>]> {
        let found = self.found.load_full();
        if found.until.is_none_or(|until| Instant::now() < until) {
            return Arc::clone(&found.endpoints);
        }
        let looked_up = tokio::net::lookup_host((self.host.as_str(), self.port));
        let endpoints: Arc<[_]> = match timeout(within, looked_up).await {
            Ok(Ok(sockets)) => {
                sockets.map(|socket| self.endpoint(socket, &found.endpoints)).collect()
            }
            _ => Arc::clone(&found.endpoints),
        };
        // What could not be looked up is asked for again with the next request.
        let good_for = if endpoints.is_empty() { Duration::ZERO } else { LOOKED_UP_EVERY };
        let until = Some(Instant::now() + good_for);
        self.found.store(Arc::new(Resolved { endpoints: Arc::clone(&endpoints), until }));
        endpoints
    }

    /// What is known now, without looking it up.
    pub(super) fn known(&self) -> Arc<[Arc<Endpoint>]> {
        Arc::clone(&self.found.load().endpoints)
    }

    /// What is known of an endpoint outlives the look-up.
    fn endpoint(&self, socket: SocketAddr, before: &[Arc<Endpoint>]) -> Arc<Endpoint> {
        let known = before.iter().find(|endpoint| endpoint.socket == socket).cloned();
        known.unwrap_or_else(|| Arc::new(Endpoint::new(self.tls, socket)))
    }
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
            let endpoints = parse(url).unwrap().endpoints(Duration::from_secs(1)).await;
            assert_eq!(endpoints.len(), 1);
            assert_eq!(endpoints[0].socket, socket.parse().unwrap());
            assert_eq!(endpoints[0].tls, url.starts_with("https"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_looked_up_again_and_what_was_known_of_its_places_is_kept() {
        let address = parse("http://localhost:4000").unwrap();
        let endpoints = address.endpoints(Duration::from_secs(5)).await;
        assert!(endpoints.iter().all(|p| p.socket.ip().is_loopback() && p.socket.port() == 4000));
        assert!(!endpoints.is_empty());
        tokio::time::advance(LOOKED_UP_EVERY).await;
        let again = address.endpoints(Duration::from_secs(5)).await;
        assert!(!Arc::ptr_eq(&endpoints, &again));
        assert!(
            again
                .iter()
                .zip(endpoints.iter())
                .all(|(again, endpoint)| Arc::ptr_eq(again, endpoint))
        );
    }

    #[test]
    fn what_is_no_url_of_a_part_is_refused() {
        for url in ["ftp://h:1", "h:1", "/path", "http://h:1/path", "http://h:1?q"] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}
