//! A part's certificate and the authority it trusts, as rustls wants them; read again when the
//! files change, without dropping a connection whose peer is still trusted.
//!
//! - `files` reads PEM files.
//! - `credentials` is what they hold: both sides of a handshake, and who is trusted.
//! - `known_servers` remembers which certificates are a part's.
//! - `live_connections` verifies the peers of open connections again.
//! - `mutual` is for two parts of one process, between which there is no handshake.

mod credentials;
mod files;
mod known_servers;
mod live_connections;
mod mutual;

use std::{io, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use tokio::{net::TcpStream, time::Duration};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

pub(crate) use self::mutual::MutualTrust;
pub use self::{
    credentials::Credentials,
    files::{
        Fingerprint, certificates, expires_at_s, expiry_s, private_key, revocation_lists,
        revoked_serials, validity_s,
    },
    live_connections::MeshStream,
};
use self::{
    credentials::server_name,
    live_connections::{LiveConnections, PresentedChain, Side},
};
use crate::{clock::Clock, error::causes, identity::Part, identity::Peer, metrics};

/// Protocols as ALPN names them (RFC 7301).
pub const HTTP_1_1: &[u8] = b"http/1.1";
/// See [`HTTP_1_1`].
pub const HTTP_2: &[u8] = b"h2";

/// How often files of certificates are looked at.
pub const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// Where a part's PEM files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemFiles {
    /// The authorities that are trusted; several while one replaces another.
    pub ca: PathBuf,
    /// The lists of certificates that they have revoked; there need be none.
    pub crl: PathBuf,
    /// The part's certificate chain, leaf first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", .1.display())]
    Read(#[source] io::Error, PathBuf),
    /// A file holds no such PEM object.
    #[error("{} holds no usable {kind}", .path.display())]
    Pem {
        /// What was looked for.
        kind: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// Others than its owner can read a private key.
    #[error(
        "{} is a private key that others can read (mode {mode:04o}): make it 0600",
        .path.display()
    )]
    Exposed {
        /// Where.
        path: PathBuf,
        /// Who may do what with it.
        mode: u32,
    },
    /// Certificate, key and authority do not go together.
    #[error("the certificate of {1} cannot be used")]
    Rustls(#[source] rustls::Error, Part),
    /// No authority can verify clients.
    #[error("{} and {} can verify nobody", .0.display(), .1.display())]
    Verifier(PathBuf, PathBuf),
    /// A revocation list is not of the authority that it names.
    #[error("{} holds no usable revocation list", .1.display())]
    Crl(#[source] rustls::Error, PathBuf),
}

/// A connection to a part, after the handshake.
pub type ClientStream = MeshStream<client::TlsStream<TcpStream>>;

/// A connection from a client, after the handshake.
pub type ServerStream = MeshStream<server::TlsStream<TcpStream>>;

/// A part's TLS identity.
pub struct MeshTls {
    part: Part,
    files: PemFiles,
    credentials: ArcSwap<Credentials>,
    open: Arc<LiveConnections>,
}

// === impl MeshTls ===

impl MeshTls {
    /// Reads a part's files.
    pub fn load(part: Part, files: PemFiles) -> Result<Self, TlsError> {
        let credentials = ArcSwap::from_pointee(Credentials::read(part, &files)?);
        // There from the start, so that a dashboard finds it.
        metrics::CERTIFICATE_RELOAD_FAILURES.with_label_values(&[part.as_str()]);
        Ok(Self { part, files, credentials, open: LiveConnections::new(part) })
    }

    /// Whose it is.
    pub const fn part(&self) -> Part {
        self.part
    }

    /// What was read last. The pointer changes when the files did.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.credentials.load_full()
    }

    /// Whether its certificate is valid then: neither too old nor of the future, as after a clock
    /// was set back. Where it is not, others refuse it, or it refuses theirs.
    pub fn is_valid(&self, at_s: i64) -> bool {
        let credentials = self.credentials();
        (credentials.valid_from_s..credentials.expires_at_s).contains(&at_s)
    }

    /// Shakes hands with a client, who must (`strict`) or may show a certificate of the mesh.
    pub async fn accept(&self, strict: bool, stream: TcpStream) -> io::Result<ServerStream> {
        let credentials = self.credentials();
        let config = if strict { &credentials.server_strict } else { &credentials.server };
        let stream = TlsAcceptor::from(Arc::clone(config)).accept(stream).await?;
        Ok(self.accepted(stream, credentials))
    }

    /// As a strict [`Self::accept`], with a client that says that it speaks HTTP/2, as RFC 9113
    /// (3.2) has it.
    pub async fn accept_grpc(&self, stream: TcpStream) -> io::Result<ServerStream> {
        let credentials = self.credentials();
        let config = Arc::clone(&credentials.server_grpc);
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(HTTP_2) {
            return Err(io::Error::other("the client does not say that it speaks HTTP/2"));
        }
        Ok(self.accepted(stream, credentials))
    }

    fn accepted(
        &self,
        stream: server::TlsStream<TcpStream>,
        credentials: Arc<Credentials>,
    ) -> ServerStream {
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        self.open.watch_over(stream, PresentedChain { chain, by: Side::Client }, credentials)
    }

    /// Shakes hands as this part with a server that must be `part`.
    pub async fn connect(&self, part: Part, stream: TcpStream) -> io::Result<ClientStream> {
        self.connect_alpn(part, stream, &[HTTP_1_1]).await
    }

    /// As [`Self::connect`], offering these protocols.
    ///
    /// The server's certificate must name the part as TLS clients know servers (a DNS name), and as
    /// the mesh knows parts.
    pub async fn connect_alpn(
        &self,
        part: Part,
        stream: TcpStream,
        alpn: &[&[u8]],
    ) -> io::Result<ClientStream> {
        stream.set_nodelay(true)?;
        let credentials = self.credentials();
        let mut config = ClientConfig::clone(&credentials.client);
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = server_name(part).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let leaf = chain.first().cloned();
        let shown = PresentedChain { chain, by: Side::Server(part) };
        let stream = self.open.watch_over(stream, shown, Arc::clone(&credentials));
        if stream.peer() != Some(Peer::Part(part)) {
            return Err(io::Error::other("the server's certificate is of another part"));
        }
        if let Some(leaf) = leaf {
            credentials.servers.remember(part, &leaf);
        }
        Ok(stream)
    }

    /// Whether the certificate with this SHA-256 is one that [`Self::connect`] has accepted as this
    /// part's, under the authorities and revocation lists of now.
    pub fn knows_server(&self, part: Part, sha256: &[u8]) -> bool {
        self.credentials.load().servers.has(part, sha256)
    }

    /// Reads the files again whenever they change, and closes connections whose peers are not
    /// trusted any more, for ever; the caller drops the future to stop.
    ///
    /// A file that is broken or half written changes nothing: what was read before stays in use.
    pub async fn watch(&self, clock: &Clock) {
        let expiry = metrics::CERTIFICATE_EXPIRY.with_label_values(&[self.part.as_str()]);
        let mut seen = self.fingerprint();
        let mut was_valid = true;
        loop {
            let (credentials, now_s) = (self.credentials(), clock.unix_s());
            expiry.set(credentials.expires_at_s.saturating_sub(now_s));
            let is_valid = self.is_valid(now_s);
            if was_valid && !is_valid {
                let part = self.part.as_str();
                tracing::warn!(part, "certificate is not valid at this machine's time");
            }
            was_valid = is_valid;
            self.open.revalidate(&credentials, now_s);
            tokio::time::sleep(LOOKED_AT_EVERY).await;
            let now = self.fingerprint();
            if now != seen {
                seen = now;
                self.read_again();
            }
        }
    }

    /// Reads the files again, and logs the outcome.
    pub fn read_again(&self) {
        match Credentials::read(self.part, &self.files) {
            Ok(credentials) => {
                self.credentials.store(Arc::new(credentials));
                tracing::info!(part = %self.part, "certificate reloaded");
            }
            Err(error) => {
                let part = self.part.as_str();
                metrics::CERTIFICATE_RELOAD_FAILURES.with_label_values(&[part]).inc();
                tracing::warn!(
                    part,
                    error = causes(&error),
                    "certificate reload failed, keeping the previous one"
                );
            }
        }
    }

    fn fingerprint(&self) -> Fingerprint<4> {
        let PemFiles { ca, crl, cert, key } = &self.files;
        Fingerprint::of([ca, crl, cert, key])
    }
}

impl std::fmt::Debug for MeshTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshTls").field("part", &self.part).finish_non_exhaustive()
    }
}

/// Whom a verified certificate names: it must have exactly one URI, as SPIFFE asks.
pub fn peer_of(certificate: &CertificateDer<'_>) -> Peer {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Peer::Unknown;
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Peer::Unknown;
    };
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Peer::from_spiffe_id(uri),
        _ => Peer::Unknown,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::tests::test_pair;
