//! What a service account signs in with: `msk_`, the account's id, `_`, and a secret. The prefix
//! lets scanners of repositories find keys that were lost, the id lets us find the account.

use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::{error::Error, secret};

const PREFIX: &str = "msk_";
const ID_CHARS: usize = 32;
const CHARS: usize = PREFIX.len() + ID_CHARS + 1 + secret::CHARS;

/// A key, as its client has it.
#[derive(Clone)]
pub(crate) struct ApiKey {
    id: Uuid,
    text: SecretString,
}

// === impl ApiKey ===

impl ApiKey {
    /// A new one of this account.
    pub(crate) fn random(id: Uuid) -> Result<Self, Error> {
        let text = format!("{PREFIX}{}_{}", id.simple(), secret::random()?);
        Ok(Self { id, text: text.into() })
    }

    /// One that came; `None` when it cannot be ours.
    pub(crate) fn parse(text: SecretString) -> Option<Self> {
        let key = text.expose_secret();
        if key.len() != CHARS {
            return None;
        }
        let id = key.strip_prefix(PREFIX)?.get(..ID_CHARS)?.parse().ok()?;
        Some(Self { id, text })
    }

    /// Whose it says that it is.
    pub(crate) const fn account(&self) -> Uuid {
        self.id
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> [u8; 32] {
        secret::sha256(self.text.expose_secret().as_bytes())
    }

    /// Whether this is its hash, compared in constant time.
    pub(crate) fn has_hash(&self, kept: &[u8]) -> bool {
        self.hash().ct_eq(kept).into()
    }

    /// For its client, once.
    pub(crate) fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_random_names_its_account_and_is_known_again_by_its_hash() {
        let id = Uuid::from_u128(7);
        let (key, other) = (ApiKey::random(id).unwrap(), ApiKey::random(id).unwrap());
        let again = ApiKey::parse(key.expose().into()).unwrap();
        assert_eq!(again.account(), id);
        assert!(again.has_hash(&key.hash()));
        assert!(!again.has_hash(&other.hash()) && !again.has_hash(&[]));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        assert!(key.expose().starts_with("msk_") && key.expose().chars().all(plain));
    }

    #[test]
    fn what_cannot_be_a_key_is_none() {
        let key = ApiKey::random(Uuid::from_u128(7)).unwrap().expose().to_owned();
        let wide = format!("msk_{}", "ä".repeat((CHARS - 4) / 2));
        let odd = format!("msk_{}", "z".repeat(CHARS - 4));
        for text in
            ["", "msk_", &key[1..], &format!("{key}x"), &key.replace("msk", "abc"), &wide, &odd]
        {
            assert!(ApiKey::parse((*text).into()).is_none(), "{text}");
        }
    }
}
