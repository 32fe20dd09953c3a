//! What a part's files hold, as rustls wants it: both sides of a handshake, and who is trusted.
//!
//! Revocation lists speak of leaves only: an authority that is not trusted any more is taken out of
//! the bundle. A leaf that is on no list is good. A list that is past its `nextUpdate` still
//! counts: to refuse whom it names is right for ever, and to refuse everybody else because a file
//! was not brought in time would be an outage.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, RootCertStore, ServerConfig,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::{
    HTTP_1_1, HTTP_2, PemFiles, TlsError,
    files::{certificates, private_key, revocation_lists, valid_s},
    known_servers::KnownServers,
    live_connections::{PresentedChain, Side},
};
use crate::identity::Part;

/// What the files hold.
pub struct Credentials {
    /// The authorities, DER.
    pub ca: Vec<CertificateDer<'static>>,
    /// The chain, leaf first, DER.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key, DER.
    pub key: PrivateKeyDer<'static>,
    /// When the leaf begins to be valid, in seconds since 1970.
    pub valid_from_s: i64,
    /// When the leaf ends, in seconds since 1970.
    pub expires_at_s: i64,
    pub(super) server: Arc<ServerConfig>,
    pub(super) server_strict: Arc<ServerConfig>,
    pub(super) server_grpc: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
    of_clients: Arc<dyn ClientCertVerifier>,
    of_servers: Arc<WebPkiServerVerifier>,
    pub(super) servers: KnownServers,
}

// === impl Credentials ===

impl Credentials {
    pub(super) fn read(part: Part, files: &PemFiles) -> Result<Self, TlsError> {
        let ca = certificates(&files.ca)?;
        let key = private_key(&files.key)?;
        let chain = chain_of(&key, certificates(&files.cert)?, &files.key);
        let crls = revocation_lists(&files.crl)?;
        let refused = |error| TlsError::Rustls(error, part);

        let mut roots = RootCertStore::empty();
        for authority in &ca {
            roots.add(authority.clone()).map_err(refused)?;
        }
        let roots = Arc::new(roots);
        let no_verifier = |_| TlsError::Verifier(files.ca.clone(), files.crl.clone());
        let of_clients = || {
            WebPkiClientVerifier::builder(Arc::clone(&roots))
                .with_crls(crls.clone())
                .only_check_end_entity_revocation()
                .allow_unknown_revocation_status()
        };
        let optional = of_clients().allow_unauthenticated().build().map_err(no_verifier)?;
        let required = of_clients().build().map_err(no_verifier)?;
        let of_servers = WebPkiServerVerifier::builder(Arc::clone(&roots))
            .with_crls(crls.clone())
            .only_check_end_entity_revocation()
            .allow_unknown_revocation_status()
            .build()
            .map_err(no_verifier)?;

        let server = |verifier, protocols: &[&[u8]]| {
            let mut config = ServerConfig::builder_with_protocol_versions(&[&TLS13])
                .with_client_cert_verifier(verifier)
                .with_single_cert(chain.clone(), key.clone_key())
                .map_err(refused)?;
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            // A session that is resumed shows no certificate that could be verified.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Ok::<_, TlsError>(Arc::new(config))
        };
        let mut client = ClientConfig::builder_with_protocol_versions(&[&TLS13])
            .with_webpki_verifier(Arc::clone(&of_servers))
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(refused)?;
        client.resumption = Resumption::disabled();
        let valid = valid_s(&chain, &files.cert)?;
        let credentials = Self {
            valid_from_s: valid.start,
            expires_at_s: valid.end,
            server: server(optional, &[HTTP_2, HTTP_1_1])?,
            server_strict: server(Arc::clone(&required), &[HTTP_2, HTTP_1_1])?,
            server_grpc: server(Arc::clone(&required), &[HTTP_2])?,
            client: Arc::new(client),
            of_clients: required,
            of_servers,
            servers: KnownServers::default(),
            ca,
            chain,
            key,
        };
        credentials.try_lists(part).map_err(|error| TlsError::Crl(error, files.crl.clone()))?;
        Ok(credentials)
    }

    /// The certificate with its key, as a rustls resolver wants it.
    pub fn certified_key(&self) -> Result<CertifiedKey, rustls::Error> {
        let key = rustls::crypto::ring::sign::any_supported_type(&self.key)?;
        Ok(CertifiedKey::new(self.chain.clone(), key))
    }

    /// Whether what a peer has shown would be taken now.
    pub(super) fn verify(
        &self,
        shown: &PresentedChain,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let Some((leaf, rest)) = shown.chain.split_first() else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        match shown.by {
            Side::Client => self.of_clients.verify_client_cert(leaf, rest, now).map(drop),
            Side::Server(part) => {
                let name = server_name(part)?;
                self.of_servers.verify_server_cert(leaf, rest, &name, &[], now).map(drop)
            }
        }
    }

    /// A list that our authority has not signed would have every certificate refused.
    fn try_lists(&self, part: Part) -> Result<(), rustls::Error> {
        let shown = PresentedChain { chain: self.chain.clone(), by: Side::Server(part) };
        // Within its own time, so that only the lists decide.
        let at = u64::try_from(self.expires_at_s.saturating_sub(1)).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at));
        match self.verify(&shown, at) {
            Err(rustls::Error::InvalidCertificate(CertificateError::Revoked)) => {
                tracing::error!(%part, "this part's own certificate is revoked: issue another");
                Ok(())
            }
            Err(error @ rustls::Error::InvalidCertRevocationList(_)) => Err(error),
            _ => Ok(()),
        }
    }
}

/// The chain that belongs to a key: where anyone who renews has written the key's file and not yet
/// the certificate's, it is in the key's.
fn chain_of(
    key: &PrivateKeyDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key_file: &Path,
) -> Vec<CertificateDer<'static>> {
    let is_its = |chain: &Vec<CertificateDer<'static>>| {
        let key = rustls::crypto::ring::sign::any_supported_type(key);
        key.is_ok_and(|key| CertifiedKey::new(chain.clone(), key).keys_match().is_ok())
    };
    if is_its(&chain) {
        return chain;
    }
    certificates(key_file).ok().filter(is_its).unwrap_or(chain)
}

/// The name that a part's certificate must have, since that is what TLS clients check.
pub(super) fn server_name(part: Part) -> Result<ServerName<'static>, rustls::Error> {
    ServerName::try_from(part.as_str()).map_err(|error| rustls::Error::General(error.to_string()))
}
