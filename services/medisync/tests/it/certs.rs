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
    },
};

use crate::world::World;

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) pem: String,
    pub(crate) key: String,
}

/// Who can issue certificates.
pub(crate) struct Authority(Issuer<'static, KeyPair>);

// === impl Identity ===

impl Identity {
    /// What the mesh has issued to itself: a part's, or the authority's own (`ca`).
    pub(crate) fn of(world: &World, name: &str) -> Self {
        let read = |ending| fs::read_to_string(pki(world).join(format!("{name}.{ending}")));
        Self { pem: read("pem").unwrap(), key: read("key").unwrap() }
    }

    /// The certificate, DER.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()
    }
}

// === impl Authority ===

impl Authority {
    /// The mesh's own, whose key somebody got hold of.
    pub(crate) fn of(world: &World) -> Self {
        let Identity { pem, key } = Identity::of(world, "ca");
        Self(Issuer::from_ca_cert_pem(&pem, KeyPair::from_pem(&key).unwrap()).unwrap())
    }

    /// One with the same name and another key.
    pub(crate) fn impostor() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, "MediSync mesh authority");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::from_ca_cert_pem(&pem, key).unwrap())
    }

    /// A certificate as the mesh would issue it, but for what is changed.
    pub(crate) fn issue(
        &self,
        common_name: &str,
        uris: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let key = KeyPair::generate().unwrap();
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
        change(&mut params);
        let pem = params.signed_by(&key, &self.0).unwrap().pem();
        Identity { pem, key: key.serialize_pem() }
    }
}

/// Certificates of the mesh's authority that resemble this part's, and are not.
pub(crate) fn lookalikes(world: &World, part: &str) -> Vec<(String, Identity)> {
    let authority = Authority::of(world);
    let right = format!("spiffe://medisync/{part}");
    let near = [
        format!("spiffe://medisync/{part}2"),
        format!("spiffe://medisync/{part}/"),
        format!("spiffe://medisync/{part}/x"),
        format!("spiffe://medisync/x/{part}"),
        format!("spiffe://medisync//{part}"),
        format!("spiffe://medisync/{part}?x"),
        format!("spiffe://medisync/{part}#x"),
        format!("spiffe://medisync/ {part}"),
        format!("spiffe://medisync/{}", part.to_uppercase()),
        format!("spiffe://medisync.evil/{part}"),
        format!("spiffe://evil/medisync/{part}"),
        format!("spiffe://medisync:443/{part}"),
        format!("spiffe://x@medisync/{part}"),
        format!("SPIFFE://medisync/{part}"),
        format!("https://medisync/{part}"),
        "spiffe://medisync/archive".to_owned(),
        "spiffe://medisync/".to_owned(),
    ];
    let mut all: Vec<_> =
        near.into_iter().map(|uri| (uri.clone(), authority.issue(part, &[&uri], |_| {}))).collect();
    let other = "spiffe://medisync/archive";
    for uris in [&[&*right, other][..], &[other, &right], &[&right, &right], &[]] {
        all.push((format!("{uris:?}"), authority.issue(part, uris, |_| {})));
    }
    all
}

/// A client that trusts the mesh's authority and shows this, or no, certificate.
pub(crate) fn client(world: &World, identity: Option<&Identity>) -> Client {
    let ca = reqwest::Certificate::from_pem(Identity::of(world, "ca").pem.as_bytes()).unwrap();
    let mut client = Client::builder().tls_certs_only([ca]);
    if let Some(Identity { pem, key }) = identity {
        let bundle = format!("{pem}{key}");
        client = client.identity(reqwest::Identity::from_pem(bundle.as_bytes()).unwrap());
    }
    client.build().unwrap()
}

/// Shakes hands with the port of a URL, as a client that offers only these versions and protocols.
pub(crate) async fn handshake(
    world: &World,
    url: &str,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(Identity::of(world, "ca").der()).unwrap();
    let config =
        ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
            config.with_client_auth_cert(vec![identity.der()], key).unwrap()
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
    let request = b"GET /v3/api-docs HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut first = [0];
    stream.write_all(request).await.is_ok() && matches!(stream.read(&mut first).await, Ok(1))
}

/// Where the mesh keeps its certificates.
pub(crate) fn pki(world: &World) -> PathBuf {
    world.data().join("pki")
}
