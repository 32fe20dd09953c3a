//! Who is let in at the admin listener: everybody, also when clients have taken all file
//! descriptors that they could get. Whoever asks then whether the process is ready must be
//! answered, or the process is ended for being full.

use std::{io, net::SocketAddr};

use axum::serve;
use shared_middleware::descriptors::{Reserve, accept_failed, is_exhausted};
use tokio::net::{TcpListener, TcpStream};

/// So many can be let in when there is no other descriptor.
const RESERVE: usize = 16;

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
}

impl serve::Listener for AdminListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
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

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.address()
    }
}
