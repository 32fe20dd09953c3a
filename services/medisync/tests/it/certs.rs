//! Certificates: those of the mesh, and those that somebody might try instead.

use std::{fs, io, path::PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use reqwest::Client;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        version::TLS13,
    },
};

use crate::test_mesh::TestMesh;

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) pem: String,
    pub(crate) key: String,
}

/// Who can issue certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

// === impl Identity ===

impl Identity {
    /// What the mesh has issued to itself: a part's, or the authority's own (`ca`).
    pub(crate) fn of(world: &TestMesh, name: &str) -> Self {
        let read = |ending| fs::read_to_string(pki(world).join(format!("{name}.{ending}")));
        Self { pem: read("pem").unwrap(), key: read("key").unwrap() }
    }

    /// The certificate, DER.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.chain().swap_remove(0)
    }

    /// All that is in the file, DER.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.pem.as_bytes()).map(Result::unwrap).collect()
    }
}

// === impl Authority ===

impl Authority {
    /// The mesh's own, whose key somebody got hold of.
    pub(crate) fn of(world: &TestMesh) -> Self {
        Self::by(&Identity::of(world, "ca"))
    }

    /// Anyone who has this certificate and key, whatever they are for.
    pub(crate) fn by(Identity { pem, key }: &Identity) -> Self {
        let issuer = Issuer::from_ca_cert_pem(pem, KeyPair::from_pem(key).unwrap()).unwrap();
        Self { issuer, pem: pem.clone() }
    }

    /// One with the name of the mesh's, and another key.
    pub(crate) fn impostor(world: &TestMesh) -> Self {
        let Identity { pem, .. } = Identity::of(world, "ca");
        let issuer = Issuer::from_ca_cert_pem(&pem, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, pem }
    }

    /// One that nobody knows.
    pub(crate) fn stranger() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, "another authority");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self::by(&Identity { pem, key: key.serialize_pem() })
    }

    /// A certificate as the mesh would issue it, but for what is changed.
    pub(crate) fn issue(
        &self,
        common_name: &str,
        uris: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf(common_name, uris);
        change(&mut params);
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        // Anyone who is to believe it has to see by whom it is.
        Identity { pem: format!("{pem}{}", self.pem), key: key.serialize_pem() }
    }

    /// The same, by nobody but its own key.
    pub(crate) fn self_signed(common_name: &str, uris: &[&str]) -> Identity {
        let key = KeyPair::generate().unwrap();
        let pem = leaf(common_name, uris).self_signed(&key).unwrap().pem();
        Identity { pem, key: key.serialize_pem() }
    }
}

fn leaf(common_name: &str, uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = uris
        .iter()
        .map(|uri| SanType::URI((*uri).try_into().unwrap()))
        .chain([SanType::DnsName(common_name.try_into().unwrap())])
        .collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    params
}

/// A client that trusts the mesh's authority and shows this, or no, certificate.
pub(crate) fn client(world: &TestMesh, identity: Option<&Identity>) -> Client {
    let trusted = Identity::of(world, "ca").pem;
    let trusted = reqwest::Certificate::from_pem_bundle(trusted.as_bytes()).unwrap();
    let mut client = Client::builder().tls_certs_only(trusted);
    if let Some(Identity { pem, key }) = identity {
        let bundle = format!("{pem}{key}");
        client = client.identity(reqwest::Identity::from_pem(bundle.as_bytes()).unwrap());
    }
    client.build().unwrap()
}

/// How a client begins, with empty settings (RFC 9113, 3.4).
pub(crate) const HTTP_2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Shakes hands with the port of a URL, as a client that offers only these versions and protocols.
pub(crate) async fn handshake(
    world: &TestMesh,
    url: &str,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(Identity::of(world, "ca").chain());
    let config =
        ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
            config.with_client_auth_cert(identity.chain(), key).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(url.split_once("://").unwrap().1).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await
}

/// Whether the other end took us: in TLS 1.3 it says no only after the client's part is done.
pub(crate) async fn taken(handshake: io::Result<TlsStream<TcpStream>>) -> bool {
    let Ok(mut stream) = handshake else { return false };
    let request = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => HTTP_2_PREFACE,
        _ => b"GET /v3/api-docs HTTP/1.1\r\nhost: localhost\r\n\r\n",
    };
    let mut first = [0];
    stream.write_all(request).await.is_ok() && matches!(stream.read(&mut first).await, Ok(1))
}

/// The certificate that a part's port shows to a new connection.
pub(crate) async fn shown(world: &TestMesh, part: &str) -> Vec<u8> {
    let stream = handshake(world, world.url(part), None, &[&TLS13], &[]).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// Where the mesh keeps its certificates.
pub(crate) fn pki(world: &TestMesh) -> PathBuf {
    world.data().join("pki")
}
