//! A service's listener: TLS and, when permissive, plaintext on the same port.
//!
//! It distinguishes them by the first byte of a connection (a TLS record of type handshake begins
//! with 22, no HTTP method does), and hands every request on with who the caller is.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{
    descriptors::{self, Taker},
    identity::Peer,
    metrics,
    tls::MeshTls,
};

/// How a connection can begin, for the metric.
const OUTCOMES: [&str; 5] = ["mtls", "tls", "failed", "plaintext", "plaintext_refused"];

/// Whether plaintext is spoken beside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// TLS with a certificate of the mesh, or nothing.
    Strict,
    /// Also TLS without a client certificate, and plaintext.
    Permissive,
    /// As strict, and only HTTP/2.
    Grpc,
}

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenConfig {
    /// Whether plaintext is spoken.
    pub mode: Mode,
    /// This many connections are open at once; a further one waits.
    pub connections_max: usize,
    /// First byte and handshake must be here so soon.
    pub handshake: Duration,
    /// A request's head must be here so soon.
    pub header: Duration,
    /// How long requests in flight may take when the listener stops.
    pub drain: Duration,
}

/// Who is at the other end of the connection that a request came on.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// By certificate; none when it showed none.
    pub peer: Option<Peer>,
    /// Its address.
    pub remote: SocketAddr,
}

/// A listener that is bound, so that a port in use is an error before anything starts.
pub struct Listener {
    socket: TcpListener,
    tls: Arc<MeshTls>,
    config: ListenConfig,
}

// === impl Listener ===

impl Listener {
    /// Binds.
    pub async fn bind(
        address: SocketAddr,
        tls: Arc<MeshTls>,
        config: ListenConfig,
    ) -> io::Result<Self> {
        for outcome in OUTCOMES {
            // There from the start, so that a dashboard finds it.
            metrics::HANDSHAKES.with_label_values(&[tls.part().as_str(), outcome]);
        }
        Ok(Self { socket: TcpListener::bind(address).await?, tls, config })
    }

    /// Where: the port that was free when 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until asked to stop, then lets requests in flight finish.
    pub async fn serve(self, routes: Router, stop: CancellationToken) {
        let connections = Arc::new(Semaphore::new(self.config.connections_max));
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&connections) => accepted,
                () = stop.cancelled() => break,
            };
            let Some((stream, remote, permit)) = accepted else { continue };
            let watcher = graceful.watcher();
            let (tls, config, routes) = (Arc::clone(&self.tls), self.config, routes.clone());
            let stop = stop.clone();
            tokio::spawn(async move {
                let opened = open(stream, remote, &tls, config);
                let opened = tokio::select! {
                    opened = timeout(config.handshake, opened) => opened.ok().flatten(),
                    () = stop.cancelled() => None,
                };
                if let Some((stream, connection)) = opened {
                    let http = http(config);
                    let service =
                        hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
                            request.extensions_mut().insert(connection);
                            routes.clone().oneshot(request.map(axum::body::Body::new) as Request)
                        });
                    let served = http.serve_connection(TokioIo::new(stream), service).into_owned();
                    // A client that goes away is no error of ours.
                    let _ = watcher.watch(served).await;
                }
                drop(permit);
            });
        }
        drop(self.socket);
        if timeout(self.config.drain, graceful.shutdown()).await.is_err() {
            let part = self.tls.part();
            tracing::warn!(%part, "drain timeout reached, aborting requests in flight");
        }
    }

    async fn accept(
        &self,
        connections: &Arc<Semaphore>,
    ) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = Arc::clone(connections).acquire_owned().await.ok()?;
        match self.socket.accept().await {
            Ok((stream, remote)) if descriptors::may_keep(&stream, Taker::Caller) => {
                let _ = stream.set_nodelay(true);
                Some((stream, remote, permit))
            }
            // Closed at once: anyone who called tries another replica, or says that we are away.
            Ok(_) => {
                descriptors::tell_scarce();
                None
            }
            Err(error) => {
                descriptors::accept_failed(&error).await;
                None
            }
        }
    }
}

/// Either kind of connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Shakes hands where the client begins to, and learns who it is.
async fn open(
    stream: TcpStream,
    remote: SocketAddr,
    tls: &MeshTls,
    config: ListenConfig,
) -> Option<(Box<dyn Stream>, Connection)> {
    const TLS_HANDSHAKE: u8 = 22;
    let count = |outcome| {
        metrics::HANDSHAKES.with_label_values(&[tls.part().as_str(), outcome]).inc();
    };
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    let permissive = config.mode == Mode::Permissive;
    if first[0] != TLS_HANDSHAKE {
        count(if permissive { "plaintext" } else { "plaintext_refused" });
        let connection = Connection { peer: None, remote };
        return permissive.then(|| (Box::new(stream) as Box<dyn Stream>, connection));
    }
    let accepted = match config.mode {
        Mode::Grpc => tls.accept_grpc(stream).await,
        Mode::Strict | Mode::Permissive => tls.accept(!permissive, stream).await,
    };
    match accepted {
        Ok(stream) => {
            let peer = stream.peer();
            count(if peer.is_some() { "mtls" } else { "tls" });
            Some((Box::new(stream), Connection { peer, remote }))
        }
        Err(error) => {
            count("failed");
            tracing::debug!(part = %tls.part(), error = %error, "handshake failed");
            None
        }
    }
}

fn http(config: ListenConfig) -> auto::Builder<TokioExecutor> {
    const HEADER_BYTES_MAX: usize = 32 << 10;
    const HEADERS_MAX: usize = 100;
    const STREAMS_MAX: u32 = 100;
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(30));
    if config.mode == Mode::Grpc { http.http2_only() } else { http }
}
