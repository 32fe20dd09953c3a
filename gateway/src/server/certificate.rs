//! The certificate that clients see on the public port; read again when its files change, without
//! dropping a connection.

use std::{fmt, path::PathBuf, sync::Arc, sync::LazyLock};

use arc_swap::ArcSwap;
use prometheus::{IntGauge, register_int_gauge};
use rustls::{
    ServerConfig,
    version::{TLS12, TLS13},
};
use shared_middleware::{
    clock::Clock,
    error::causes,
    identity::Part,
    tls::{Fingerprint, LOOKED_AT_EVERY, TlsError, certificates, expires_at_s, private_key},
};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

static EXPIRY: LazyLock<IntGauge> = LazyLock::new(|| {
    let help = "Seconds until the certificate of the public port ends.";
    register_int_gauge!("gateway_certificate_expiry_seconds", help)
        .expect("the name is registered once")
});

/// What the public port shows of itself. Clients show no certificate: they have tokens.
pub struct PublicTls {
    cert: PathBuf,
    key: PathBuf,
    current: ArcSwap<Certificate>,
}

struct Certificate {
    config: Arc<ServerConfig>,
    expires_at_s: i64,
}

// === impl PublicTls ===

impl PublicTls {
    /// Reads a chain, leaf first, and its private key: PEM files.
    ///
    /// # Errors
    /// When they cannot be read or do not go together.
    pub fn load(cert: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(Certificate::read(&cert, &key)?);
        Ok(Self { cert, key, current })
    }

    /// Who shakes hands, with the certificate that was read last.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.load().config))
    }

    /// Reads the files again whenever they change, for ever; the caller drops the future to stop.
    /// Files that are broken or half written change nothing.
    pub(crate) async fn watch(&self, clock: &Clock) {
        let mut seen = self.fingerprint();
        loop {
            EXPIRY.set(self.current.load().expires_at_s.saturating_sub(clock.unix_s()));
            sleep(LOOKED_AT_EVERY).await;
            let now = self.fingerprint();
            if now == seen {
                continue;
            }
            seen = now;
            self.read_again();
        }
    }

    /// Reads the files again, and logs the outcome.
    pub fn read_again(&self) {
        match Certificate::read(&self.cert, &self.key) {
            Ok(certificate) => {
                self.current.store(Arc::new(certificate));
                tracing::info!("public certificate reloaded");
            }
            Err(error) => tracing::warn!(
                error = causes(&error),
                "public certificate reload failed, keeping the previous one"
            ),
        }
    }

    fn fingerprint(&self) -> Fingerprint<2> {
        Fingerprint::of([&self.cert, &self.key])
    }
}

impl fmt::Debug for PublicTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicTls").field("cert", &self.cert).finish_non_exhaustive()
    }
}

// === impl Certificate ===

impl Certificate {
    fn read(cert: &std::path::Path, key: &std::path::Path) -> Result<Self, TlsError> {
        let chain = certificates(cert)?;
        let expires_at_s = expires_at_s(&chain, cert)?;
        let mut config = ServerConfig::builder_with_protocol_versions(&[&TLS13, &TLS12])
            .with_no_client_auth()
            .with_single_cert(chain, private_key(key)?)
            .map_err(|error| TlsError::Rustls(error, Part::Gateway))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), expires_at_s })
    }
}
