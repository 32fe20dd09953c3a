//! Handshakes of parts with one another and with impostors, over real sockets; and what becomes of
//! a connection when its peer is not trusted any more.

use std::{fs, os::unix::fs::PermissionsExt as _};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::token::install_crypto;

mod in_one_process;

/// Between the beginning and the end of every certificate here.
const NOW_S: i64 = 1_800_000_000;
const AFTER_THE_END_S: i64 = 4_200_000_000;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key.
struct Issued {
    certificate: Certificate,
    key: KeyPair,
}

/// A part's files, which can be written again.
struct Files {
    folder: TempDir,
    serial_number: Vec<u8>,
}

/// Both ends of one connection.
struct Joined {
    client: ClientStream,
    server: ServerStream,
}

// === impl Authority ===

impl Authority {
    fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::from_ca_cert_pem(&pem, key).unwrap(), pem }
    }

    fn issue(&self, uri: &str, dns: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            vec![SanType::URI(uri.try_into().unwrap()), SanType::DnsName(dns.try_into().unwrap())];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2099, 1, 1);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate, key }
    }

    /// A list that ended long ago, as every list does in the end.
    fn revoke(&self, serial_numbers: &[&[u8]]) -> String {
        let revoked = |serial: &&[u8]| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2021, 1, 2),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serial_numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

// === impl Files ===

impl Files {
    fn of(part: Part, authority: &Authority) -> (Self, MeshTls) {
        install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let issued = authority.issue(&part.spiffe_id(), part.as_str(), |_| {});
        let (_, parsed) = X509Certificate::from_der(issued.certificate.der()).unwrap();
        let serial_number = parsed.raw_serial().to_vec();
        let files = Self { folder, serial_number };
        files.write("ca.pem", &authority.pem);
        files.write("cert.pem", &issued.certificate.pem());
        files.write("key.pem", &issued.key.serialize_pem());
        let tls = MeshTls::load(part, files.paths()).unwrap();
        (files, tls)
    }

    fn paths(&self) -> PemFiles {
        let path = |name| self.folder.path().join(name);
        PemFiles {
            ca: path("ca.pem"),
            crl: path("crl.pem"),
            cert: path("cert.pem"),
            key: path("key.pem"),
        }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

// === impl Joined ===

impl Joined {
    async fn by(client: &MeshTls, server: &MeshTls) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap());
        let (stream, accepted) = tokio::join!(stream, listener.accept());
        let (client, server) = tokio::join!(
            client.connect(server.part(), stream.unwrap()),
            server.accept(true, accepted.unwrap().0),
        );
        Self { client: client.unwrap(), server: server.unwrap() }
    }

    async fn carries_bytes(&mut self) {
        let mut got = [0; 2];
        self.client.write_all(b"to").await.unwrap();
        self.server.read_exact(&mut got).await.unwrap();
        self.server.write_all(&got).await.unwrap();
        self.client.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"to");
    }
}

/// Two parts of one mesh. Their files are read once, and gone.
pub(crate) fn test_pair(client: Part, server: Part) -> (Arc<MeshTls>, Arc<MeshTls>) {
    let authority = Authority::named("authority");
    let of = |part| Arc::new(Files::of(part, &authority).1);
    (of(client), of(server))
}

async fn is_broken(end: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let read = end.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(read.kind(), io::ErrorKind::ConnectionAborted);
    assert!(end.write(b"x").await.is_err());
}

fn look_again(tls: &MeshTls) {
    tls.read_again();
    tls.open.revalidate(&tls.credentials(), NOW_S);
}

fn closed(part: Part, reason: &str) -> u64 {
    metrics::CONNECTIONS_CLOSED.with_label_values(&[part.as_str(), reason]).get()
}

#[tokio::test]
async fn whom_a_list_names_is_cut_off_at_either_end_and_others_are_not() {
    let authority = Authority::named("authority");
    let (billings, billing) = Files::of(Part::Billing, &authority);
    let (patients, patient) = Files::of(Part::Patient, &authority);
    let (_gateways, gateway) = Files::of(Part::Gateway, &authority);
    let mut revoked = Joined::by(&patient, &billing).await;
    let mut trusted = Joined::by(&gateway, &billing).await;
    let before = closed(Part::Billing, "revoked");

    billings.write("crl.pem", &authority.revoke(&[&patients.serial_number]));
    look_again(&billing);
    is_broken(&mut revoked.server).await;
    trusted.carries_bytes().await;
    assert_eq!(closed(Part::Billing, "revoked"), before + 1);

    // The same of a server: the client lets go of it.
    let mut server = Joined::by(&gateway, &billing).await;
    let mut called = Joined::by(&billing, &gateway).await;
    billings.write("crl.pem", "");
    look_again(&billing);
    let list = authority.revoke(&[&billings.serial_number]);
    patients.write("crl.pem", &list);
    let mut to_billing = Joined::by(&patient, &billing).await;
    look_again(&patient);
    is_broken(&mut to_billing.client).await;
    server.carries_bytes().await;
    called.carries_bytes().await;
}

#[tokio::test]
async fn nobody_shakes_hands_with_whom_a_list_names() {
    let authority = Authority::named("authority");
    let (billings, billing) = Files::of(Part::Billing, &authority);
    let (patients, patient) = Files::of(Part::Patient, &authority);
    for (reader, lists, named) in
        [(&billing, &billings, &patients), (&patient, &patients, &billings)]
    {
        let number = named.serial_number.clone();
        lists.write("crl.pem", &authority.revoke(&[&number]));
        reader.read_again();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap());
        let (stream, accepted) = tokio::join!(stream, listener.accept());
        let (_, server) = tokio::join!(
            patient.connect(Part::Billing, stream.unwrap()),
            billing.accept(true, accepted.unwrap().0),
        );
        assert!(server.is_err());
        lists.write("crl.pem", "");
        reader.read_again();
        Joined::by(&patient, &billing).await.carries_bytes().await;
    }
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_that_was_shown_on_it() {
    let authority = Authority::named("authority");
    let (_billings, billing) = Files::of(Part::Billing, &authority);
    let (_patients, patient) = Files::of(Part::Patient, &authority);
    let mut joined = Joined::by(&patient, &billing).await;
    billing.open.revalidate(&billing.credentials(), NOW_S);
    joined.carries_bytes().await;
    let before = closed(Part::Billing, "expired");
    billing.open.revalidate(&billing.credentials(), AFTER_THE_END_S);
    is_broken(&mut joined.server).await;
    patient.open.revalidate(&patient.credentials(), AFTER_THE_END_S);
    is_broken(&mut joined.client).await;
    assert_eq!(closed(Part::Billing, "expired"), before + 1);
}

#[tokio::test]
async fn a_connection_lives_through_a_new_authority_and_ends_with_the_old_one() {
    let (old, new) = (Authority::named("old"), Authority::named("new"));
    let (billings, billing) = Files::of(Part::Billing, &old);
    let (_patients, patient) = Files::of(Part::Patient, &old);
    let mut joined = Joined::by(&patient, &billing).await;
    billings.write("ca.pem", &format!("{}{}", old.pem, new.pem));
    look_again(&billing);
    joined.carries_bytes().await;
    let before = closed(Part::Billing, "untrusted");
    billings.write("ca.pem", &new.pem);
    look_again(&billing);
    is_broken(&mut joined.server).await;
    assert_eq!(closed(Part::Billing, "untrusted"), before + 1);
}

#[tokio::test]
async fn what_is_read_during_a_handshake_counts_for_it() {
    let (old, new) = (Authority::named("old"), Authority::named("new"));
    let (billings, billing) = Files::of(Part::Billing, &old);
    let (_patients, patient) = Files::of(Part::Patient, &old);
    billings.write("ca.pem", &new.pem);
    let before = billing.credentials();
    look_again(&billing);
    // As one that began before, and ends after everybody was looked at.
    billing.credentials.store(before);
    let mut joined = Joined::by(&patient, &billing).await;
    look_again(&billing);
    is_broken(&mut joined.server).await;
}

#[tokio::test]
async fn a_list_that_its_authority_did_not_sign_changes_nothing() {
    let authority = Authority::named("authority");
    let (billings, billing) = Files::of(Part::Billing, &authority);
    let (patients, patient) = Files::of(Part::Patient, &authority);
    let mut joined = Joined::by(&patient, &billing).await;
    let forged = Authority::named("authority").revoke(&[&patients.serial_number]);
    let half = authority.revoke(&[&patients.serial_number]);
    for broken in [&*forged, &half[..half.len() / 2], "-----BEGIN X509 CRL-----"] {
        billings.write("crl.pem", broken);
        let before = billing.credentials();
        look_again(&billing);
        assert!(Arc::ptr_eq(&before, &billing.credentials()), "{broken}");
        joined.carries_bytes().await;
        Joined::by(&patient, &billing).await.carries_bytes().await;
    }
}

#[tokio::test]
async fn an_impostor_at_a_parts_address_is_told_nothing() {
    let authority = Authority::named("authority");
    let (_patients, patient) = Files::of(Part::Patient, &authority);
    let (billing, analytics) = ("spiffe://medisync/billing", "spiffe://medisync/analytics");
    let ended = |params: &mut CertificateParams| params.not_after = date_time_ymd(2021, 1, 1);
    let for_clients = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    for (what, issued) in [
        ("another part", authority.issue(analytics, "analytics", |_| {})),
        ("another part by its id", authority.issue(analytics, "billing", |_| {})),
        ("another part by its name", authority.issue(billing, "analytics", |_| {})),
        ("any host", authority.issue(billing, "localhost", |_| {})),
        ("ended", authority.issue(billing, "billing", ended)),
        ("for clients only", authority.issue(billing, "billing", for_clients)),
        ("another authority", Authority::named("authority").issue(billing, "billing", |_| {})),
    ] {
        let key = PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![issued.certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap());
        let (stream, accepted) = tokio::join!(stream, listener.accept());
        let impostor = async {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let Ok(mut stream) = acceptor.accept(accepted.unwrap().0).await else { return 0 };
            let mut told = Vec::new();
            let _ = stream.read_to_end(&mut told).await;
            told.len()
        };
        let (called, told) =
            tokio::join!(patient.connect(Part::Billing, stream.unwrap()), impostor);
        assert!(called.is_err(), "{what}");
        assert_eq!(told, 0, "{what}");
    }
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let authority = Authority::named("authority");
    let (patients, tls) = Files::of(Part::Patient, &authority);
    let key = patients.paths().key;
    for (mode, taken) in [(0o644, false), (0o640, false), (0o604, false), (0o400, true)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let loaded = MeshTls::load(Part::Patient, patients.paths());
        assert_eq!(loaded.is_ok(), taken, "{mode:o}");
        if let Err(error) = loaded {
            assert!(error.to_string().contains("key.pem is a private key that others"), "{error}");
        }
    }
    drop(tls);
}
