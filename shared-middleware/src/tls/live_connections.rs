//! Connections that are open, and whether those at their other ends may still be trusted.
//!
//! A handshake proves who somebody is at that moment. Certificates end, are revoked, and lose their
//! authority while connections live on; so what every peer has shown is kept, and verified again
//! when the files were read anew. The holder of a connection is notified when it has to end.

use std::{
    collections::HashMap,
    future::Future as _,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use rustls::CertificateError;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use super::{Credentials, peer_of};
use crate::{
    identity::{Part, Peer},
    metrics,
};

/// What the other end of a connection has shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct PresentedChain {
    /// Leaf first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) by: Side,
}

/// Which end it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Client,
    /// The server that is called for this part.
    Server(Part),
}

/// Why a peer is not trusted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its certificate has ended.
    Expired,
    /// Its certificate is on a revocation list.
    Revoked,
    /// Its authority is not one of ours any more.
    Untrusted,
}

/// Every connection of a part that a certificate was shown on.
pub(super) struct LiveConnections {
    part: Part,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    next: u64,
    by_id: HashMap<u64, Entry>,
}

struct Entry {
    shown: Arc<PresentedChain>,
    expires_at_s: i64,
    /// By what it was found trusted.
    by: Arc<Credentials>,
    /// Dropped when it is trusted no more.
    _trusted: oneshot::Sender<()>,
}

/// A place among the open connections, given back when dropped.
struct Trust {
    open: Arc<LiveConnections>,
    id: u64,
    /// Ends when the peer is trusted no more.
    lost: oneshot::Receiver<()>,
}

/// A connection of the mesh: it breaks when the peer may not be trusted any more.
pub struct MeshStream<S> {
    inner: S,
    peer: Option<Peer>,
    trust: Option<Trust>,
}

// === impl Reason ===

impl Reason {
    pub(super) const ALL: [Self; 3] = [Self::Expired, Self::Revoked, Self::Untrusted];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Untrusted => "untrusted",
        }
    }

    fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Revoked) => Self::Revoked,
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => Self::Expired,
            _ => Self::Untrusted,
        }
    }
}

// === impl LiveConnections ===

impl LiveConnections {
    pub(super) fn new(part: Part) -> Arc<Self> {
        for reason in Reason::ALL {
            // There from the start, so that a dashboard finds it.
            metrics::CONNECTIONS_CLOSED.with_label_values(&[part.as_str(), reason.as_str()]);
        }
        Arc::new(Self { part, entries: Mutex::default() })
    }

    /// Watches over a connection whose handshake went well by `credentials`; one whose peer has
    /// shown nothing has nothing to lose.
    pub(super) fn watch_over<S>(
        self: &Arc<Self>,
        inner: S,
        shown: PresentedChain,
        credentials: Arc<Credentials>,
    ) -> MeshStream<S> {
        let Some(leaf) = shown.chain.first() else {
            return MeshStream { inner, peer: None, trust: None };
        };
        let peer = Some(peer_of(leaf));
        // rustls has parsed it, so there is an end.
        let expires_at_s =
            super::expires_at_s(&shown.chain, std::path::Path::new("")).unwrap_or_default();
        let (trusted, lost) = oneshot::channel();
        let shown = Arc::new(shown);
        let entry = Entry { shown, expires_at_s, by: credentials, _trusted: trusted };
        let mut entries = self.entries();
        let id = entries.next;
        entries.next += 1;
        entries.by_id.insert(id, entry);
        let trust = Trust { open: Arc::clone(self), id, lost };
        MeshStream { inner, peer, trust: Some(trust) }
    }

    /// Breaks the connections whose peers have come to their end or are not trusted by what was
    /// read last, also when that was during the handshake.
    pub(super) fn revalidate(&self, current: &Arc<Credentials>, now_s: i64) {
        let now = Duration::from_secs(u64::try_from(now_s).unwrap_or_default());
        let now = UnixTime::since_unix_epoch(now);
        // Most connections are of few peers.
        let mut verdicts = HashMap::new();
        self.entries().by_id.retain(|_, entry| {
            let reason = if entry.expires_at_s < now_s {
                Some(Reason::Expired)
            } else if Arc::ptr_eq(&entry.by, current) {
                None
            } else {
                entry.by = Arc::clone(current);
                *verdicts.entry(Arc::clone(&entry.shown)).or_insert_with(|| {
                    current.verify(&entry.shown, now).err().as_ref().map(Reason::of)
                })
            };
            reason.inspect(|reason| self.tell(&entry.shown, *reason)).is_none()
        });
    }

    fn tell(&self, shown: &PresentedChain, reason: Reason) {
        let (part, reason) = (self.part, reason.as_str());
        let peer = shown.chain.first().map_or("none", |leaf| peer_of(leaf).as_str());
        metrics::CONNECTIONS_CLOSED.with_label_values(&[part.as_str(), reason]).inc();
        tracing::warn!(
            %part, peer, reason,
            "connection closed: peer certificate no longer trusted"
        );
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        // What is done under the lock leaves nothing half done.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Trust ===

impl Trust {
    /// An error when it is lost; else anyone who asks is woken then.
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.lost.is_terminated() || Pin::new(&mut self.lost).poll(cx).is_ready() {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the peer is not trusted any more",
            ));
        }
        Ok(())
    }
}

impl Drop for Trust {
    fn drop(&mut self) {
        self.open.entries().by_id.remove(&self.id);
    }
}

// === impl MeshStream ===

impl<S> MeshStream<S> {
    /// The connection itself.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Who is at the other end, by certificate; none when it has shown none.
    pub const fn peer(&self) -> Option<Peer> {
        self.peer
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.trust.as_mut().map_or(Ok(()), |trust| trust.poll_lost(cx))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MeshStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_lost(cx)?;
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeshStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_lost(cx)?;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_lost(cx)?;
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
