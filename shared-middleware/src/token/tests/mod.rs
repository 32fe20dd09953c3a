//! The verifier, by tokens of ours and of others.

mod corpus;
mod external;
mod feed;
mod ours;

#[path = "../../../tests/common/corpus.rs"]
mod forms;
#[path = "../../../tests/common/issuer.rs"]
mod issuer;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use self::issuer::{Issuer, claims, claims_with};
use super::{ExternalIssuer, KeySet, TokenError, Verifier, VerifierConfig};
use crate::{clock::Clock, identity::Caller};

const NOW_S: i64 = 1_800_000_000;
const THEIRS: &str = "https://id.example/realms/ward";

/// A verifier, whose key it trusts as ours, and a clock to turn.
struct World {
    verifier: Verifier,
    ours: Issuer,
    now_s: Arc<AtomicI64>,
}

// === impl World ===

impl World {
    fn new() -> Self {
        Self::trusting([])
    }

    fn trusting<const N: usize>(externals: [ExternalIssuer; N]) -> Self {
        super::install_crypto();
        let now_s = Arc::new(AtomicI64::new(NOW_S));
        let hand = Arc::clone(&now_s);
        let clock =
            Clock::from_fn(move || Timestamp::from_second(hand.load(Ordering::SeqCst)).unwrap());
        let verifier = Verifier::new(VerifierConfig::default(), clock).trusting(externals);
        let ours = Issuer::new("k1");
        verifier.set_keys(KeySet::parse(&set_of(&[&ours])).unwrap());
        verifier.knows_revocations();
        Self { verifier, ours, now_s }
    }

    fn verdict(&self, token: &str) -> Result<Caller, TokenError> {
        self.verifier.verify(token).0
    }

    /// Of our token with one other claim.
    fn verdict_with(&self, name: &str, value: Value) -> Result<Caller, TokenError> {
        self.verdict(&self.ours.token(&claims_with(NOW_S, name, value)))
    }

    fn turn_to(&self, now_s: i64) {
        self.now_s.store(now_s, Ordering::SeqCst);
    }

    /// Has the external issuer of this number publish these keys.
    fn publish(&self, nth: usize, signers: &[&Issuer]) {
        self.verifier.externals()[nth].set_keys(&set_of(signers)).unwrap();
    }
}

fn set_of(signers: &[&Issuer]) -> Vec<u8> {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    json!({"keys": keys}).to_string().into_bytes()
}

fn external(issuer: &str, role_claim: &str) -> ExternalIssuer {
    ExternalIssuer {
        issuer: issuer.to_owned(),
        audience: "ward-app".to_owned(),
        jwks_url: "https://id.example/jwks".parse().unwrap(),
        ca: None,
        role_claim: role_claim.to_owned(),
    }
}

/// What a good token of an external issuer says.
fn their_claims(issuer: &str) -> Value {
    json!({
        "iss": issuer, "aud": "ward-app", "sub": "somebody", "role": "CLINICIAN",
        "iat": NOW_S, "exp": NOW_S + 600,
    })
}
