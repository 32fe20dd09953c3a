//! Tokens as the mesh's auth service signs them, with its key; and some that nobody may accept.

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use shared_middleware::token::{AUDIENCE, ISSUER};

const VALID_FOR_S: u64 = 24 * 3600;
/// RFC 5480: the head of a P-256 public key, before its point.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// An uncompressed point: a mark and two numbers. It ends a PKCS#8 file of ring's.
const POINT_BYTES: usize = 65;

/// Signs with the key of the mesh's auth service.
pub(crate) struct Signer {
    kid: String,
    key: EncodingKey,
    /// Its public key.
    point: Vec<u8>,
    now_s: u64,
}

// === impl Signer ===

impl Signer {
    /// With the one key in that folder.
    #[expect(clippy::disallowed_methods, reason = "tokens are of today")]
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
        let mut keys = files.filter(|path| path.extension().is_some_and(|ending| ending == "der"));
        let path = keys.next().context("auth has made no key")?;
        let kid = path.file_stem().and_then(|stem| stem.to_str()).context("a key has a name")?;
        let der = fs::read(&path)?;
        let point = der.len().checked_sub(POINT_BYTES).context("the key is too short")?;
        Ok(Self {
            kid: kid.to_owned(),
            key: EncodingKey::from_ec_der(&der),
            point: der[point..].to_vec(),
            now_s: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        })
    }

    /// A token that is good all day.
    pub(crate) fn good(&self) -> anyhow::Result<String> {
        self.sign(&self.claims("peer"))
    }

    /// As many, of a user each.
    pub(crate) fn tokens(&self, count: usize) -> anyhow::Result<Vec<String>> {
        (0..count).map(|n| self.sign(&self.claims(&format!("peer-{n}")))).collect()
    }

    /// Tokens that are good in all but one thing, by what that is.
    pub(crate) fn bad(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let with = |name: &str, value: Value| {
            let mut claims = self.claims("peer");
            claims[name] = value;
            self.sign(&claims)
        };
        let (good, other) = (self.good()?, self.sign(&self.claims("other"))?);
        let (head, _) = good.rsplit_once('.').context("a token has three parts")?;
        let (_, signature) = other.rsplit_once('.').context("a token has three parts")?;
        let none = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let claims = head.split_once('.').context("a token has three parts")?.1;
        Ok(vec![
            ("a forged one", format!("{head}.{signature}")),
            ("an unsigned one", format!("{none}.{claims}.")),
            ("one that has ended", with("exp", json!(self.now_s - 3600))?),
            ("one of another issuer", with("iss", json!("stranger"))?),
            ("one for another audience", with("aud", json!("elsewhere"))?),
        ])
    }

    /// The key as those read it who have no JWKS.
    pub(crate) fn public_pem(&self) -> String {
        let der = BASE64_STANDARD.encode([&SPKI[..], &self.point].concat());
        let (first, second) = der.split_at(64);
        format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n")
    }

    /// The key as RFC 7517 writes it.
    pub(crate) fn jwks(&self) -> String {
        let number = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (number(&self.point[1..33]), number(&self.point[33..]));
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
            "x": x, "y": y,
        }]})
        .to_string()
    }

    fn claims(&self, subject: &str) -> Value {
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "role": "ADMIN",
            "iat": self.now_s, "exp": self.now_s + VALID_FOR_S,
        })
    }

    fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        Ok(encode(&header, claims, &self.key)?)
    }
}
