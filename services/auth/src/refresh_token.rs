//! What refreshes a sign-in: a secret, known to the client alone.

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{error::Error, secret};

/// What makes the key of a token from the token: other than its hash, which the store knows.
const SEALS: &[u8] = b"what came after this refresh token: ";

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

    /// What only anyone who has this token can read.
    pub(crate) fn seal(&self, mut text: Vec<u8>) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Error::NoRandomness)?;
        let mut sealed = nonce.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let done = self.key().seal_in_place_append_tag(nonce, Aad::empty(), &mut text);
        done.map_err(|_| Error::NoRandomness)?;
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// What was sealed with this token; `None` when it was another.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let length = self.key().open_in_place(nonce, Aad::empty(), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }

    fn key(&self) -> LessSafeKey {
        let key = secret::sha256(&[SEALS, self.0.expose_secret().as_bytes()].concat());
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key);
        LessSafeKey::new(key.expect("SHA-256 is as long as a key"))
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

    #[test]
    fn what_a_token_seals_no_other_opens() {
        let (token, other) = (RefreshToken::random().unwrap(), RefreshToken::random().unwrap());
        let sealed = token.seal(b"a pair".to_vec()).unwrap();
        assert_eq!(token.open(&sealed).as_deref(), Some(b"a pair".as_slice()));
        assert!(other.open(&sealed).is_none() && token.open(b"short").is_none());
        assert_ne!(sealed, token.seal(b"a pair".to_vec()).unwrap());
        assert!(!sealed.windows(6).any(|bytes| bytes == b"a pair"));
        assert!(!sealed.windows(32).any(|bytes| bytes == token.hash()));
    }
}
