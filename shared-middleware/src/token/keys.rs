//! A JSON Web Key Set (RFC 7517), as auth publishes it and as the verifier reads it.

use std::collections::HashMap;

use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};

/// At most so many keys are read from one set.
const KEYS_MAX: usize = 32;

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
pub struct KeySet(HashMap<String, DecodingKey>);

/// What is read of a set: keys of other kinds are passed over, as the RFC asks.
#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

// === impl KeySet ===

impl KeySet {
    /// Reads a set. Keys that are not for ES256 signatures are passed over.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let document: Document = serde_json::from_slice(json)?;
        let usable = |value| {
            let jwk: Jwk = serde_json::from_value(value).ok()?;
            let for_es256 = jwk.kty == "EC"
                && jwk.crv == "P-256"
                && jwk.alg.as_deref().is_none_or(|alg| alg == "ES256")
                && jwk.usage.as_deref().is_none_or(|usage| usage == "sig");
            let key = DecodingKey::from_ec_components(&jwk.x, &jwk.y).ok()?;
            for_es256.then_some((jwk.kid, key))
        };
        Ok(Self(document.keys.into_iter().take(KEYS_MAX).filter_map(usable).collect()))
    }

    /// The key of this id; when the token or the set names none, the only key of a set of one.
    pub fn find(&self, kid: Option<&str>) -> Option<&DecodingKey> {
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
