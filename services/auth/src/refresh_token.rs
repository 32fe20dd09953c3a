//! What refreshes a sign-in: a secret, known to the client alone.

use secrecy::{ExposeSecret as _, SecretString};

use crate::{error::Error, secret};

/// A refresh token, as its client has it.
#[derive(Clone)]
pub(crate) struct RefreshToken(SecretString);

// === impl RefreshToken ===

impl RefreshToken {
    /// A new one.
    pub(crate) fn random() -> Result<Self, Error> {
        Ok(Self(secret::random()?.into()))
    }

    /// One that came back; `None` when it cannot be ours.
    pub(crate) fn parse(text: SecretString) -> Option<Self> {
        (text.expose_secret().len() == secret::CHARS).then_some(Self(text))
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> Vec<u8> {
        secret::sha256(self.0.expose_secret().as_bytes()).to_vec()
    }

    /// For its client.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_random_and_known_again_by_their_hash() {
        let (first, second) = (RefreshToken::random().unwrap(), RefreshToken::random().unwrap());
        assert_ne!(first.expose(), second.expose());
        let again = RefreshToken::parse(first.expose().into()).unwrap();
        assert_eq!(again.hash(), first.hash());
        assert_ne!(second.hash(), first.hash());
        assert!(RefreshToken::parse("short".into()).is_none());
    }
}
