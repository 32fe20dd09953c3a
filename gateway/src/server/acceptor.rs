//! Accepts connections within the connection limit, deals them out to the worker threads in turn,
//! and drains them at the end.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use shared_middleware::descriptors::{self, Taker};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use crate::{
    metrics,
    server::{
        connection,
        connection_limit::{ConnectionLimit, ConnectionPermit, LimitReached},
        context::{Proxy, ServerContext},
        redirect,
    },
};

/// At most this many clients at once are answered 503 over the limit; beyond that they are cut off.
const REJECTIONS_AT_ONCE_MAX: usize = 256;

/// Accepts connections.
pub(crate) struct Acceptor {
    server: Arc<ServerContext>,
    workers: Vec<Worker>,
    turn: AtomicUsize,
    limit: Arc<ConnectionLimit>,
    rejections: Arc<Semaphore>,
    connections: TaskTracker,
    leave: Duration,
    drain: Duration,
}

/// Serves connections: a thread.
pub(crate) struct Worker {
    pub(crate) runtime: Handle,
    pub(crate) proxy: Proxy,
    pub(crate) stopping: watch::Sender<bool>,
}

/// A socket that listens, and what is done with its connections.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) kind: ListenerKind,
}

/// What is done with a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ListenerKind {
    /// Requests are answered.
    Requests,
    /// They are sent to this port, by https.
    Redirects { port: u16 },
}

// === impl Acceptor ===

impl Acceptor {
    pub(crate) fn new(
        server: ServerContext,
        workers: Vec<Worker>,
        limit: ConnectionLimit,
        (leave, drain): (Duration, Duration),
    ) -> Self {
        Self {
            server: Arc::new(server),
            workers,
            turn: AtomicUsize::new(0),
            limit: Arc::new(limit),
            rejections: Arc::new(Semaphore::new(REJECTIONS_AT_ONCE_MAX)),
            connections: TaskTracker::new(),
            leave,
            drain: drain.saturating_sub(leave),
        }
    }

    /// Serves until the gateway is asked to stop, and then until open connections are done.
    pub(crate) async fn serve(self, public: Listener, redirect: Option<Listener>) {
        let redirecting = async {
            if let Some(listener) = &redirect {
                self.accept(listener, self.server.closing.cancelled()).await;
            }
        };
        let serving = async {
            self.accept(&public, self.server.stop.cancelled()).await;
            // Answers send people away from now on. Anyone who uses a connection has got one by the
            // end of this, so that hardly any is closed just when a request is sent.
            self.accept(&public, sleep(self.leave)).await;
            self.server.closing.cancel();
        };
        tokio::join!(redirecting, serving);
        for worker in &self.workers {
            worker.stopping.send_replace(true);
        }
        self.accept_backlog(public);
        self.connections.close();
        if timeout(self.drain, self.connections.wait()).await.is_err() {
            let left = self.connections.len();
            tracing::warn!(
                connections = left,
                "drain timeout reached, aborting requests in flight"
            );
        }
    }

    async fn accept(&self, listener: &Listener, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        loop {
            let accepted = tokio::select! {
                accepted = listener.socket.accept() => accepted,
                () = &mut end => return,
            };
            match accepted {
                Ok((client, remote)) => self.admit(client, remote, listener.kind),
                Err(error) => descriptors::accept_failed(&error).await,
            }
        }
    }

    fn admit(&self, client: TcpStream, remote: SocketAddr, kind: ListenerKind) {
        let permit = match self.permit(&client, remote) {
            Ok(permit) => permit,
            Err(full) => {
                metrics::CONNECTIONS_REFUSED.with_label_values(&[full.as_str()]).inc();
                return self.refuse(client, remote);
            }
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let Worker { runtime, proxy, .. } = &self.workers[turn % self.workers.len()];
        // It is waited for on the thread that serves it.
        let Ok(client) = client.into_std() else { return };
        let (proxy, server) = (proxy.clone(), Arc::clone(&self.server));
        let served = async move {
            let Ok(client) = TcpStream::from_std(client) else { return };
            match kind {
                ListenerKind::Requests => connection::serve(client, remote, &proxy, &server).await,
                ListenerKind::Redirects { port } => {
                    redirect::serve(client, remote, port, &server).await;
                }
            }
        };
        self.connections.spawn_on(holding(permit, served), runtime);
    }

    /// A permit for a client's connection, unless the limit is reached or descriptors are scarce.
    fn permit(
        &self,
        client: &TcpStream,
        remote: SocketAddr,
    ) -> Result<ConnectionPermit, LimitReached> {
        if descriptors::may_keep(client, Taker::Client) {
            return self.limit.admit(remote.ip());
        }
        descriptors::tell_scarce();
        Err(LimitReached::Descriptors)
    }

    /// Answers 503, which takes a moment and a descriptor: where these are scarce, the client is
    /// cut off.
    fn refuse(&self, client: TcpStream, remote: SocketAddr) {
        if descriptors::may_keep(&client, Taker::Caller)
            && let Ok(limit) = Arc::clone(&self.rejections).try_acquire_owned()
        {
            let server = Arc::clone(&self.server);
            let refused =
                async move { connection::reject_over_capacity(client, remote, &server).await };
            self.connections.spawn(holding(limit, refused));
        }
    }

    /// Connections that the kernel has accepted already are served, too.
    fn accept_backlog(&self, Listener { socket, kind }: Listener) {
        let Ok(socket) = socket.into_std() else { return };
        for (client, remote) in waiting(&socket) {
            self.admit(client, remote, kind);
        }
    }
}

async fn holding<T>(limit: T, task: impl Future<Output = ()>) {
    task.await;
    drop(limit);
}

/// The connections that can be accepted without waiting.
fn waiting(socket: &StdListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    std::iter::from_fn(|| {
        let (client, remote) = socket.accept().ok()?;
        client.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(client).ok()?, remote))
    })
}
