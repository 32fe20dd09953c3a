//! Tokens: nobody makes one without the key.

use std::sync::LazyLock;

use shared_middleware::{
    clock::Clock,
    token::{self, KeySet, TokenError, Verifier, VerifierConfig},
};

/// A key whose private half nobody has kept (RFC 7515, A.3.1).
const KEYS: &[u8] = br#"{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","kid":"k1",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    token::install_crypto();
    let verifier = Verifier::new(VerifierConfig::default(), Clock::system());
    verifier.set_keys(KeySet::parse(KEYS).expect("a key set"));
    verifier.knows_revocations();
    verifier
});

/// A token: refused, and for the same reason when it comes again; a long one unread.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let verdict = || VERIFIER.verify(text).0.map(|_| "accepted");
    let first = verdict();
    assert!(first.is_err(), "a token that nobody signed is accepted");
    assert_eq!(first, verdict());
    if text.len() > VerifierConfig::default().token_bytes_max {
        assert_eq!(first, Err(TokenError::Malformed));
    }
}
