//! Who is let in at the admin listener: everybody, also when clients have taken all file
//! descriptors that they could get. Anyone who asks then whether the process is ready must be
//! answered, or the process is ended for being full.
//!
//! Connections are few and short. When there are too many, the oldest one is closed: anyone who
//! holds them open, without a request or with half of one, keeps nobody else out.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::Router;
use hyper::{Request, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use shared_middleware::descriptors::{Reserve, accept_failed, is_exhausted};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tower::ServiceExt as _;

use super::log_level::Source;

/// This many can be let in when there is no other descriptor.
const RESERVE: usize = 16;
const CONNECTIONS_MAX: usize = 64;
/// A request's head must be here so soon, also on a connection that waits for the next one.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 16 << 10;

/// The listener, with descriptors of its own.
pub(crate) struct AdminListener {
    socket: TcpListener,
    reserve: Reserve,
}

// === impl AdminListener ===

impl AdminListener {
    /// Opens it.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await?, reserve: Reserve::of(RESERVE)? })
    }

    /// Where: the port that was free when 0 was asked for.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves for ever; the caller drops the future to stop.
    pub(super) async fn serve(mut self, routes: Router) {
        let (mut open, mut order) = (JoinSet::new(), VecDeque::<AbortHandle>::new());
        loop {
            tokio::select! {
                (stream, from) = self.accept() => {
                    order.retain(|connection| !connection.is_finished());
                    if order.len() >= CONNECTIONS_MAX
                        && let Some(oldest) = order.pop_front()
                    {
                        oldest.abort();
                    }
                    let served = connection(stream, from.ip(), routes.clone());
                    order.push_back(open.spawn(served));
                }
                Some(_) = open.join_next() => {}
            }
        }
    }

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            // What was given up before is held again as soon as there is any.
            let _ = self.reserve.refill();
            match self.socket.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_exhausted(&error) && self.reserve.release_one() => {
                    if let Ok(accepted) = self.socket.accept().await {
                        return accepted;
                    }
                }
                Err(error) => accept_failed(&error).await,
            }
        }
    }
}

async fn connection(stream: TcpStream, from: IpAddr, routes: Router) {
    let _ = stream.set_nodelay(true);
    let routes = TowerToHyperService::new(routes.map_request(move |mut request: Request<_>| {
        request.extensions_mut().insert(Source(from));
        request
    }));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), routes);
    // A client that goes away is no error of ours.
    let _ = served.await;
}
