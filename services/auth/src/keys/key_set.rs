//! The keys at one moment: which signs, which are published, which are done with.

use std::{path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use ring::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use shared_middleware::{
    secret_file::{self, SecretFileError},
    token::Jwk,
};

use super::{
    KeysError, LEAD_MS,
    files::{self, Name},
};
use crate::LEEWAY_S;

/// A key, read from its file.
pub(super) struct Key {
    /// When this process found it, or had it at its start.
    published_ms: i64,
    encoding: EncodingKey,
    jwk: Jwk,
}

/// The keys, oldest first. There is always one.
pub(super) struct SigningKeySet {
    keys: Vec<Arc<Key>>,
    /// Those before it are done with.
    first_published: usize,
    signing: Arc<Key>,
    version: String,
}

// === impl Key ===

impl Key {
    fn read(dir: &Path, name: &Name, published_ms: i64) -> Result<Self, KeysError> {
        let path = files::path(dir, &name.kid);
        let pkcs8 = secret_file::read(&path).map_err(|error| match error {
            SecretFileError::Read(error, path) => KeysError::Read(error, path),
            exposed @ SecretFileError::Exposed { .. } => KeysError::Exposed(exposed),
        })?;
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &SystemRandom::new())
            .map_err(|_| KeysError::Broken(path))?;
        // An uncompressed point (SEC 1, 2.3.3): a tag, then 32 bytes each of x and y.
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let jwk = Jwk {
            kty: "EC".to_owned(),
            crv: "P-256".to_owned(),
            kid: name.kid.clone(),
            alg: Some("ES256".to_owned()),
            usage: Some("sig".to_owned()),
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
        };
        let encoding = EncodingKey::from_ec_der(&pkcs8);
        Ok(Self { published_ms, encoding, jwk })
    }

    pub(super) fn kid(&self) -> &str {
        &self.jwk.kid
    }

    pub(super) const fn encoding(&self) -> &EncodingKey {
        &self.encoding
    }

    pub(super) const fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Since when it signs; negative when it does not yet.
    const fn signs_since_ms(&self, now_ms: i64) -> i64 {
        now_ms - self.published_ms - LEAD_MS
    }
}

// === impl SigningKeySet ===

impl SigningKeySet {
    /// Reads the folder's keys, except those that are known already.
    pub(super) fn read(
        dir: &Path,
        known: &[Arc<Key>],
        now_ms: i64,
        token_ttl_s: i64,
    ) -> Result<Self, KeysError> {
        let mut keys = Vec::new();
        let is_start = known.is_empty();
        for name in files::names(dir)? {
            let key = known.iter().find(|key| key.kid() == name.kid);
            keys.push(match key {
                Some(key) => Arc::clone(key),
                // Those that it starts with have been published by others. Of one that it finds
                // later, the machine that made it may have a wrong clock.
                None if is_start => Arc::new(Key::read(dir, &name, name.created_ms.min(now_ms))?),
                None => Arc::new(Key::read(dir, &name, now_ms)?),
            });
        }
        Self::at(keys, now_ms, token_ttl_s).ok_or_else(|| KeysError::Missing(dir.to_owned()))
    }

    fn at(keys: Vec<Arc<Key>>, now_ms: i64, token_ttl_s: i64) -> Option<Self> {
        // The newest that has been published long enough; at the first start, the first.
        let signing = keys.iter().rposition(|key| key.signs_since_ms(now_ms) >= 0).unwrap_or(0);
        // A key has signed nothing since its successor began to: are its last tokens gone?
        let tokens_gone_ms = (token_ttl_s + LEEWAY_S) * 1000;
        let first_published = keys
            .iter()
            .rposition(|successor| successor.signs_since_ms(now_ms) >= tokens_gone_ms)
            .unwrap_or(0);
        let signing = Arc::clone(keys.get(signing)?);
        let version = version(&keys[first_published..]);
        Some(Self { keys, first_published, signing, version })
    }

    pub(super) fn keys(&self) -> &[Arc<Key>] {
        &self.keys
    }

    pub(super) fn signing(&self) -> &Key {
        &self.signing
    }

    pub(super) fn published(&self) -> impl Iterator<Item = &Key> {
        self.keys[self.first_published..].iter().map(Arc::as_ref)
    }

    pub(super) fn retired(&self) -> impl Iterator<Item = &Key> {
        self.keys[..self.first_published].iter().map(Arc::as_ref)
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }
}

/// Short, fit for a URL, and the same in every replica that publishes the same keys.
fn version(published: &[Arc<Key>]) -> String {
    const BYTES: usize = 12;
    let kids: Vec<_> = published.iter().map(|key| key.kid()).collect();
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, kids.join(" ").as_bytes()).as_ref()[..BYTES])
}
