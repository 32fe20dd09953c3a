//! Is this token good, and whose is it?

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use jsonwebtoken::{Header, dangerous::insecure_decode_claims, decode_header};
use quick_cache::sync::Cache;
use serde::Deserialize;
use tokio::sync::Notify;

use super::{
    ExternalIssuer, KeySet, RevokedSession,
    issuer::{Issuer, Keys, Signed, Times},
    revoked::Revoked,
};
use crate::{clock::Clock, identity::Caller};

/// A clock that differs more from auth's is wrong.
const CLOCK_SKEW_S_MAX: i64 = 30;

/// Bounds of a verifier.
#[derive(Clone, Copy, Debug)]
pub struct VerifierConfig {
    /// A longer token is refused unread.
    pub token_bytes_max: usize,
    /// This many verified tokens are remembered.
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
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYet,
    /// Nobody who is trusted signed it, or not for this recipient.
    #[error("the token is not valid")]
    Forged,
    /// Its sign-in was ended.
    #[error("the token was revoked")]
    Revoked,
    /// It is good, but gives its user none of our roles, or several.
    #[error("the token names no role of ours, or more than one")]
    NoRole,
    /// No key of its issuer has been learnt yet, so nothing can be said.
    #[error("the signing keys are not known yet")]
    NoKeys,
    /// Auth's feed was not read to its end yet, so its sign-in may have been ended.
    #[error("the sign-ins that were ended are not known yet")]
    NoRevocations,
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
/// A token that was verified once is remembered until it expires, is revoked, or its issuer's keys
/// change, so that a signature is checked once a token and not once a request.
pub struct Verifier {
    config: VerifierConfig,
    clock: Clock,
    ours: Issuer,
    externals: Vec<Issuer>,
    revoked: Revoked,
    cache: Cache<Box<str>, Arc<Verified>>,
    heard_of_auth_at_s: AtomicI64,
    ahead_of_auth_s: AtomicI64,
    /// Whether auth's feed was read to its end, once.
    revocations_known: AtomicBool,
    revocations_came: Notify,
}

/// A token that was verified.
pub(super) struct Verified {
    caller: Caller,
    expires_at_s: i64,
    keys: Arc<Keys>,
}

/// Whose token it says it is.
#[derive(Deserialize)]
struct Named {
    iss: String,
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
    /// A verifier of our own tokens that knows no key yet.
    pub fn new(config: VerifierConfig, clock: Clock) -> Self {
        Self {
            config,
            ours: Issuer::ours(),
            externals: Vec::new(),
            revoked: Revoked::default(),
            cache: Cache::new(config.tokens_cached_max),
            heard_of_auth_at_s: AtomicI64::new(clock.unix_s()),
            ahead_of_auth_s: AtomicI64::new(0),
            revocations_known: AtomicBool::new(false),
            revocations_came: Notify::new(),
            clock,
        }
    }

    /// The same, which accepts tokens of these as well, as soon as their keys are known.
    #[must_use]
    pub fn trusting(self, issuers: impl IntoIterator<Item = ExternalIssuer>) -> Self {
        Self { externals: issuers.into_iter().map(Issuer::external).collect(), ..self }
    }

    /// Whose token it is.
    pub fn verify(&self, token: &str) -> (Result<Caller, TokenError>, CacheOutcome) {
        let known = self.cache.get(token).filter(|known| !known.keys.are_replaced());
        if let Some(known) = known {
            return (self.still_valid(&known), CacheOutcome::Hit);
        }
        let verdict = self.verify_signature(token).and_then(|verified| {
            let caller = self.still_valid(&verified)?;
            self.remember(token, verified);
            Ok(caller)
        });
        (verdict, CacheOutcome::Miss)
    }

    /// Accepts tokens of ours by these keys from now on, and by no others. A set without a usable
    /// key is somebody's mistake: it changes nothing, for it would lock everybody out.
    pub fn set_keys(&self, keys: KeySet) {
        self.ours.replace_keys(keys);
    }

    /// Refuses these sign-ins from now on, and forgets those whose tokens have ended by now, which
    /// auth says; at 0 none.
    pub fn revoke(&self, sessions: &[RevokedSession], auths_now_s: i64) {
        self.revoked.add(sessions, auths_now_s);
    }

    /// Everything that was ended until now is known: from here on tokens of sign-ins can be good.
    pub fn knows_revocations(&self) {
        self.revocations_known.store(true, Ordering::Release);
        self.revocations_came.notify_waiters();
    }

    /// Notes that auth's feed answered, and what time it was there; 0 when it does not say.
    pub(super) fn heard_of_auth(&self, auths_now_s: i64) {
        let now_s = self.clock.unix_s();
        self.heard_of_auth_at_s.store(now_s, Ordering::Relaxed);
        if auths_now_s > 0 {
            self.ahead_of_auth_s.store(now_s.saturating_sub(auths_now_s), Ordering::Relaxed);
        }
    }

    /// Whether this machine's clock is about that of auth: else tokens that have ended would be
    /// good, or good ones would have ended.
    pub fn agrees_with_auths_clock(&self) -> bool {
        self.ahead_of_auth_s.load(Ordering::Relaxed).abs() <= CLOCK_SKEW_S_MAX
    }

    /// For how long auth's feed has been silent, in seconds: a sign-out since then may be unknown.
    pub fn feed_age_s(&self) -> i64 {
        self.clock.unix_s().saturating_sub(self.heard_of_auth_at_s.load(Ordering::Relaxed)).max(0)
    }

    /// Whether a key of ours is known, and which sign-ins were ended, so that our tokens can be
    /// verified.
    pub fn is_ready(&self) -> bool {
        self.ours.is_ready() && self.revocations_known.load(Ordering::Acquire)
    }

    /// Waits until tokens of ours can be verified.
    pub async fn ready(&self) {
        self.ours.ready().await;
        loop {
            let came = self.revocations_came.notified();
            if self.revocations_known.load(Ordering::Acquire) {
                return;
            }
            came.await;
        }
    }

    /// Ourselves.
    pub(super) const fn ours(&self) -> &Issuer {
        &self.ours
    }

    /// The others whose tokens are accepted.
    pub(super) fn externals(&self) -> &[Issuer] {
        &self.externals
    }

    pub(super) fn remember(&self, token: &str, verified: Verified) {
        self.cache.insert(token.into(), Arc::new(verified));
    }

    /// How many tokens are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.cache.len()
    }

    pub(super) fn verify_signature(&self, token: &str) -> Result<Verified, TokenError> {
        if token.len() > self.config.token_bytes_max {
            return Err(TokenError::Malformed);
        }
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        // What a header calls critical has to be understood (RFC 7515, 4.1.11), and none of it is.
        if header.crit.is_some() || !is_access_token(&header) {
            return Err(TokenError::Forged);
        }
        let Signed { caller, times, keys } = self.issuer_of(token).verify(token, &header)?;
        self.check_times(times)?;
        Ok(Verified { caller, expires_at_s: times.exp, keys })
    }

    /// Whose keys are to be tried. Nobody has vouched for the claim yet: the issuer found by it
    /// verifies it with the rest.
    fn issuer_of(&self, token: &str) -> &Issuer {
        let external = || {
            let named: Named = insecure_decode_claims(token).ok()?;
            let is_it = |issuer: &&Issuer| issuer.about().is_some_and(|it| it.issuer == named.iss);
            self.externals.iter().find(is_it)
        };
        if self.externals.is_empty() { &self.ours } else { external().unwrap_or(&self.ours) }
    }

    fn check_times(&self, times: Times) -> Result<(), TokenError> {
        let now_s = self.clock.unix_s();
        let latest_s = now_s.saturating_add(self.config.leeway_s);
        let begins_s = times.nbf.into_iter().chain(times.iat).max().unwrap_or(now_s);
        if begins_s > latest_s {
            return Err(TokenError::NotYet);
        }
        let from_s = times.iat.unwrap_or(now_s);
        let longest_s = from_s.saturating_add(self.config.lifetime_s_max);
        if times.exp > longest_s.saturating_add(self.config.leeway_s) {
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
            Some(_) if !self.revocations_known.load(Ordering::Acquire) => {
                Err(TokenError::NoRevocations)
            }
            _ => Ok(token.caller.clone()),
        }
    }
}

/// Whether its type, if it names one, is an access token's (RFC 9068, 2.1) or any JWT's: what is
/// signed for another purpose by the same key is none (RFC 8725, 3.11).
fn is_access_token(header: &Header) -> bool {
    header.typ.as_deref().is_none_or(|typ| {
        let typ = typ.to_ascii_lowercase();
        matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
    })
}
