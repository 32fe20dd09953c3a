//! Is this token ours, and whose is it?

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use arc_swap::ArcSwap;
use jsonwebtoken::{Algorithm, Validation};
use quick_cache::sync::Cache;
use tokio::sync::{Notify, watch};

use super::{AUDIENCE, Claims, ISSUER, KeySet, RevokedSession, revoked::Revoked};
use crate::{clock::Clock, identity::Caller};

/// Bounds of a verifier.
#[derive(Clone, Copy, Debug)]
pub struct VerifierConfig {
    /// A longer token is refused unread.
    pub token_bytes_max: usize,
    /// So many verified tokens are remembered.
    pub tokens_cached_max: usize,
    /// How far clocks may differ: a token is accepted so long after its end.
    pub leeway_s: i64,
    /// A token that claims to be valid longer is refused.
    pub lifetime_s_max: i64,
}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token, or lacks what ours have.
    #[error("the token is malformed")]
    Malformed,
    /// Its time is over, or has not come.
    #[error("the token has expired")]
    Expired,
    /// We did not sign it, or not for this recipient.
    #[error("the token is not valid")]
    Forged,
    /// Its sign-in was ended.
    #[error("the token was revoked")]
    Revoked,
    /// No key has been learnt yet, so nothing can be said.
    #[error("the signing keys are not known yet")]
    NoKeys,
}

/// Whether a verdict was remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CacheOutcome {
    Hit,
    Miss,
}

/// Verifies tokens; one in a process, shared by all its parts.
///
/// A token that was verified once is remembered until it expires or is revoked, so that a signature
/// is checked once a token and not once a request.
pub struct Verifier {
    config: VerifierConfig,
    clock: Clock,
    validation: Validation,
    keys: ArcSwap<KeySet>,
    revoked: Revoked,
    cache: Cache<Box<str>, Arc<Verified>>,
    ready: watch::Sender<bool>,
    unknown_key: Notify,
    heard_of_auth_at_s: AtomicI64,
}

/// A token that was verified.
struct Verified {
    caller: Caller,
    expires_at_s: i64,
}

// === impl VerifierConfig ===

impl Default for VerifierConfig {
    fn default() -> Self {
        Self {
            token_bytes_max: 4096,
            tokens_cached_max: 20_000,
            leeway_s: 5,
            lifetime_s_max: 86_400,
        }
    }
}

// === impl Verifier ===

impl Verifier {
    /// A verifier that knows no key yet.
    pub fn new(config: VerifierConfig, clock: Clock) -> Self {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        // Times are compared in `check_times`, by our own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            config,
            validation,
            keys: ArcSwap::default(),
            revoked: Revoked::default(),
            cache: Cache::new(config.tokens_cached_max),
            ready: watch::Sender::new(false),
            unknown_key: Notify::new(),
            heard_of_auth_at_s: AtomicI64::new(clock.unix_s()),
            clock,
        }
    }

    /// Whose token it is.
    pub fn verify(&self, token: &str) -> (Result<Caller, TokenError>, CacheOutcome) {
        if let Some(known) = self.cache.get(token) {
            return (self.still_valid(&known), CacheOutcome::Hit);
        }
        let verified = match self.verify_signature(token) {
            Ok(verified) => Arc::new(verified),
            Err(error) => return (Err(error), CacheOutcome::Miss),
        };
        let verdict = self.still_valid(&verified);
        if verdict.is_ok() {
            self.cache.insert(token.into(), verified);
        }
        (verdict, CacheOutcome::Miss)
    }

    /// Accepts tokens of these keys from now on, and of no others. A set without a usable key is
    /// somebody's mistake: it changes nothing, for it would lock everybody out.
    pub fn set_keys(&self, keys: KeySet) {
        if keys.is_empty() {
            tracing::warn!("the key set has no key for ES256; the keys known so far are kept");
            return;
        }
        self.keys.store(Arc::new(keys));
        // What a withdrawn key signed must not live on in the cache.
        self.cache.clear();
        self.ready.send_replace(true);
    }

    /// Refuses these sign-ins from now on.
    pub fn revoke(&self, sessions: &[RevokedSession]) {
        self.revoked.add(sessions, self.clock.unix_s());
    }

    /// Notes that auth's feed answered.
    pub(super) fn heard_of_auth(&self) {
        self.heard_of_auth_at_s.store(self.clock.unix_s(), Ordering::Relaxed);
    }

    /// For how long auth's feed has been silent, in seconds: a sign-out since then may be unknown.
    pub fn feed_age_s(&self) -> i64 {
        self.clock.unix_s().saturating_sub(self.heard_of_auth_at_s.load(Ordering::Relaxed)).max(0)
    }

    /// Whether a key is known, so that tokens can be verified.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits until a key is known.
    pub async fn ready(&self) {
        // It fails only when the sender is gone, which `self` holds.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Waits until a token named a key that is not known.
    pub(super) async fn unknown_key(&self) {
        self.unknown_key.notified().await;
    }

    fn verify_signature(&self, token: &str) -> Result<Verified, TokenError> {
        if token.len() > self.config.token_bytes_max {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        // What a header calls critical has to be understood (RFC 7515, 4.1.11), and none of it is.
        if header.alg != Algorithm::ES256 || header.crit.is_some() {
            return Err(TokenError::Forged);
        }
        let keys = self.keys.load();
        if keys.is_empty() {
            return Err(TokenError::NoKeys);
        }
        let Some(key) = keys.find(header.kid.as_deref()) else {
            self.unknown_key.notify_one();
            return Err(TokenError::Forged);
        };
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|error| refusal(&error))?
            .claims;
        self.check_times(&claims)?;
        let caller = Caller { subject: claims.sub.into(), role: claims.role, session: claims.sid };
        Ok(Verified { caller, expires_at_s: claims.exp })
    }

    fn check_times(&self, claims: &Claims) -> Result<(), TokenError> {
        let now_s = self.clock.unix_s();
        let latest_s = now_s.saturating_add(self.config.leeway_s);
        let begins_s = claims.nbf.into_iter().chain(claims.iat).max().unwrap_or(now_s);
        if begins_s > latest_s {
            return Err(TokenError::Expired);
        }
        let from_s = claims.iat.unwrap_or(now_s);
        let longest_s = from_s.saturating_add(self.config.lifetime_s_max);
        if claims.exp > longest_s.saturating_add(self.config.leeway_s) {
            return Err(TokenError::Forged);
        }
        Ok(())
    }

    fn still_valid(&self, token: &Verified) -> Result<Caller, TokenError> {
        if token.expires_at_s.saturating_add(self.config.leeway_s) < self.clock.unix_s() {
            return Err(TokenError::Expired);
        }
        match token.caller.session {
            Some(session) if self.revoked.contains(session) => Err(TokenError::Revoked),
            _ => Ok(token.caller.clone()),
        }
    }
}

fn refusal(error: &jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidToken
        | ErrorKind::Base64(_)
        | ErrorKind::Json(_)
        | ErrorKind::Utf8(_)
        | ErrorKind::MissingRequiredClaim(_) => TokenError::Malformed,
        _ => TokenError::Forged,
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use jiff::Timestamp;
    use jsonwebtoken::{EncodingKey, Header};
    use proptest::prelude::*;
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
    };
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    const NOW_S: i64 = 1_800_000_000;

    /// A verifier, the key it trusts, and a clock to turn.
    struct World {
        verifier: Verifier,
        key: EncodingKey,
        now_s: Arc<AtomicI64>,
    }

    fn new_key(kid: &str) -> (EncodingKey, Value) {
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
                .unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let jwk = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": kid, "x": x, "y": y});
        (EncodingKey::from_ec_der(pkcs8.as_ref()), jwk)
    }

    fn world() -> World {
        super::super::install_crypto();
        let now_s = Arc::new(AtomicI64::new(NOW_S));
        let hand = Arc::clone(&now_s);
        let clock =
            Clock::from_fn(move || Timestamp::from_second(hand.load(Ordering::SeqCst)).unwrap());
        let verifier = Verifier::new(VerifierConfig::default(), clock);
        let (key, jwk) = new_key("k1");
        let keys = serde_json::to_vec(&json!({"keys": [jwk]})).unwrap();
        verifier.set_keys(KeySet::parse(&keys).unwrap());
        World { verifier, key, now_s }
    }

    fn claims() -> Value {
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "u1", "role": "ADMIN",
            "iat": NOW_S, "exp": NOW_S + 900,
        })
    }

    impl World {
        fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
            let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::ES256) };
            jsonwebtoken::encode(&header, claims, &self.key).unwrap()
        }

        fn verdict(&self, token: &str) -> Result<Caller, TokenError> {
            self.verifier.verify(token).0
        }

        fn verdict_with(&self, name: &str, value: Value) -> Result<Caller, TokenError> {
            let mut claims = claims();
            claims[name] = value;
            self.verdict(&self.sign(Some("k1"), &claims))
        }
    }

    #[test]
    fn our_token_is_accepted_and_remembered() {
        let world = world();
        let token = world.sign(Some("k1"), &claims());
        let (first, outcome) = world.verifier.verify(&token);
        assert_eq!(outcome, CacheOutcome::Miss);
        let (second, outcome) = world.verifier.verify(&token);
        assert_eq!(outcome, CacheOutcome::Hit);
        assert_eq!(first, second);
        assert_eq!(first.unwrap().role, crate::identity::Role::Admin);
    }

    #[test]
    fn a_remembered_token_ends_when_it_expires() {
        let world = world();
        let token = world.sign(Some("k1"), &claims());
        world.verdict(&token).unwrap();
        world.now_s.store(NOW_S + 905, Ordering::SeqCst);
        world.verdict(&token).unwrap();
        world.now_s.store(NOW_S + 906, Ordering::SeqCst);
        assert_eq!(world.verdict(&token), Err(TokenError::Expired));
    }

    #[test]
    fn a_remembered_token_ends_when_its_session_is_revoked() {
        let world = world();
        let session = Uuid::from_u128(7);
        let mut claims = claims();
        claims["sid"] = json!(session);
        let token = world.sign(Some("k1"), &claims);
        world.verdict(&token).unwrap();
        world.verifier.revoke(&[RevokedSession { session, until_s: NOW_S + 900 }]);
        assert_eq!(world.verdict(&token), Err(TokenError::Revoked));
    }

    #[test]
    fn a_remembered_token_ends_when_its_key_is_withdrawn() {
        let world = world();
        let token = world.sign(Some("k1"), &claims());
        world.verdict(&token).unwrap();
        let (_, other) = new_key("k2");
        let keys = serde_json::to_vec(&json!({"keys": [other]})).unwrap();
        world.verifier.set_keys(KeySet::parse(&keys).unwrap());
        assert_eq!(world.verdict(&token), Err(TokenError::Forged));
    }

    #[test]
    fn times_out_of_bounds_are_refused() {
        let world = world();
        assert_eq!(world.verdict_with("exp", json!(NOW_S - 6)), Err(TokenError::Expired));
        assert_eq!(world.verdict_with("nbf", json!(NOW_S + 6)), Err(TokenError::Expired));
        assert_eq!(world.verdict_with("iat", json!(NOW_S + 600)), Err(TokenError::Expired));
        assert_eq!(world.verdict_with("exp", json!(NOW_S + 86_500)), Err(TokenError::Forged));
        assert!(world.verdict_with("exp", json!(-1)).is_err());
        for odd in [json!("soon"), json!(1e308), json!(1.5), json!(null), json!([])] {
            assert_eq!(world.verdict_with("exp", odd), Err(TokenError::Malformed));
        }
    }

    #[test]
    fn what_is_critical_and_not_understood_makes_a_token_invalid() {
        let world = world();
        let mut header = Header::new(Algorithm::ES256);
        header.crit = Some(vec!["exp".to_owned()]);
        let token = jsonwebtoken::encode(&header, &claims(), &world.key).unwrap();
        assert_eq!(world.verdict(&token), Err(TokenError::Forged));
    }

    #[test]
    fn tokens_for_others_are_refused() {
        let world = world();
        world.verdict_with("aud", json!(["x", AUDIENCE])).unwrap();
        for (name, value) in [
            ("aud", json!("x")),
            ("aud", json!([])),
            ("aud", json!("")),
            ("iss", json!("x")),
            ("role", json!("ROOT")),
        ] {
            assert!(world.verdict_with(name, value).is_err(), "{name}");
        }
        for missing in ["aud", "iss", "sub", "exp", "role"] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(missing);
            assert!(world.verdict(&world.sign(Some("k1"), &claims)).is_err(), "{missing}");
        }
    }

    #[test]
    fn keys_that_we_do_not_know_are_refused() {
        let world = world();
        for kid in ["k2", "", "../../../../dev/null", "' or 1=1--", "\0"] {
            let token = world.sign(Some(kid), &claims());
            assert_eq!(world.verdict(&token), Err(TokenError::Forged), "{kid}");
        }
        let (stranger, _) = new_key("k1");
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) };
        let token = jsonwebtoken::encode(&header, &claims(), &stranger).unwrap();
        assert_eq!(world.verdict(&token), Err(TokenError::Forged));
    }

    #[test]
    fn a_set_of_one_key_without_an_id_verifies_every_token_of_that_key() {
        let world = world();
        let (key, mut jwk) = new_key("k2");
        jwk.as_object_mut().unwrap().remove("kid");
        let keys = serde_json::to_vec(&json!({"keys": [jwk]})).unwrap();
        world.verifier.set_keys(KeySet::parse(&keys).unwrap());
        let world = World { key, ..world };
        for kid in [None, Some("theirs")] {
            world.verdict(&world.sign(kid, &claims())).unwrap();
        }
    }

    #[test]
    fn a_set_without_a_key_locks_nobody_out() {
        let world = world();
        world.verifier.set_keys(KeySet::parse(br#"{"keys": []}"#).unwrap());
        world.verdict(&world.sign(Some("k1"), &claims())).unwrap();
        assert!(world.verifier.is_ready());
    }

    #[test]
    fn other_algorithms_are_refused() {
        let world = world();
        let payload = URL_SAFE_NO_PAD.encode(claims().to_string());
        for algorithm in ["none", "None", "NONE", "nOnE", "HS256", "RS256", "ES384"] {
            for signature in ["", "AAAA", "garbage!"] {
                let header = json!({"alg": algorithm, "typ": "JWT", "kid": "k1"}).to_string();
                let token = format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode(header));
                assert!(world.verdict(&token).is_err(), "{algorithm} {signature}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn one_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..7) {
            let world = world();
            let token = world.sign(Some("k1"), &claims());
            let mut bytes = token.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let changed = String::from_utf8(bytes).unwrap();
            // The last character of a part carries bits that base64 leaves unused.
            prop_assume!(!differs_in_padding_only(&token, &changed));
            prop_assert!(world.verdict(&changed).is_err());
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let world = world();
            prop_assert!(world.verdict(&text).is_err());
        }
    }

    fn differs_in_padding_only(a: &str, b: &str) -> bool {
        let decoded = |token: &str| {
            token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part)).collect::<Vec<_>>()
        };
        decoded(a) == decoded(b)
    }
}
