//! Every setting of the gateway.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::Uri;
use ipnet::IpNet;
use shared_middleware::{identity::Part, rate_limit::RateLimit};

use crate::policy::origin::Origin;

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
    /// This many users or addresses are distinguished by each limit; the rest share one allowance.
    pub clients_tracked_max: usize,
    /// This many requests from one client address are worked on at once.
    pub in_flight_per_client_max: u32,
    /// This many of one user.
    pub in_flight_per_user_max: u32,
    /// A request's body may be so long.
    pub body_bytes_max: usize,
    /// A request's head, all its lines together, may be so long.
    pub head_bytes_max: usize,
    /// A request's target, path and query, may be so long.
    pub uri_bytes_max: usize,
    /// A request may have this many headers.
    pub headers_max: usize,
    /// This many clients are connected at once; a further one is asked to come back.
    pub connections_max: usize,
    /// Of those, this many from one client address; 0: no bound. A balancer is no client.
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
    /// This many more attempts are made where repeating is safe.
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
            in_flight_per_client_max: 256,
            in_flight_per_user_max: 128,
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
