//! A client's connection, as pingora reads and writes it: one request at a time.
//!
//! What a client sends after the end of a request stays here until that request is answered, so a
//! pipelined request is neither mistaken for the body of the one before, nor lost. Small writes are
//! gathered, so that the head and the body of an answer leave together.

use std::{
    io,
    net::SocketAddr,
    os::fd::AsRawFd as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType, l4::socket, raw_connect::ProxyDigest,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufWriter, ReadBuf};

use crate::server::{client_stream::ClientStream, control_frame_limit::ControlFrameLimit};

/// Answers up to this size leave in one packet train.
const WRITE_BUFFER_BYTES: usize = 4096;

/// Most heads fit.
const HEAD_BYTES_FIRST: usize = 4096;

/// How the end of a request's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By its length; zero when there is none.
    Length(u64),
    /// By its last chunk, which pingora finds.
    Chunked,
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Downstream {
    io: BufWriter<ClientStream>,
    /// What was read, and belongs to the body or to a later request.
    buffered: BytesMut,
    /// How much of the body is still to be read.
    body: Framing,
    /// Of HTTP/2: what its frames cost.
    control_frames: Option<ControlFrameLimit>,
    digest: Arc<SocketDigest>,
}

// === impl Downstream ===

impl Downstream {
    pub(crate) fn new(io: ClientStream, remote: SocketAddr) -> Self {
        let digest = SocketDigest::from_raw_fd(io.tcp().as_raw_fd());
        // Nobody else has the digest yet, so that nobody has set it.
        let _ = digest.peer_addr.set(Some(socket::SocketAddr::Inet(remote)));
        Self {
            io: BufWriter::with_capacity(WRITE_BUFFER_BYTES, io),
            buffered: BytesMut::new(),
            body: Framing::Length(0),
            control_frames: None,
            digest: Arc::new(digest),
        }
    }

    /// Waits for the first bytes of a request; 0 when the client is gone. Without TLS (which may
    /// have read bytes that the socket has no more) no buffer is needed meanwhile, so that idle
    /// connections cost little.
    pub(crate) async fn first_bytes(&mut self) -> io::Result<usize> {
        if self.buffered.is_empty() {
            if let ClientStream::Plain(tcp) = self.io.get_ref() {
                tcp.readable().await?;
            }
            self.buffered.reserve(HEAD_BYTES_FIRST);
            // Unlike `try_read`, this notes that all there was has been read, so that `poll_gone`
            // need not ask the system.
            return self.io.get_mut().read_buf(&mut self.buffered).await;
        }
        Ok(self.buffered.len())
    }

    /// What was read past the last request.
    pub(crate) fn take_buffered(&mut self) -> BytesMut {
        std::mem::take(&mut self.buffered)
    }

    /// Reads more of a head; 0 when the client is gone.
    pub(crate) async fn read_more(&mut self, head: &mut BytesMut) -> io::Result<usize> {
        head.reserve(HEAD_BYTES_FIRST);
        self.io.get_mut().read_buf(head).await
    }

    /// From now on a request's body is read: first what came with its head.
    pub(crate) fn begin_body(&mut self, buffered: BytesMut, body: Framing) {
        self.buffered = buffered;
        self.body = body;
    }

    /// From now on all bytes are read as they come: HTTP/2 has its own framing.
    pub(crate) fn pass_through(&mut self) {
        self.body = Framing::Chunked;
        self.control_frames = Some(ControlFrameLimit::new());
    }

    /// Makes the connection break when it is dropped, so that the client cannot take what it got
    /// for the whole answer.
    pub(crate) fn reset_on_drop(&self) {
        let _ = self.io.get_ref().tcp().set_zero_linger();
    }

    /// Says that nothing more will be sent, and passes over what the client still sends, up to a
    /// bound: closing at once would take the answer back from a client that is still sending.
    pub(crate) async fn lingering_close(&mut self, bytes_max: usize) {
        let mut discarded = self.buffered.len();
        let mut buffer = [0; 4096];
        let _ = self.io.shutdown().await;
        while discarded < bytes_max {
            match self.io.get_mut().read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(n) => discarded += n,
            }
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wanted = match self.body {
            Framing::Length(0) => return self.poll_gone(cx),
            Framing::Length(n) => usize::try_from(n).unwrap_or(usize::MAX).min(buf.remaining()),
            Framing::Chunked => buf.remaining(),
        };
        let read = if self.buffered.is_empty() {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(wanted));
            ready!(Pin::new(self.io.get_mut()).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            buf.advance(read);
            read
        } else {
            let read = wanted.min(self.buffered.len());
            buf.put_slice(&self.buffered[..read]);
            self.buffered.advance(read);
            read
        };
        if let Framing::Length(n) = &mut self.body {
            *n = n.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        }
        Poll::Ready(Ok(()))
    }

    /// After the body there is only one thing to learn before the answer: that the client is gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.buffered.is_empty() {
            return Poll::Pending;
        }
        let come = match self.io.get_mut() {
            ClientStream::Plain(tcp) => {
                let mut first = [0];
                ready!(tcp.poll_peek(cx, &mut ReadBuf::new(&mut first)))
            }
            // It cannot be looked at without being read.
            ClientStream::Tls(tls) => {
                let mut first = [0; 256];
                let mut first = ReadBuf::new(&mut first);
                let read = ready!(Pin::new(tls).poll_read(cx, &mut first));
                self.buffered.extend_from_slice(first.filled());
                read.map(|()| first.filled().len())
            }
        };
        match come {
            // The next request has come early; it waits its turn.
            Ok(1..) => Poll::Pending,
            gone => Poll::Ready(gone.map(drop)),
        }
    }
}

impl AsyncRead for Downstream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(this.poll_body(cx, buf))?;
        if let Some(control_frames) = &mut this.control_frames
            && control_frames.count(&buf.filled()[before..]).is_err()
        {
            return Poll::Ready(Err(io::Error::other("too many frames for nothing")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Downstream {
    async fn shutdown(&mut self) {
        let _ = self.io.shutdown().await;
    }
}

impl UniqueID for Downstream {
    fn id(&self) -> UniqueIDType {
        self.io.get_ref().tcp().as_raw_fd()
    }
}

impl Ssl for Downstream {}

impl Peek for Downstream {}

impl GetTimingDigest for Downstream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Downstream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Downstream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digest))
    }
}
