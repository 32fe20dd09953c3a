//! Who is let in: connections are accepted, counted and dealt out to the threads, and at the end
//! waited for.

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
    connection::{self, Common, Proxy},
    metrics, redirect,
    room::{Full, Place, Room},
};

/// So many clients at once are told that there is no room; beyond that they are cut off.
const REFUSED_AT_ONCE_MAX: usize = 256;

/// Who accepts connections.
pub(crate) struct Door {
    common: Arc<Common>,
    workers: Vec<Worker>,
    turn: AtomicUsize,
    room: Arc<Room>,
    room_to_refuse: Arc<Semaphore>,
    connections: TaskTracker,
    leave: Duration,
    drain: Duration,
}

/// Who serves them: a thread.
pub(crate) struct Worker {
    pub(crate) runtime: Handle,
    pub(crate) proxy: Proxy,
    pub(crate) stopping: watch::Sender<bool>,
}

/// A port, and what is done there.
pub(crate) struct Entrance {
    pub(crate) socket: TcpListener,
    pub(crate) serves: Serves,
}

/// What is done with a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Serves {
    /// Requests are answered.
    Requests,
    /// They are sent to this port, by https.
    Redirects { port: u16 },
}

// === impl Door ===

impl Door {
    pub(crate) fn new(
        common: Common,
        workers: Vec<Worker>,
        room: Room,
        (leave, drain): (Duration, Duration),
    ) -> Self {
        Self {
            common: Arc::new(common),
            workers,
            turn: AtomicUsize::new(0),
            room: Arc::new(room),
            room_to_refuse: Arc::new(Semaphore::new(REFUSED_AT_ONCE_MAX)),
            connections: TaskTracker::new(),
            leave,
            drain: drain.saturating_sub(leave),
        }
    }

    /// Serves until the gateway is told to stop, and those who are inside until they are done.
    pub(crate) async fn serve(self, public: Entrance, redirect: Option<Entrance>) {
        let redirecting = async {
            if let Some(entrance) = &redirect {
                self.accept(entrance, self.common.closing.cancelled()).await;
            }
        };
        let serving = async {
            self.accept(&public, self.common.stop.cancelled()).await;
            // Answers send people away from now on. Whoever uses a connection has got one by the
            // end of this, so that hardly any is closed just when a request is sent.
            self.accept(&public, sleep(self.leave)).await;
            self.common.closing.cancel();
        };
        tokio::join!(redirecting, serving);
        for worker in &self.workers {
            worker.stopping.send_replace(true);
        }
        self.admit_the_waiting(public);
        self.connections.close();
        if timeout(self.drain, self.connections.wait()).await.is_err() {
            let left = self.connections.len();
            tracing::warn!(connections = left, "requests were still in flight at the deadline");
        }
    }

    async fn accept(&self, entrance: &Entrance, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        loop {
            let accepted = tokio::select! {
                accepted = entrance.socket.accept() => accepted,
                () = &mut end => return,
            };
            match accepted {
                Ok((client, remote)) => self.admit(client, remote, entrance.serves),
                Err(error) => descriptors::accept_failed(&error).await,
            }
        }
    }

    fn admit(&self, client: TcpStream, remote: SocketAddr, serves: Serves) {
        let place = match self.place(&client, remote) {
            Ok(place) => place,
            Err(full) => {
                metrics::CONNECTIONS_REFUSED.with_label_values(&[full.as_str()]).inc();
                return self.refuse(client, remote);
            }
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let Worker { runtime, proxy, .. } = &self.workers[turn % self.workers.len()];
        // It is waited for on the thread that serves it.
        let Ok(client) = client.into_std() else { return };
        let (proxy, common) = (proxy.clone(), Arc::clone(&self.common));
        let served = async move {
            let Ok(client) = TcpStream::from_std(client) else { return };
            match serves {
                Serves::Requests => connection::serve(client, remote, &proxy, &common).await,
                Serves::Redirects { port } => {
                    redirect::serve(client, remote, port, &common).await;
                }
            }
        };
        self.connections.spawn_on(holding(place, served), runtime);
    }

    /// Room for a client, unless there is none, or its descriptor is one of the last.
    fn place(&self, client: &TcpStream, remote: SocketAddr) -> Result<Place, Full> {
        if descriptors::may_keep(client, Taker::Client) {
            return self.room.admit(remote.ip());
        }
        descriptors::tell_scarce();
        Err(Full::Descriptors)
    }

    /// Tells a client that there is no room for it, which takes a moment and a descriptor: where
    /// there are too few it is just cut off.
    fn refuse(&self, client: TcpStream, remote: SocketAddr) {
        if descriptors::may_keep(&client, Taker::Caller)
            && let Ok(room) = Arc::clone(&self.room_to_refuse).try_acquire_owned()
        {
            let common = Arc::clone(&self.common);
            let refused = async move { connection::turn_away(client, remote, &common).await };
            self.connections.spawn(holding(room, refused));
        }
    }

    /// Those whom the kernel has connected already are not turned down by closing the door.
    fn admit_the_waiting(&self, Entrance { socket, serves }: Entrance) {
        let Ok(socket) = socket.into_std() else { return };
        for (client, remote) in waiting(&socket) {
            self.admit(client, remote, serves);
        }
    }
}

async fn holding<T>(room: T, task: impl Future<Output = ()>) {
    task.await;
    drop(room);
}

/// The connections that can be accepted without waiting.
fn waiting(socket: &StdListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    std::iter::from_fn(|| {
        let (client, remote) = socket.accept().ok()?;
        client.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(client).ok()?, remote))
    })
}
