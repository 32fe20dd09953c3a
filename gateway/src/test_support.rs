//! What the tests of several files need: keys and tokens, certificates, ids.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use shared_middleware::{
    clock::{Clock, Ids},
    identity::{Part, Role},
    tls::{MeshTls, PemFiles},
    token::{AUDIENCE, ISSUER, KeySet, Verifier, VerifierConfig, install_crypto},
};
use tokio_rustls::TlsConnector;
use uuid::Uuid;

use crate::PublicTls;

const NOW_S: i64 = 1_800_000_000;

/// A signing key, and those who trust it.
pub(crate) struct Keys {
    key: EncodingKey,
    jwks: Vec<u8>,
}

// === impl Keys ===

impl Keys {
    pub(crate) fn new() -> Self {
        install_crypto();
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let jwk = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k", "x": x, "y": y});
        let jwks = serde_json::to_vec(&json!({"keys": [jwk]})).unwrap();
        Self { key: EncodingKey::from_ec_der(pkcs8.as_ref()), jwks }
    }

    pub(crate) fn verifier(&self) -> Verifier {
        let verifier = Self::verifier_without_keys();
        verifier.set_keys(KeySet::parse(&self.jwks).unwrap());
        verifier.knows_revocations();
        verifier
    }

    pub(crate) fn verifier_without_keys() -> Verifier {
        install_crypto();
        Verifier::new(VerifierConfig::default(), clock())
    }

    pub(crate) fn token(&self, subject: &str, role: Role) -> String {
        let header = Header { kid: Some("k".to_owned()), ..Header::new(Algorithm::ES256) };
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "role": role,
            "iat": NOW_S, "exp": NOW_S + 900,
        });
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }
}

/// A clock that stands still.
pub(crate) fn clock() -> Clock {
    Clock::from_fn(|| jiff::Timestamp::from_second(NOW_S).unwrap())
}

/// Ids that count.
pub(crate) fn ids() -> Ids {
    let next = AtomicU64::new(1);
    Ids::from_fn(move || Uuid::from_u128(u128::from(next.fetch_add(1, Ordering::Relaxed))))
}

/// The one authority of a test run.
static AUTHORITY: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
});

/// A certificate for `localhost` on the public port, in files that can be written again.
pub(crate) struct PublicFiles {
    folder: tempfile::TempDir,
}

// === impl PublicFiles ===

impl PublicFiles {
    /// The files, and what the gateway reads from them.
    pub(crate) fn new() -> (Self, Arc<PublicTls>) {
        install_crypto();
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.renew();
        let tls = PublicTls::load(files.path("cert.pem"), files.path("key.pem")).unwrap();
        (files, Arc::new(tls))
    }

    /// Another certificate; its DER.
    pub(crate) fn renew(&self) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
        let certificate = params.signed_by(&key, &*AUTHORITY).unwrap();
        write_private(&self.path("key.pem"), &key.serialize_pem());
        fs::write(self.path("cert.pem"), certificate.pem()).unwrap();
        certificate.der().to_vec()
    }

    /// Anyone who trusts the authority, and speaks this.
    pub(crate) fn client(alpn: &[u8]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(AUTHORITY.der().clone()).unwrap();
        let mut config =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A key is for its owner only, or it is refused.
fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A part's certificate, of the one authority.
pub(crate) fn mesh_tls(part: Part) -> Arc<MeshTls> {
    install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![
        SanType::URI(part.spiffe_id().try_into().unwrap()),
        SanType::DnsName(part.as_str().try_into().unwrap()),
    ];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &*AUTHORITY).unwrap();
    let files = PemFiles {
        ca: folder.path().join("ca.pem"),
        crl: folder.path().join("crl.pem"),
        cert: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    fs::write(&files.ca, AUTHORITY.pem()).unwrap();
    fs::write(&files.cert, certificate.pem()).unwrap();
    write_private(&files.key, &key.serialize_pem());
    // They are read once, and the folder goes with this function.
    Arc::new(MeshTls::load(part, files).unwrap())
}
