//! A mesh whose public port has a certificate, and who speaks to it.

use std::{fs, os::unix::fs::PermissionsExt as _};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Certificate, Client, ClientBuilder};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer},
};

use crate::{
    caller::Caller,
    test_mesh::{ADMIN, TestMesh},
};

/// A mesh of one process, with a certificate for `localhost`.
pub(crate) struct Https {
    pub(crate) world: TestMesh,
    pub(crate) port: u16,
    trusted: CertificateDer<'static>,
    _files: TempDir,
}

// === impl Https ===

impl Https {
    pub(crate) async fn start(environment: &[(&str, &str)]) -> Self {
        let files = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (files.path().join("chain.pem"), files.path().join("key.pem"));
        fs::write(&chain, cert.pem()).unwrap();
        fs::write(&key, signing_key.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let tls = [
            ("MEDISYNC_GATEWAY__TLS__CERT", chain.to_str().unwrap()),
            ("MEDISYNC_GATEWAY__TLS__KEY", key.to_str().unwrap()),
        ];
        let world = TestMesh::embedded_with(&[environment, &tls].concat()).await;
        let port = world.url("gateway").rsplit_once(':').unwrap().1.parse().unwrap();
        Self { world, port, trusted: cert.der().clone(), _files: files }
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Nobody, by HTTP/2.
    pub(crate) fn anybody(&self) -> Caller {
        self.by(Client::builder())
    }

    /// Nobody, with a client made for it.
    pub(crate) fn by(&self, client: ClientBuilder) -> Caller {
        let trusted = Certificate::from_der(&self.trusted).unwrap();
        let client = client.tls_certs_only([trusted]).build().unwrap();
        Caller { client, base: format!("https://localhost:{}", self.port), token: None }
    }

    /// A token of an administrator.
    pub(crate) async fn token(&self) -> String {
        let told = self.anybody().log_in(ADMIN, "password123").await.json();
        told["token"].as_str().unwrap().to_owned()
    }

    /// A connection that is to speak HTTP/2, after the handshake of TLS.
    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_by("h2").await
    }

    /// The same, to speak this protocol.
    pub(crate) async fn connect_by(&self, protocol: &str) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusted.clone()).unwrap();
        let mut config =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let tcp = TcpStream::connect(self.address()).await.unwrap();
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(std::sync::Arc::new(config)).connect(name, tcp).await.unwrap()
    }
}
