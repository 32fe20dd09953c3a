//! Secrets that we make: 256 random bits, as 43 characters that may stand in a URL. Only their
//! SHA-256 is kept, which suffices for something that cannot be guessed: argon2 makes guessing
//! slow, and here there is nothing to guess.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};

use crate::error::Error;

const BYTES: usize = 32;
/// The length of a secret.
pub(crate) const CHARS: usize = 43;

/// A new secret.
pub(crate) fn random() -> Result<String, Error> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
