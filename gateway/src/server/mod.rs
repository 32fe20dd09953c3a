//! The gateway's own HTTP server, before pingora: listens, limits connections, reads request heads,
//! and stops without losing a request.
//!
//! - `acceptor` accepts connections, deals them out to `worker_threads` within `connection_limit`,
//!   and drains;
//! - `connection` serves one client: TLS (`certificate`), then one request after the other. Its
//!   bytes go through `downstream` and `client_stream`;
//! - `request_head` reads a head and refuses an ambiguous one;
//! - `http2` serves many requests of one connection; `control_frame_limit` bounds frames that
//!   belong to none;
//! - `redirect` is the plaintext port that sends clients to https;
//! - `context` is what all connections share.
//!
//! It accepts connections itself and drives pingora's `HttpProxy` one request at a time
//! (`HttpServerApp::process_new_http`), rather than handing an address to pingora's `Server`:
//!
//! - `Server` binds on its own threads and panics when it cannot, so a port in use could not be
//!   reported as an error, and the number of port 0 could not be asked for. A bound socket can only
//!   be handed over as a raw file descriptor, which its owner has to leak.
//! - `Server` stops by dropping what runs, or by sleeping a fixed time. Here connections are
//!   counted, and the drain ends when the last request is answered.
//! - Connection limits, the time-out of a head and its syntax are decided before pingora reads a
//!   byte.

mod acceptor;
pub(crate) mod certificate;
mod client_stream;
mod connection;
mod connection_limit;
pub(crate) mod context;
mod control_frame_limit;
pub(crate) mod downstream;
mod http2;
mod redirect;
pub(crate) mod request_head;
mod worker_threads;

use std::{io, net::SocketAddr, sync::Arc};

use pingora_core::server::configuration::ServerConf;
use shared_middleware::rate_limit::{Limiter, MonotonicClock, RateLimit};
use tokio::{net::TcpSocket, runtime::Handle, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    Deps,
    config::Config,
    metrics,
    policy::{
        client_ip::TrustedProxies, cors::Origins, in_flight::InFlightLimits, rate_limit::Limits,
    },
    proxy::{
        Gateway, body_limits::BodyBounds, headers::Scheme, in_process::InProcessParts,
        swagger::Swagger,
    },
    server::{
        acceptor::{Acceptor, Listener, ListenerKind, Worker},
        connection_limit::ConnectionLimit,
        context::{Proxy, ServerContext},
        request_head::HeadLimits,
        worker_threads::WorkerThreads,
    },
    upstream::Upstreams,
};

/// This many connections wait in the kernel to be accepted.
const BACKLOG: u32 = 1024;

/// This many connections to the parts, which nobody uses at the moment, are kept by each thread.
/// With fewer than there are clients at once, connections are made and closed all the time.
const IDLE_UPSTREAM_CONNECTIONS_MAX: usize = 1024;

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken, or may not be used.
    #[error("the gateway cannot listen on {1}")]
    Listen(#[source] io::Error, SocketAddr),
    /// No threads.
    #[error("the gateway cannot start its threads")]
    Threads(#[source] io::Error),
    /// A part's URL, or the gateway's certificate, cannot be used.
    #[error("the gateway cannot call the parts: {0}")]
    Upstream(String),
}

/// Addresses that are taken, before anything else starts.
#[derive(Debug)]
pub struct Bound {
    public: BoundSocket,
    redirect: Option<BoundSocket>,
}

#[derive(Debug)]
struct BoundSocket {
    socket: TcpSocket,
    address: SocketAddr,
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    redirect_address: Option<SocketAddr>,
    accepting: JoinHandle<()>,
    // They end with it.
    threads: WorkerThreads,
}

/// Takes the addresses: where clients are served, and where they are sent there by https. Clients
/// are turned down until [`start`] serves them: there may be another gateway, and anyone who waited
/// here would not get to know it.
///
/// # Errors
/// When an address cannot be had.
pub fn bind(public: SocketAddr, redirect: Option<SocketAddr>) -> Result<Bound, StartError> {
    Ok(Bound {
        public: BoundSocket::bind(public)?,
        redirect: redirect.map(BoundSocket::bind).transpose()?,
    })
}

/// ListenerKind until `stop` is cancelled; then see [`Running::join`].
///
/// # Errors
/// When the configuration cannot be used.
pub fn start(
    config: Config,
    bound: Bound,
    deps: Deps,
    stop: CancellationToken,
) -> Result<Running, StartError> {
    metrics::register();
    let threads = WorkerThreads::start(config.threads).map_err(StartError::Threads)?;
    let runtimes: Vec<_> = threads.runtimes().cloned().collect();
    let accepts = runtimes[0].clone();
    let entered = accepts.enter();
    let Bound { public, redirect } = bound;
    let (address, redirect_address) = (public.address, redirect.as_ref().map(|it| it.address));
    watch_certificate(&deps, stop.clone());
    let acceptor = acceptor(&config, deps, runtimes, stop)?;
    let public = public.open(ListenerKind::Requests)?;
    let port = config.redirect_port.unwrap_or(address.port());
    let redirect = redirect.map(|it| it.open(ListenerKind::Redirects { port })).transpose()?;
    drop(entered);
    let accepting = accepts.spawn(acceptor.serve(public, redirect));
    Ok(Running { address, redirect_address, accepting, threads })
}

// === impl Bound ===

impl Bound {
    /// Where clients are served: the port that was free when 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.public.address
    }
}

// === impl BoundSocket ===

impl BoundSocket {
    fn bind(address: SocketAddr) -> Result<Self, StartError> {
        let failed = |error| StartError::Listen(error, address);
        let socket = bound_socket(address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    fn open(self, kind: ListenerKind) -> Result<Listener, StartError> {
        let Self { socket, address } = self;
        let socket = socket.listen(BACKLOG).map_err(|error| StartError::Listen(error, address))?;
        Ok(Listener { socket, kind })
    }
}

// === impl Running ===

impl Running {
    /// Where it listens: the port that was free when 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it sends clients to https, if it does.
    pub const fn redirect_address(&self) -> Option<SocketAddr> {
        self.redirect_address
    }

    /// The runtimes of its threads, for metrics.
    pub fn runtimes(&self) -> Vec<Handle> {
        self.threads.runtimes().cloned().collect()
    }

    /// Waits until it was asked to stop and the requests in flight are answered or out of time.
    pub async fn join(mut self) {
        if let Err(error) = (&mut self.accepting).await
            && error.is_panic()
        {
            tracing::error!("gateway accept loop panicked");
        }
    }
}

/// The door, behind which everything is ready.
fn acceptor(
    config: &Config,
    deps: Deps,
    runtimes: Vec<Handle>,
    stop: CancellationToken,
) -> Result<Acceptor, StartError> {
    let upstreams = Upstreams::new(config, deps.tls)
        .map_err(|error| StartError::Upstream(error.to_string()))?;
    upstreams.watch(config.health_every);
    let proxies = Arc::new(TrustedProxies::new(config.trusted_proxies.clone()));
    let (all, per_client_max) = (config.connections_max, config.connections_per_client_max);
    let limit = ConnectionLimit::new(all, per_client_max, Arc::clone(&proxies));
    let gateway = Gateway {
        limits: Arc::new(Limits::new(
            config.user_limit,
            config.client_limit,
            config.login_limit,
            config.clients_tracked_max,
        )),
        verifier: deps.verifier,
        upstreams: Arc::new(upstreams),
        in_process: Arc::new(InProcessParts {
            parts: deps.in_process,
            read_timeout: config.read_timeout,
        }),
        swagger: Arc::new(Swagger::new(config.document.clone())),
        ids: deps.ids.clone(),
        in_flight: Arc::new(InFlightLimits::new(
            config.in_flight_per_client_max,
            config.in_flight_per_user_max,
        )),
        audited_limits: Arc::new(Limiter::new(
            RateLimit::every(1, 60),
            config.clients_tracked_max,
            MonotonicClock,
        )),
        refusals: deps.refusals,
        clock: deps.clock,
        proxies,
        origins: Arc::new(Origins::new(config.cors_origins.clone())),
        scheme: Scheme::of(deps.public_tls.as_deref()),
        uri_bytes_max: config.uri_bytes_max,
        headers_max: config.headers_max,
        body: BodyBounds { bytes_max: config.body_bytes_max, timeout: config.body_timeout },
        upstream_retries_max: config.upstream_retries_max,
        stop: stop.clone(),
    };
    let conf = Arc::new(server_conf(config));
    let worker = |runtime| {
        let (stopping, seen) = watch::channel(false);
        let http = Arc::new(pingora_proxy::http_proxy(&conf, gateway.clone()));
        Worker { runtime, proxy: Proxy { http, stopping: seen }, stopping }
    };
    let server = ServerContext {
        head_limits: HeadLimits {
            head_bytes_max: config.head_bytes_max,
            uri_bytes_max: config.uri_bytes_max,
            headers_max: config.headers_max,
            timeout: config.head_timeout,
        },
        keep_alive_timeout: config.keep_alive_timeout,
        client_timeout: config.client_timeout,
        ids: deps.ids,
        tls: deps.public_tls,
        stop,
        closing: CancellationToken::new(),
    };
    let workers = runtimes.into_iter().map(worker).collect();
    let leave = config.leave.min(config.drain);
    Ok(Acceptor::new(server, workers, limit, (leave, config.drain)))
}

/// Has the public certificate read again when it changes.
fn watch_certificate(deps: &Deps, stop: CancellationToken) {
    let Some(tls) = deps.public_tls.clone() else { return };
    let clock = deps.clock.clone();
    tokio::spawn(async move {
        stop.run_until_cancelled(tls.watch(&clock)).await;
    });
}

fn bound_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a restart does not wait for the connections of the run before to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// What of pingora's own settings still matters when its server is not used.
fn server_conf(config: &Config) -> ServerConf {
    ServerConf {
        threads: config.threads.max(1),
        upstream_keepalive_pool_size: IDLE_UPSTREAM_CONNECTIONS_MAX,
        // It counts attempts, the first included.
        max_retries: config.upstream_retries_max.saturating_add(1),
        // Every peer brings the mesh's authorities; what the machine trusts is neither loaded
        // (which takes time and memory) nor ever a way in.
        ca_file: Some("/dev/null".to_owned()),
        ..ServerConf::default()
    }
}
