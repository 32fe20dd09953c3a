//! A client of HTTP/2 that writes its own frames.

use testbed::{
    corpora::RequestFields,
    frames::{self, Frame, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::test_gateway::{TestGateway, soon};
use crate::test_support::PublicFiles;

/// One connection.
pub(super) struct Raw {
    pub(super) tls: TlsStream<TcpStream>,
    read: Vec<u8>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It was answered.
    Status(u16),
    /// Its stream was reset.
    Reset,
    /// The connection was.
    Gone,
}

// === impl Raw ===

impl Raw {
    /// After the handshakes of TLS and, as far as the client's part goes, of HTTP/2.
    pub(super) async fn connect(gateway: &TestGateway) -> Self {
        let tcp = TcpStream::connect(gateway.running.address()).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let tls = soon(PublicFiles::client(b"h2").connect(name, tcp)).await.unwrap();
        let mut client = Self { tls, read: Vec::new() };
        client.send(&[PREFACE, &frames::frame(SETTINGS, 0, 0, &[])].concat()).await;
        client
    }

    /// Sends bytes; the other end may be gone.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.tls.write_all(bytes).await.is_ok() && self.tls.flush().await.is_ok()
    }

    /// The next frame; none at the end of the connection.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = frames::take(&mut self.read) {
                return Some(frame);
            }
            if !matches!(soon(self.tls.read_buf(&mut self.read)).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// The next frame of this kind, if there is one before the end.
    pub(super) async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Makes the first request of the connection; what becomes of it.
    pub(super) async fn ask(
        &mut self,
        fields: &RequestFields,
        body: Option<&[u8]>,
        trailers: Option<&RequestFields>,
    ) -> Ending {
        self.send(&frames::request(1, fields, body, trailers)).await;
        loop {
            match self.next().await {
                Some(Frame { kind: HEADERS, stream: 1, payload, .. }) => {
                    return Ending::Status(frames::status(&payload).unwrap());
                }
                Some(Frame { kind: RST_STREAM, stream: 1, .. }) => return Ending::Reset,
                Some(Frame { kind: GOAWAY, .. }) | None => return Ending::Gone,
                Some(_) => {}
            }
        }
    }
}
