//! Somebody who signs tokens: with a key that is trusted, or with any other.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};

/// A private key that is nobody's secret, PKCS #8: ring signs with RSA keys, but makes none.
const RSA_2048: &[u8] = include_bytes!("rsa_2048.der");

/// Who signs tokens with a key of their own.
pub(crate) struct Issuer {
    kid: &'static str,
    key: Key,
}

enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(Box<RsaKeyPair>),
}

// === impl Issuer ===

impl Issuer {
    /// By ES256, as we do.
    pub(crate) fn new(kid: &'static str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        Self { kid, key: Key::Es256(pair) }
    }

    /// By EdDSA.
    pub(crate) fn eddsa(kid: &'static str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { kid, key: Key::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()) }
    }

    /// By RS256. There is one such key.
    pub(crate) fn rs256(kid: &'static str) -> Self {
        Self { kid, key: Key::Rs256(Box::new(RsaKeyPair::from_pkcs8(RSA_2048).unwrap())) }
    }

    /// What its key is for.
    pub(crate) const fn algorithm(&self) -> &'static str {
        match self.key {
            Key::Es256(_) => "ES256",
            Key::EdDsa(_) => "EdDSA",
            Key::Rs256(_) => "RS256",
        }
    }

    /// The public key, as key sets hold it.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = json!({"alg": self.algorithm(), "use": "sig", "kid": self.kid});
        let public = match &self.key {
            Key::Es256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y)})
            }
            Key::EdDsa(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key())})
            }
            Key::Rs256(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": base64(public.n), "e": base64(public.e)})
            }
        };
        jwk.as_object_mut().unwrap().extend(public.as_object().unwrap().clone());
        jwk
    }

    /// The public key by itself: of ES256 a point.
    pub(crate) fn public(&self) -> &[u8] {
        match &self.key {
            Key::Es256(pair) => pair.public_key().as_ref(),
            Key::EdDsa(pair) => pair.public_key().as_ref(),
            Key::Rs256(pair) => pair.public_key().as_ref(),
        }
    }

    /// A header as ours are.
    pub(crate) fn header(&self) -> Value {
        json!({"typ": "JWT", "alg": self.algorithm(), "kid": self.kid})
    }

    /// A token of these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// A token of this header and these claims, whatever they are.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64(header), base64(claims));
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", base64(signature))
    }

    fn signature(&self, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Es256(pair) => pair.sign(&random, signed).unwrap().as_ref().to_vec(),
            Key::EdDsa(pair) => pair.sign(signed).as_ref().to_vec(),
            Key::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, signed, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// As the parts of a token are written.
pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What a good token of ours says at this time.
pub(crate) fn claims(now_s: i64) -> Value {
    json!({
        "iss": "medisync", "aud": "medisync-api", "sub": "somebody", "role": "CLINICIAN",
        "iat": now_s, "exp": now_s + 600,
    })
}

/// The same, but for one claim.
pub(crate) fn claims_with(now_s: i64, name: &str, value: Value) -> Value {
    let mut claims = claims(now_s);
    claims[name] = value;
    claims
}
