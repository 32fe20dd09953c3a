//! Listens, serves, and stops without losing a request.
//!
//! The gateway accepts connections itself and drives pingora's `HttpProxy` one request at a time
//! (`HttpServerApp::process_new_http`), rather than handing an address to pingora's `Server`:
//!
//! - `Server` binds on its own threads and panics when it cannot, so a taken port could not be told
//!   as an error, and port 0 could not be asked for its number. A socket that is bound already can
//!   only be handed over as a raw file descriptor, which its owner has to leak.
//! - `Server` stops by dropping what runs, or by sleeping a fixed time. Here the connections are
//!   counted, and the end comes when the last request is answered.
//! - The number of connections, the time a head may take, and what a head may be, are decided
//!   before pingora reads a byte (see `head`).
//!
//! It runs on threads of its own (see `threads`); connections are dealt out to them in turn (see
//! `door`).

use std::{io, net::SocketAddr, sync::Arc};

use pingora_core::server::configuration::ServerConf;
use shared_middleware::rate_limit::{Limiter, MonotonicClock, RateLimit};
use tokio::{net::TcpSocket, runtime::Handle, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    Deps,
    body::BodyBounds,
    client::TrustedProxies,
    config::Config,
    connection::{Common, Proxy},
    cors::Origins,
    door::{Door, Entrance, Serves, Worker},
    head::Bounds,
    headers::Scheme,
    in_flight::InFlightLimits,
    in_process::InProcessParts,
    limit::Limits,
    metrics,
    proxy::Gateway,
    room::Room,
    swagger::Swagger,
    threads::Threads,
    upstream::Upstreams,
};

/// So many connections wait in the kernel to be accepted.
const BACKLOG: u32 = 1024;

/// So many connections to the parts, which nobody uses at the moment, are kept by each thread. With
/// fewer than there are clients at once, connections are made and closed all the time.
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
    public: Taken,
    redirect: Option<Taken>,
}

#[derive(Debug)]
struct Taken {
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
    threads: Threads,
}

/// Takes the addresses: where clients are served, and where they are sent there by https. Clients
/// are turned down until [`start`] serves them: there may be another gateway, and whoever waited
/// here would not get to know it.
///
/// # Errors
/// When an address cannot be had.
pub fn bind(public: SocketAddr, redirect: Option<SocketAddr>) -> Result<Bound, StartError> {
    Ok(Bound { public: Taken::take(public)?, redirect: redirect.map(Taken::take).transpose()? })
}

/// Serves until `stop` is cancelled; then see [`Running::join`].
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
    let threads = Threads::start(config.threads).map_err(StartError::Threads)?;
    let runtimes: Vec<_> = threads.runtimes().cloned().collect();
    let accepts = runtimes[0].clone();
    let entered = accepts.enter();
    let Bound { public, redirect } = bound;
    let (address, redirect_address) = (public.address, redirect.as_ref().map(|it| it.address));
    watch_certificate(&deps, stop.clone());
    let door = door(&config, deps, runtimes, stop)?;
    let public = public.open(Serves::Requests)?;
    let port = config.redirect_port.unwrap_or(address.port());
    let redirect = redirect.map(|it| it.open(Serves::Redirects { port })).transpose()?;
    drop(entered);
    let accepting = accepts.spawn(door.serve(public, redirect));
    Ok(Running { address, redirect_address, accepting, threads })
}

// === impl Bound ===

impl Bound {
    /// Where clients are served: the port that was free when 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.public.address
    }
}

// === impl Taken ===

impl Taken {
    fn take(address: SocketAddr) -> Result<Self, StartError> {
        let failed = |error| StartError::Listen(error, address);
        let socket = bound_socket(address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    fn open(self, serves: Serves) -> Result<Entrance, StartError> {
        let Self { socket, address } = self;
        let socket = socket.listen(BACKLOG).map_err(|error| StartError::Listen(error, address))?;
        Ok(Entrance { socket, serves })
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

    /// Waits until it was told to stop and the requests in flight are answered or out of time.
    pub async fn join(mut self) {
        if let Err(error) = (&mut self.accepting).await
            && error.is_panic()
        {
            tracing::error!("the gateway's door panicked");
        }
    }
}

/// The door, behind which everything is ready.
fn door(
    config: &Config,
    deps: Deps,
    runtimes: Vec<Handle>,
    stop: CancellationToken,
) -> Result<Door, StartError> {
    let upstreams = Upstreams::new(config, deps.tls)
        .map_err(|error| StartError::Upstream(error.to_string()))?;
    upstreams.watch(config.health_every);
    let proxies = Arc::new(TrustedProxies::new(config.trusted_proxies.clone()));
    let (all, per_client_max) = (config.connections_max, config.connections_per_client_max);
    let room = Room::new(all, per_client_max, Arc::clone(&proxies));
    let gateway = Gateway {
        limits: Arc::new(Limits::new(config)),
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
        limited_told: Arc::new(Limiter::new(
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
    let common = Common {
        bounds: Bounds {
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
    Ok(Door::new(common, workers, room, (leave, config.drain)))
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
