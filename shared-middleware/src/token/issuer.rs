//! An issuer whose tokens are accepted: its keys, and how its tokens are read.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use http::Uri;
use jsonwebtoken::{Algorithm, Header, Validation, decode};
use tokio::sync::{Notify, watch};

use super::{
    AUDIENCE, Claims, ISSUER, KeySet, TokenError, external::ExternalClaims, keys::ACCEPTED,
};
use crate::identity::Caller;

/// Somebody else's tokens that are accepted beside ours (OpenID Connect).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalIssuer {
    /// Claim `iss` of its tokens.
    pub issuer: String,
    /// What claim `aud` of its tokens must name.
    pub audience: String,
    /// Where its key set is: `https`, or `http` on this machine.
    pub jwks_url: Uri,
    /// The authorities that vouch for that server, PEM; the system's own when `None`.
    pub ca: Option<PathBuf>,
    /// Which claim names the role: a name at the top, or a path of names with points between.
    pub role_claim: String,
}

/// When a token holds, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) exp: i64,
    pub(super) iat: Option<i64>,
    pub(super) nbf: Option<i64>,
}

/// A token whose signature, issuer and audience are right.
pub(super) struct Signed {
    pub(super) caller: Caller,
    pub(super) times: Times,
    pub(super) keys: Arc<Keys>,
}

/// Keys as they were at one time.
#[derive(Default)]
pub(super) struct Keys {
    set: KeySet,
    replaced: AtomicBool,
}

/// One issuer, with the keys that are known of it.
pub(super) struct Issuer {
    /// `None`: ourselves.
    external: Option<ExternalIssuer>,
    algorithms: &'static [Algorithm],
    validation: Validation,
    keys: ArcSwap<Keys>,
    ready: watch::Sender<bool>,
    unknown_key: Notify,
}

// === impl Keys ===

impl Keys {
    /// Whether others have taken their place: what these verified has to be verified again.
    pub(super) fn are_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }
}

// === impl Issuer ===

impl Issuer {
    /// Ourselves: auth, or whose keys are accepted in its place.
    pub(super) fn ours() -> Self {
        Self::new(None, &[Algorithm::ES256], ISSUER, AUDIENCE)
    }

    pub(super) fn external(issuer: ExternalIssuer) -> Self {
        let (name, audience) = (issuer.issuer.clone(), issuer.audience.clone());
        Self::new(Some(issuer), &ACCEPTED, &name, &audience)
    }

    fn new(
        external: Option<ExternalIssuer>,
        algorithms: &'static [Algorithm],
        name: &str,
        audience: &str,
    ) -> Self {
        let mut validation = Validation::default();
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[name]);
        validation.set_audience(&[audience]);
        // Times are compared by the verifier, by our own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            external,
            algorithms,
            validation,
            keys: ArcSwap::default(),
            ready: watch::Sender::new(false),
            unknown_key: Notify::new(),
        }
    }

    /// What is known of it beside its keys, unless it is ourselves.
    pub(super) const fn about(&self) -> Option<&ExternalIssuer> {
        self.external.as_ref()
    }

    /// Accepts tokens of these keys from now on, and of no others. A set without a usable key is
    /// somebody's mistake: it changes nothing, for it would lock everybody out.
    pub(super) fn set_keys(&self, json: &[u8]) -> Result<(), serde_json::Error> {
        self.replace_keys(KeySet::of(json, self.algorithms)?);
        Ok(())
    }

    pub(super) fn replace_keys(&self, set: KeySet) {
        if set.is_empty() {
            tracing::warn!("key set has no accepted key, keeping the previous keys");
            return;
        }
        let keys = Keys { set, replaced: AtomicBool::new(false) };
        self.keys.swap(Arc::new(keys)).replaced.store(true, Ordering::Release);
        self.ready.send_replace(true);
    }

    /// Whether a key is known.
    pub(super) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits until a key is known.
    pub(super) async fn ready(&self) {
        // It fails only when the sender is gone, which `self` holds.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Waits until a token needed a key that is not known.
    pub(super) async fn unknown_key(&self) {
        self.unknown_key.notified().await;
    }

    /// Whether the token is signed by a key of this issuer, for us; its time is not looked at.
    ///
    /// A key is for one algorithm, which the header must name: it chooses none (RFC 8725, 3.1).
    pub(super) fn verify(&self, token: &str, header: &Header) -> Result<Signed, TokenError> {
        if !self.algorithms.contains(&header.alg) {
            return Err(TokenError::Forged);
        }
        let keys = self.keys.load_full();
        let Some(key) = keys.set.find(header.kid.as_deref()) else {
            self.unknown_key.notify_one();
            return Err(if keys.set.is_empty() { TokenError::NoKeys } else { TokenError::Forged });
        };
        if key.algorithm != header.alg {
            return Err(TokenError::Forged);
        }
        let validation = Validation { algorithms: vec![key.algorithm], ..self.validation.clone() };
        let (caller, times) = match &self.external {
            None => decode::<Claims>(token, &key.key, &validation).map(|read| ours(read.claims)),
            Some(issuer) => decode::<ExternalClaims>(token, &key.key, &validation)
                .map(|read| read.claims.read_as(issuer)),
        }
        .map_err(|error| refusal(&error))??;
        Ok(Signed { caller, times, keys })
    }
}

fn ours(claims: Claims) -> Result<(Caller, Times), TokenError> {
    let times = Times { exp: claims.exp, iat: claims.iat, nbf: claims.nbf };
    let caller = Caller { subject: claims.sub.into(), role: claims.role, session: claims.sid };
    Ok((caller, times))
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
