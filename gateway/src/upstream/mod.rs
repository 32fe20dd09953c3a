//! Which peer is called for a request, how, and what may be tried again.
//!
//! - `address` knows where a part listens, and looks names up.
//! - `identity` is the gateway's certificate, as pingora wants it.
//!
//! A part's addresses take turns; one that could not be connected to is passed over for a moment.
//! Where no connection stood nothing was sent, so any request goes to the next address. What was
//! sent may have taken effect, so only GET and HEAD are sent again: a POST never goes out twice.

mod address;
mod identity;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pingora_core::{
    Error, ErrorType, Result,
    upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy},
};
use shared_middleware::{identity::Part, tls::MeshTls};

pub(crate) use self::address::UpstreamError;
use self::{address::Address, identity::Identities};
use crate::{config::Config, metrics};

/// The parts, and how to call them.
pub(crate) struct Upstreams {
    pools: Vec<Pool>,
    identities: Identities,
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
    /// How many places there are to try.
    places: usize,
}

/// The place of one attempt.
struct Place<'a> {
    address: &'a Address,
    socket: SocketAddr,
}

// === impl Upstreams ===

impl Upstreams {
    /// As configured; called as the part whose certificate it is.
    pub(crate) fn new(config: &Config, tls: Arc<MeshTls>) -> Result<Self, UpstreamError> {
        let mut pools = Vec::new();
        for (&part, urls) in &config.upstreams {
            let addresses: Result<_, _> =
                urls.iter().map(|url| Address::parse(part, url)).collect();
            pools.push(Pool { part, addresses: addresses?, next: AtomicUsize::new(0) });
        }
        let timeouts = Timeouts {
            connect: config.connect_timeout,
            read: config.read_timeout,
            idle: config.idle_timeout,
        };
        Ok(Self { pools, identities: Identities::new(tls)?, timeouts })
    }

    /// The peer of the next attempt.
    pub(crate) async fn peer(&self, part: Part, attempts: &mut Attempts) -> Result<Box<HttpPeer>> {
        let pool = self.pools.iter().find(|pool| pool.part == part);
        let place = match pool {
            Some(pool) => pool.place(attempts, self.timeouts.connect).await,
            None => None,
        };
        let Some(place) = place else {
            failed(part, "resolve");
            return Error::err_up(ErrorType::ConnectNoRoute);
        };
        Ok(Box::new(self.describe(part, &place)))
    }

    /// Notes that there was no connection; whether there is another place to try.
    pub(crate) fn not_connected(&self, part: Part, peer: &HttpPeer, error: &Error) {
        failed(part, kind(error));
        let socket = peer._address.as_inet();
        let pool = self.pools.iter().find(|pool| pool.part == part);
        for address in pool.iter().flat_map(|pool| &pool.addresses) {
            if socket.is_some_and(|socket| address.is(*socket)) {
                address.pass_over();
            }
        }
    }

    /// Notes that a connection broke, or stayed silent.
    pub(crate) fn broke(&self, part: Part, error: &Error) {
        failed(part, kind(error));
    }

    fn describe(&self, part: Part, place: &Place<'_>) -> HttpPeer {
        // The certificates name the part as a DNS name; an empty name would turn verification off.
        let mut peer = HttpPeer::new(place.socket, place.address.tls, part.as_str().to_owned());
        if place.address.tls {
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
    async fn place(&self, attempts: &mut Attempts, within: Duration) -> Option<Place<'_>> {
        let mut places = Vec::with_capacity(self.addresses.len());
        for address in &self.addresses {
            for &socket in address.sockets(within).await.iter() {
                places.push(Place { address, socket });
            }
        }
        attempts.places = places.len();
        let turn = *attempts.turn.get_or_insert_with(|| self.next.fetch_add(1, Ordering::Relaxed));
        let turn = turn.wrapping_add(attempts.made);
        attempts.made += 1;
        let order = |at: usize| turn.wrapping_add(at) % places.len();
        let usable = (0..places.len()).map(order).find(|&at| !places[at].address.is_passed_over());
        let at = usable.or_else(|| (!places.is_empty()).then(|| order(0)))?;
        Some(places.swap_remove(at))
    }
}

// === impl Attempts ===

impl Attempts {
    /// Whether another place is left, of as many as may be tried.
    pub(crate) fn may_go_elsewhere(&self, retries_max: usize) -> bool {
        self.made <= retries_max && self.made < self.places
    }

    /// Whether one more attempt is left, at the same place if there is no other.
    pub(crate) fn may_repeat(&self, retries_max: usize) -> bool {
        self.made <= retries_max
    }
}

fn failed(part: Part, kind: &'static str) {
    metrics::UPSTREAM_ERRORS.with_label_values(&[part.as_str(), kind]).inc();
    tracing::warn!(upstream = %part, kind, "a part failed");
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
}
