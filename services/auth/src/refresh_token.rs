//! What refreshes a sign-in: 256 random bits, known to the client alone. Only their
//! SHA-256 is kept, which suffices for something that cannot be guessed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::Error;

const BYTES: usize = 32;
const CHARS: usize = 43;

/// A refresh token, as its client has it.
#[derive(Clone)]
pub(crate) struct RefreshToken(SecretString);

// === impl RefreshToken ===

impl RefreshToken {
    /// A new one.
    pub(crate) fn random() -> Result<Self, Error> {
        let mut bytes = [0; BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Error::NoRandomness)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes).into()))
    }

    /// One that came back; `None` when it cannot be ours.
    pub(crate) fn parse(text: SecretString) -> Option<Self> {
        (text.expose_secret().len() == CHARS).then_some(Self(text))
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> Vec<u8> {
        digest(&SHA256, self.0.expose_secret().as_bytes()).as_ref().to_vec()
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
