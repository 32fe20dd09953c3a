//! A part's certificate and the authority it trusts, as rustls wants them; read again when the
//! files change, without dropping a connection.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, server::WebPkiClientVerifier, sign::CertifiedKey,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::{net::TcpStream, time::Duration};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::{clock::Clock, error::causes, identity::Part, identity::Peer, metrics};

/// How often files of certificates are looked at.
pub const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// Where a part's PEM files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemFiles {
    /// The authorities that are trusted; several while one replaces another.
    pub ca: PathBuf,
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
    /// Certificate, key and authority do not go together.
    #[error("the certificate of {1} cannot be used")]
    Rustls(#[source] rustls::Error, Part),
    /// No authority can verify clients.
    #[error("no authority in {} can verify clients", .0.display())]
    Verifier(PathBuf),
}

/// What the files hold.
pub struct Material {
    /// The authorities, DER.
    pub ca: Vec<CertificateDer<'static>>,
    /// The chain, leaf first, DER.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key, DER.
    pub key: PrivateKeyDer<'static>,
    /// When the leaf ends, in seconds since 1970.
    pub expires_at_s: i64,
    server: Arc<ServerConfig>,
    server_strict: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// A part's TLS identity.
pub struct MeshTls {
    part: Part,
    files: PemFiles,
    material: ArcSwap<Material>,
}

// === impl Material ===

impl Material {
    fn read(part: Part, files: &PemFiles) -> Result<Self, TlsError> {
        let ca = certificates(&files.ca)?;
        let chain = certificates(&files.cert)?;
        let key = private_key(&files.key)?;
        let refused = |error| TlsError::Rustls(error, part);

        let mut roots = RootCertStore::empty();
        for authority in &ca {
            roots.add(authority.clone()).map_err(refused)?;
        }
        let roots = Arc::new(roots);
        let verifier = || WebPkiClientVerifier::builder(Arc::clone(&roots));
        let no_verifier = |_| TlsError::Verifier(files.ca.clone());
        let server = |verifier, alpn: &[&[u8]]| {
            let mut config = ServerConfig::builder_with_protocol_versions(&[&TLS13])
                .with_client_cert_verifier(verifier)
                .with_single_cert(chain.clone(), key.clone_key())
                .map_err(refused)?;
            config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
            Ok::<_, TlsError>(Arc::new(config))
        };
        let optional = verifier().allow_unauthenticated().build().map_err(no_verifier)?;
        let required = verifier().build().map_err(no_verifier)?;
        let client = ClientConfig::builder_with_protocol_versions(&[&TLS13])
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(refused)?;
        Ok(Self {
            expires_at_s: expires_at_s(&chain, &files.cert)?,
            server: server(optional, &[b"h2", b"http/1.1"])?,
            server_strict: server(required, &[b"h2", b"http/1.1"])?,
            client: Arc::new(client),
            ca,
            chain,
            key,
        })
    }

    /// The certificate with its key, as a rustls resolver wants it.
    pub fn certified_key(&self) -> Result<CertifiedKey, rustls::Error> {
        let key = rustls::crypto::ring::sign::any_supported_type(&self.key)?;
        Ok(CertifiedKey::new(self.chain.clone(), key))
    }
}

/// A connection to a part, after the handshake.
pub type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

// === impl MeshTls ===

impl MeshTls {
    /// Reads a part's files.
    pub fn load(part: Part, files: PemFiles) -> Result<Self, TlsError> {
        let material = ArcSwap::from_pointee(Material::read(part, &files)?);
        Ok(Self { part, files, material })
    }

    /// Whose it is.
    pub const fn part(&self) -> Part {
        self.part
    }

    /// What was read last. The pointer changes when the files did.
    pub fn material(&self) -> Arc<Material> {
        self.material.load_full()
    }

    /// For a listener: clients must (`strict`) or may show a certificate of the mesh.
    pub fn server_config(&self, strict: bool) -> Arc<ServerConfig> {
        let material = self.material.load();
        Arc::clone(if strict { &material.server_strict } else { &material.server })
    }

    /// Shakes hands as this part with a server that must be `part`: its certificate names the part
    /// as a DNS name, since that is what TLS clients check.
    pub async fn connect(
        &self,
        part: Part,
        stream: TcpStream,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        self.connect_alpn(part, stream, &[b"http/1.1"]).await
    }

    /// As [`Self::connect`], offering these protocols.
    pub async fn connect_alpn(
        &self,
        part: Part,
        stream: TcpStream,
        alpn: &[&[u8]],
    ) -> io::Result<ClientStream> {
        stream.set_nodelay(true)?;
        let mut config = ClientConfig::clone(&self.material.load().client);
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from(part.as_str()).map_err(io::Error::other)?;
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Reads the files again whenever they change, for ever; the caller drops the future to stop.
    ///
    /// A file that is broken or half written changes nothing: what was read before stays in use.
    pub async fn watch(&self, clock: &Clock) {
        let expiry = metrics::CERTIFICATE_EXPIRY.with_label_values(&[self.part.as_str()]);
        let failures =
            metrics::CERTIFICATE_RELOAD_FAILURES.with_label_values(&[self.part.as_str()]);
        let mut seen = self.fingerprint();
        loop {
            let now_s = clock.unix_s();
            expiry.set(self.material.load().expires_at_s.saturating_sub(now_s));
            tokio::time::sleep(LOOKED_AT_EVERY).await;
            let now = self.fingerprint();
            if now == seen {
                continue;
            }
            seen = now;
            match Material::read(self.part, &self.files) {
                Ok(material) => {
                    self.material.store(Arc::new(material));
                    tracing::info!(part = %self.part, "certificate reloaded");
                }
                Err(error) => {
                    failures.inc();
                    tracing::warn!(part = %self.part, error = causes(&error), "certificate kept");
                }
            }
        }
    }

    fn fingerprint(&self) -> Fingerprint<3> {
        Fingerprint::of([&self.files.ca, &self.files.cert, &self.files.key])
    }
}

impl std::fmt::Debug for MeshTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshTls").field("part", &self.part).finish_non_exhaustive()
    }
}

/// What tells that files have changed: when they were written, and how long they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint<const N: usize>([Option<(SystemTime, u64)>; N]);

// === impl Fingerprint ===

impl<const N: usize> Fingerprint<N> {
    /// Of these files, as they are now.
    pub fn of(files: [&PathBuf; N]) -> Self {
        Self(files.map(|path| {
            let about = fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len()))
        }))
    }
}

/// Whom a verified certificate names: it must have exactly one URI, as SPIFFE asks.
pub fn peer_of(certificate: &CertificateDer<'_>) -> Peer {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Peer::Stranger;
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Peer::Stranger;
    };
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Peer::from_spiffe_id(uri),
        _ => Peer::Stranger,
    }
}

/// When the certificate in a file ends, in seconds since 1970.
pub fn expiry_s(path: &Path) -> Result<i64, TlsError> {
    expires_at_s(&certificates(path)?, path)
}

/// When the leaf of a chain ends, in seconds since 1970; the path is for the error.
pub fn expires_at_s(chain: &[CertificateDer<'static>], path: &Path) -> Result<i64, TlsError> {
    let leaf = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok());
    leaf.map(|(_, leaf)| leaf.validity().not_after.timestamp())
        .ok_or_else(|| TlsError::Pem { kind: "certificate", path: path.to_owned() })
}

/// The certificates of a PEM file, in their order; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::Pem { kind: "certificate", path: path.to_owned() }),
    }
}

/// The private key of a PEM file.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| TlsError::Pem { kind: "private key", path: path.to_owned() })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Read(error, path.to_owned()))
}
