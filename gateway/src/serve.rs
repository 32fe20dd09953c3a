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
//! It runs on threads of its own (see `threads`); connections are dealt out to them in turn.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pingora_core::server::configuration::ServerConf;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Deps,
    client::TrustedProxies,
    config::Config,
    connection::{self, Common, Proxy},
    head::Bounds,
    headers::Scheme,
    limit::Limits,
    metrics,
    proxy::Gateway,
    swagger::Swagger,
    threads::Threads,
    upstream::Upstreams,
};

/// So many connections wait in the kernel to be accepted.
const BACKLOG: u32 = 1024;

/// So many clients at once are told that there is no room; beyond that they are cut off.
const REFUSED_AT_ONCE_MAX: usize = 256;

/// So many connections to the parts, which nobody uses at the moment, are kept by each thread. With
/// fewer than there are clients at once, connections are made and closed all the time.
const IDLE_UPSTREAM_CONNECTIONS_MAX: usize = 1024;

/// After a failed accept, most likely for want of file descriptors, others get time to close some.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

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

/// An address that is taken, before anything else starts.
#[derive(Debug)]
pub struct Bound {
    socket: TcpSocket,
    address: SocketAddr,
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    accepting: JoinHandle<()>,
    // They end with it.
    threads: Threads,
}

/// Who accepts connections.
struct Door {
    common: Arc<Common>,
    workers: Vec<Worker>,
    turn: AtomicUsize,
    room: Arc<Semaphore>,
    room_to_refuse: Arc<Semaphore>,
    connections: TaskTracker,
    leave: Duration,
    drain: Duration,
}

/// Who serves them: a thread.
struct Worker {
    runtime: Handle,
    proxy: Proxy,
    stopping: watch::Sender<bool>,
}

/// Takes the address. Clients are turned down until [`start`] serves them: there may be another
/// gateway, and whoever waited here would not get to know it.
///
/// # Errors
/// When the address cannot be had.
pub fn bind(address: SocketAddr) -> Result<Bound, StartError> {
    let failed = |error| StartError::Listen(error, address);
    let socket = take(address).map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok(Bound { socket, address })
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
    let Bound { socket, address } = bound;
    let failed = |error| StartError::Listen(error, address);
    watch_certificate(&deps, stop.clone());
    let door = Door::new(&config, deps, runtimes, stop)?;
    let socket = socket.listen(BACKLOG).map_err(failed)?;
    drop(entered);
    let accepting = accepts.spawn(door.serve(socket));
    Ok(Running { address, accepting, threads })
}

// === impl Bound ===

impl Bound {
    /// Where: the port that was free when 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

// === impl Running ===

impl Running {
    /// Where it listens: the port that was free when 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
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

// === impl Door ===

impl Door {
    fn new(
        config: &Config,
        deps: Deps,
        runtimes: Vec<Handle>,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        let upstreams = Upstreams::new(config, deps.tls)
            .map_err(|error| StartError::Upstream(error.to_string()))?;
        upstreams.watch(config.health_every);
        let gateway = Gateway {
            limits: Arc::new(Limits::new(config)),
            verifier: deps.verifier,
            upstreams: Arc::new(upstreams),
            swagger: Arc::new(Swagger::new(config.document.clone())),
            ids: deps.ids.clone(),
            proxies: Arc::new(TrustedProxies::new(config.trusted_proxies.clone())),
            scheme: Scheme::of(deps.public_tls.as_deref()),
            uri_bytes_max: config.uri_bytes_max,
            body_bytes_max: config.body_bytes_max,
            upstream_retries_max: config.upstream_retries_max,
            stop: stop.clone(),
        };
        let leave = config.leave.min(config.drain);
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
        Ok(Self {
            common: Arc::new(common),
            workers: runtimes.into_iter().map(worker).collect(),
            turn: AtomicUsize::new(0),
            room: Arc::new(Semaphore::new(config.connections_max)),
            room_to_refuse: Arc::new(Semaphore::new(REFUSED_AT_ONCE_MAX)),
            connections: TaskTracker::new(),
            leave,
            drain: config.drain - leave,
        })
    }

    async fn serve(self, socket: TcpListener) {
        self.accept(&socket, self.common.stop.cancelled()).await;
        // Answers send people away from now on. Whoever uses a connection has got one by the end of
        // this, so that hardly any is closed just when a request is sent.
        self.accept(&socket, sleep(self.leave)).await;
        self.common.closing.cancel();
        for worker in &self.workers {
            worker.stopping.send_replace(true);
        }
        self.admit_the_waiting(socket);
        self.connections.close();
        if timeout(self.drain, self.connections.wait()).await.is_err() {
            let left = self.connections.len();
            tracing::warn!(connections = left, "requests were still in flight at the deadline");
        }
    }

    async fn accept(&self, socket: &TcpListener, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = &mut end => return,
            };
            match accepted {
                Ok((client, remote)) => self.admit(client, remote),
                Err(error) => {
                    tracing::warn!(error = %error, "cannot accept");
                    sleep(ACCEPT_AGAIN_AFTER).await;
                }
            }
        }
    }

    fn admit(&self, client: TcpStream, remote: SocketAddr) {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let Worker { runtime, proxy, .. } = &self.workers[turn % self.workers.len()];
            // It is waited for on the thread that serves it.
            let Ok(client) = client.into_std() else { return };
            let (proxy, common) = (proxy.clone(), Arc::clone(&self.common));
            let served = async move {
                if let Ok(client) = TcpStream::from_std(client) {
                    connection::serve(client, remote, &proxy, &common).await;
                }
            };
            self.connections.spawn_on(holding(room, served), runtime);
        } else if let Ok(room) = Arc::clone(&self.room_to_refuse).try_acquire_owned() {
            let common = Arc::clone(&self.common);
            let refused = async move { connection::turn_away(client, remote, &common).await };
            self.connections.spawn(holding(room, refused));
        }
    }

    /// Those whom the kernel has connected already are not turned down by closing the door.
    fn admit_the_waiting(&self, socket: TcpListener) {
        let Ok(socket) = socket.into_std() else { return };
        for (client, remote) in waiting(&socket) {
            self.admit(client, remote);
        }
    }
}

async fn holding(room: OwnedSemaphorePermit, task: impl Future<Output = ()>) {
    task.await;
    drop(room);
}

/// Has the public certificate read again when it changes.
fn watch_certificate(deps: &Deps, stop: CancellationToken) {
    let Some(tls) = deps.public_tls.clone() else { return };
    let clock = deps.clock.clone();
    tokio::spawn(async move {
        stop.run_until_cancelled(tls.watch(&clock)).await;
    });
}

fn take(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a restart does not wait for the connections of the run before to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The connections that can be accepted without waiting.
fn waiting(socket: &StdListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    std::iter::from_fn(|| {
        let (client, remote) = socket.accept().ok()?;
        client.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(client).ok()?, remote))
    })
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
