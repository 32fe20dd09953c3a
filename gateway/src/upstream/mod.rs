//! Which endpoint a request is sent to, and what is retried.
//!
//! - `discovery` knows where a part listens: it resolves names to endpoints.
//! - `endpoint` is the state of one of them: ready, cooling down or ejected.
//! - `health_check` checks each endpoint, again and again.
//! - `client_identity` is the gateway's certificate, as pingora wants it.
//! - `server_identity` verifies that a server's certificate is the part's.
//!
//! Endpoints of a part take turns: those that are ready; if there is none, those that are cooling
//! down after a failed connection; if there is none, those that health checks have ejected. So an
//! endpoint is always tried: if the checks are wrong, requests are served; if they are right, there
//! is an error either way.
//!
//! When a connection fails nothing was sent, so any request is retried with the next endpoint. A
//! request that was sent may have taken effect, so only GET and HEAD are retried: a POST is never
//! sent twice.

mod client_identity;
mod discovery;
mod endpoint;
mod health_check;
mod server_identity;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pingora_core::{
    Error, ErrorType, Result,
    protocols::Digest,
    upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy},
};
use shared_middleware::{identity::Part, tls::MeshTls};

pub(crate) use self::discovery::UpstreamError;
use self::{
    client_identity::ClientIdentities,
    discovery::Address,
    endpoint::{Endpoint, EndpointState},
};
use crate::{config::Config, metrics};

/// The parts, and how to call them.
pub(crate) struct Upstreams {
    pools: Vec<Arc<Pool>>,
    tls: Arc<MeshTls>,
    identities: ClientIdentities,
    timeouts: Timeouts,
}

/// Where one part is.
struct Pool {
    part: Part,
    addresses: Vec<Address>,
    next: AtomicUsize,
}

struct Timeouts {
    connect: Duration,
    read: Duration,
    idle: Duration,
}

/// A request's attempts at a part.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// Where the first one went; the next ones follow on.
    turn: Option<usize>,
    made: usize,
    /// How many endpoints there are to try.
    endpoints: usize,
}

// === impl Upstreams ===

impl Upstreams {
    /// As configured; called as the part whose certificate it is.
    pub(crate) fn new(config: &Config, tls: Arc<MeshTls>) -> Result<Self, UpstreamError> {
        let mut pools = Vec::new();
        for (&part, urls) in &config.upstreams {
            let addresses: Result<_, _> =
                urls.iter().map(|url| Address::parse(part, url)).collect();
            let pool = Pool { part, addresses: addresses?, next: AtomicUsize::new(0) };
            pool.update_gauges();
            pools.push(Arc::new(pool));
        }
        let timeouts = Timeouts {
            connect: config.connect_timeout,
            read: config.read_timeout,
            idle: config.idle_timeout,
        };
        let identities = ClientIdentities::new(Arc::clone(&tls))?;
        Ok(Self { pools, tls, identities, timeouts })
    }

    /// Starts the health checks, on this runtime and for as long as it lasts: requests
    /// that are in flight when the gateway stops want to go to a good endpoint, too.
    pub(crate) fn watch(&self, every: Duration) {
        for pool in &self.pools {
            tokio::spawn(health_check::watch(Arc::clone(pool), Arc::clone(&self.tls), every));
        }
    }

    /// The peer of the next attempt.
    pub(crate) async fn peer(&self, part: Part, attempts: &mut Attempts) -> Result<Box<HttpPeer>> {
        let pool = self.pools.iter().find(|pool| pool.part == part);
        let endpoint = match pool {
            Some(pool) => pool.endpoint(attempts, self.timeouts.connect).await,
            None => None,
        };
        let Some(endpoint) = endpoint else {
            failed(part, "resolve");
            return Error::err_up(ErrorType::ConnectNoRoute);
        };
        Ok(Box::new(self.describe(part, &endpoint)))
    }

    /// Notes that there was no connection; whether there is another endpoint to try.
    pub(crate) fn not_connected(&self, part: Part, peer: &HttpPeer, error: &Error) {
        failed(part, kind(error));
        self.mark_connect_failure(part, peer);
    }

    /// Refuses a server that is not the part, before anything is sent. Pingora verifies authority
    /// and DNS name; it reads no SPIFFE id and no revocation list.
    pub(crate) async fn admit(
        &self,
        part: Part,
        peer: &HttpPeer,
        digest: Option<&Digest>,
    ) -> Result<()> {
        if !peer.is_tls() {
            return Ok(());
        }
        let shown = digest.and_then(|digest| digest.ssl_digest.as_ref());
        let sha256 = shown.map_or(&[][..], |shown| &shown.cert_digest);
        let socket = peer._address.as_inet().copied();
        if server_identity::is_part(&self.tls, part, sha256, socket, self.timeouts.connect).await {
            return Ok(());
        }
        self.mark_connect_failure(part, peer);
        Error::err_up(ErrorType::InvalidCert)
    }

    /// Other endpoints are better for a moment.
    fn mark_connect_failure(&self, part: Part, peer: &HttpPeer) {
        let socket = peer._address.as_inet().copied();
        let pool = self.pools.iter().find(|pool| pool.part == part);
        let endpoints = pool.into_iter().flat_map(|pool| pool.known());
        endpoints
            .filter(|endpoint| Some(endpoint.socket) == socket)
            .for_each(|endpoint| endpoint.mark_connect_failure());
    }

    /// Notes that a connection broke, or stayed silent.
    pub(crate) fn broke(&self, part: Part, error: &Error) {
        failed(part, kind(error));
    }

    fn describe(&self, part: Part, endpoint: &Endpoint) -> HttpPeer {
        // The certificates name the part as a DNS name; an empty name would turn verification off.
        let mut peer = HttpPeer::new(endpoint.socket, endpoint.tls, part.as_str().to_owned());
        if endpoint.tls {
            let identity = self.identities.current();
            peer.client_cert_key = Some(Arc::clone(&identity.key));
            peer.options.ca = Some(Arc::clone(&identity.ca));
            // A connection that was made under other authorities is not used again.
            peer.group_key = identity.generation;
        }
        peer.options.connection_timeout = Some(self.timeouts.connect);
        peer.options.total_connection_timeout = Some(self.timeouts.connect);
        peer.options.read_timeout = Some(self.timeouts.read);
        peer.options.write_timeout = Some(self.timeouts.read);
        peer.options.idle_timeout = Some(self.timeouts.idle);
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        peer
    }
}

// === impl Pool ===

impl Pool {
    /// Where the next attempt goes.
    async fn endpoint(&self, attempts: &mut Attempts, within: Duration) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints(within).await;
        attempts.endpoints = endpoints.len();
        let turn = *attempts.turn.get_or_insert_with(|| self.next.fetch_add(1, Ordering::Relaxed));
        let turn = turn.wrapping_add(attempts.made);
        attempts.made += 1;
        if let [only] = &*endpoints {
            return Some(Arc::clone(only));
        }
        let endpoints: Vec<_> =
            endpoints.into_iter().map(|endpoint| (endpoint.state(), endpoint)).collect();
        let best = endpoints.iter().map(|(state, _)| *state).min()?;
        let mut best =
            endpoints.into_iter().filter(|(state, _)| *state == best).collect::<Vec<_>>();
        Some(best.swap_remove(turn % best.len()).1)
    }

    /// All of them; names are looked up where it is time.
    async fn endpoints(&self, within: Duration) -> Vec<Arc<Endpoint>> {
        let mut endpoints = Vec::with_capacity(self.addresses.len());
        for address in &self.addresses {
            endpoints.extend(address.endpoints(within).await.iter().cloned());
        }
        endpoints
    }

    /// Those that are known now.
    fn known(&self) -> Vec<Arc<Endpoint>> {
        self.addresses.iter().flat_map(|address| address.known().to_vec()).collect()
    }

    /// Sets the metric of how many there are.
    fn update_gauges(&self) {
        let known = self.known();
        let is_ejected = |endpoint: &&Arc<Endpoint>| endpoint.state() == EndpointState::Ejected;
        let ejected = known.iter().filter(is_ejected).count();
        metrics::set_upstreams(self.part, known.len() - ejected, ejected);
    }
}

// === impl Attempts ===

impl Attempts {
    /// Whether another endpoint is left, of as many as may be tried.
    pub(crate) fn may_go_elsewhere(&self, retries_max: usize) -> bool {
        self.made <= retries_max && self.made < self.endpoints
    }

    /// Whether one more attempt is left, at the same endpoint if there is no other.
    pub(crate) fn may_repeat(&self, retries_max: usize) -> bool {
        self.made <= retries_max
    }
}

fn failed(part: Part, kind: &'static str) {
    metrics::UPSTREAM_ERRORS.with_label_values(&[part.as_str(), kind]).inc();
    tracing::warn!(upstream = %part, kind, "upstream attempt failed");
}

/// What went wrong with an attempt, for the metric.
fn kind(error: &Error) -> &'static str {
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => "connect_timeout",
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::HandshakeError => {
            "tls"
        }
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::SocketError
        | ErrorType::BindError => "connect",
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => "timeout",
        ErrorType::InvalidHTTPHeader | ErrorType::H1Error => "invalid",
        _ => "broken",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use pingora_core::upstreams::peer::Peer as _;

    use super::*;
    use crate::test_support::mesh_tls;

    fn upstreams(urls: &[&str]) -> Upstreams {
        let urls = urls.iter().map(|url| url.parse().unwrap()).collect();
        let upstreams = HashMap::from([(Part::Patient, urls)]);
        Upstreams::new(&Config { upstreams, ..Config::default() }, mesh_tls(Part::Gateway)).unwrap()
    }

    async fn port(upstreams: &Upstreams, attempts: &mut Attempts) -> u16 {
        let peer = upstreams.peer(Part::Patient, attempts).await.unwrap();
        peer._address.as_inet().unwrap().port()
    }

    #[tokio::test]
    async fn the_addresses_of_a_part_take_turns() {
        let upstreams = upstreams(&["http://127.0.0.1:1", "http://127.0.0.1:2"]);
        let mut ports = Vec::new();
        for _ in 0..4 {
            ports.push(port(&upstreams, &mut Attempts::default()).await);
        }
        assert_eq!(ports, [1, 2, 1, 2]);
    }

    #[tokio::test]
    async fn after_a_failed_connection_the_next_address_is_tried_and_the_first_passed_over() {
        let upstreams = upstreams(&["http://127.0.0.1:1", "http://127.0.0.1:2"]);
        let mut attempts = Attempts::default();
        let peer = upstreams.peer(Part::Patient, &mut attempts).await.unwrap();
        let refused = Error::new_up(ErrorType::ConnectRefused);
        upstreams.not_connected(Part::Patient, &peer, &refused);
        assert!(attempts.may_go_elsewhere(2));
        assert_eq!(port(&upstreams, &mut attempts).await, 2);
        assert!(!attempts.may_go_elsewhere(2));
        for _ in 0..4 {
            assert_eq!(port(&upstreams, &mut Attempts::default()).await, 2);
        }
    }

    #[tokio::test]
    async fn when_every_address_fails_they_are_still_tried() {
        let upstreams = upstreams(&["http://127.0.0.1:1"]);
        let mut attempts = Attempts::default();
        let peer = upstreams.peer(Part::Patient, &mut attempts).await.unwrap();
        upstreams.not_connected(Part::Patient, &peer, &Error::new_up(ErrorType::ConnectRefused));
        assert!(!attempts.may_go_elsewhere(2));
        assert_eq!(port(&upstreams, &mut Attempts::default()).await, 1);
    }

    #[tokio::test]
    async fn a_part_without_an_address_has_no_peer() {
        let upstreams = upstreams(&["http://127.0.0.1:1"]);
        let error = upstreams.peer(Part::Auth, &mut Attempts::default()).await.unwrap_err();
        assert_eq!(error.etype(), &ErrorType::ConnectNoRoute);
    }

    #[tokio::test]
    async fn https_is_called_with_our_certificate_and_only_the_parts_name_is_accepted() {
        let upstreams = upstreams(&["https://127.0.0.1:1"]);
        let peer = upstreams.peer(Part::Patient, &mut Attempts::default()).await.unwrap();
        assert!(peer.is_tls());
        assert_eq!(peer.sni, "patient");
        assert!(peer.client_cert_key.is_some());
        assert!(peer.options.ca.is_some());
        assert!(peer.options.verify_cert && peer.options.verify_hostname);
    }

    #[tokio::test]
    async fn a_connection_is_used_again_for_the_same_part_as_the_same_identity_alone() {
        let upstreams = || {
            let url = || vec!["https://127.0.0.1:1".parse().unwrap()];
            let upstreams = HashMap::from([(Part::Patient, url()), (Part::Billing, url())]);
            let config = Config { upstreams, ..Config::default() };
            Upstreams::new(&config, mesh_tls(Part::Gateway)).unwrap()
        };
        let (ours, others) = (upstreams(), upstreams());
        let mut keys = Vec::new();
        for (of, part) in [
            (&ours, Part::Patient),
            (&ours, Part::Patient),
            (&ours, Part::Billing),
            (&others, Part::Patient),
        ] {
            keys.push(of.peer(part, &mut Attempts::default()).await.unwrap().reuse_hash());
        }
        assert_eq!(keys[0], keys[1]);
        assert_ne!(keys[0], keys[2]);
        assert_ne!(keys[0], keys[3]);
    }

    #[tokio::test]
    async fn a_part_that_shows_no_certificate_where_one_is_due_is_sent_nothing() {
        let upstreams = upstreams(&["https://127.0.0.1:1"]);
        let peer = upstreams.peer(Part::Patient, &mut Attempts::default()).await.unwrap();
        let refused = upstreams.admit(Part::Patient, &peer, None).await.unwrap_err();
        assert_eq!(refused.etype(), &ErrorType::InvalidCert);
        let plain = HttpPeer::new("127.0.0.1:1", false, "patient".to_owned());
        assert!(upstreams.admit(Part::Patient, &plain, None).await.is_ok());
    }
}
