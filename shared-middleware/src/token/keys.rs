//! A JSON Web Key Set (RFC 7517), as auth publishes it and as the verifier reads it.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize};

/// What other issuers may sign with: what they do sign with, and ring verifies.
pub(super) const ACCEPTED: [Algorithm; 3] = [Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA];

/// At most this many keys are read from one set.
const KEYS_MAX: usize = 32;
/// A shorter RSA key is passed over (RFC 7518, 3.3), and so is one that takes long to work with.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
const ED25519_BYTES: usize = 32;

/// One public key on P-256 (RFC 7518, 6.2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// Key type: `EC`.
    pub kty: String,
    /// Curve: `P-256`.
    pub crv: String,
    /// Which key: what a token's header names. Optional in a set of others (RFC 7517, 4.5).
    #[serde(default)]
    pub kid: String,
    /// Algorithm: `ES256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// Use: `sig`.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "use")]
    pub usage: Option<String>,
    /// The point's x, base64url.
    pub x: String,
    /// The point's y, base64url.
    pub y: String,
}

/// The keys whose tokens are accepted, by key id.
#[derive(Default)]
pub struct KeySet(HashMap<String, VerifyingKey>);

/// A public key, and the one algorithm that it is for.
pub(super) struct VerifyingKey {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// What is read of a set: keys of other kinds are passed over, as the RFC asks.
#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// What every key says of itself.
#[derive(Deserialize)]
struct About {
    #[serde(default)]
    kid: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    #[serde(flatten)]
    public: Public,
}

/// What is public of a key, by its type (RFC 7518, 6; RFC 8037, 2).
#[derive(Deserialize)]
#[serde(tag = "kty")]
enum Public {
    #[serde(rename = "EC")]
    Ec { crv: String, x: String, y: String },
    #[serde(rename = "OKP")]
    Okp { crv: String, x: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
}

// === impl KeySet ===

impl KeySet {
    /// Reads a set of ours. Keys that are not for ES256 signatures are passed over.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        Self::of(json, &[Algorithm::ES256])
    }

    /// Reads a set. Keys that are not for signatures of these algorithms are passed over.
    pub(super) fn of(json: &[u8], algorithms: &[Algorithm]) -> Result<Self, serde_json::Error> {
        let document: Document = serde_json::from_slice(json)?;
        let usable = |value| {
            let about: About = serde_json::from_value(value).ok()?;
            let key = about.verifying_key()?;
            algorithms.contains(&key.algorithm).then_some((about.kid, key))
        };
        Ok(Self(document.keys.into_iter().take(KEYS_MAX).filter_map(usable).collect()))
    }

    /// The key of this id; when the token or the set names none, the only key of a set of one.
    pub(super) fn find(&self, kid: Option<&str>) -> Option<&VerifyingKey> {
        let only = || if self.0.len() == 1 { self.0.values().next() } else { None };
        match kid {
            Some(kid) => self.0.get(kid).or_else(|| only().filter(|_| self.0.contains_key(""))),
            None => only(),
        }
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

// === impl About ===

impl About {
    /// `None` when it is for something else, or cannot be used.
    fn verifying_key(&self) -> Option<VerifyingKey> {
        let (name, algorithm, key) = match &self.public {
            Public::Ec { crv, x, y } if crv == "P-256" => {
                ("ES256", Algorithm::ES256, DecodingKey::from_ec_components(x, y).ok()?)
            }
            Public::Okp { crv, x } if crv == "Ed25519" => {
                let key = URL_SAFE_NO_PAD.decode(x).ok().filter(|x| x.len() == ED25519_BYTES)?;
                ("EdDSA", Algorithm::EdDSA, DecodingKey::from_ed_der(&key))
            }
            Public::Rsa { n, e } => {
                let n = URL_SAFE_NO_PAD.decode(n).ok()?;
                let e = URL_SAFE_NO_PAD.decode(e).ok()?;
                RSA_BITS.contains(&bits(&n)).then_some(())?;
                ("RS256", Algorithm::RS256, DecodingKey::from_rsa_raw_components(&n, &e))
            }
            _ => return None,
        };
        let named = |said: &Option<String>, wanted| said.as_deref().is_none_or(|it| it == wanted);
        let for_it = named(&self.alg, name) && named(&self.usage, "sig");
        for_it.then_some(VerifyingKey { algorithm, key })
    }
}

/// How long a number is, in bits.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let first = number.get(zeros).map_or(0, |byte| byte.leading_zeros());
    (number.len() - zeros) * 8 - first as usize
}
