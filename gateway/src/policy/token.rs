//! Whose token is it, and may they?
//!
//! A token is read from the `Authorization` header and from nowhere else: one in a query would end
//! up in logs and histories.

use http::HeaderMap;
use shared_middleware::{
    access::Access,
    error::{ErrorCode, Failure},
    identity::Caller,
    require_token::{bearer, refused},
    token::{CacheOutcome, TokenError, Verifier},
};

use crate::metrics;

/// The user behind a request.
pub(crate) fn caller(verifier: &Verifier, headers: &HeaderMap) -> Result<Caller, Failure> {
    let token = match bearer(headers) {
        Ok(Some(token)) => token,
        Ok(None) => {
            count("missing");
            return Err(Failure::new(ErrorCode::Unauthenticated, "a token is needed"));
        }
        Err(error) => return Err(rejected(error)),
    };
    let (verdict, cache) = verifier.verify(token);
    match cache {
        CacheOutcome::Hit => metrics::TOKEN_CACHE_HIT.inc(),
        CacheOutcome::Miss => metrics::TOKEN_CACHE.with_label_values(&["miss"]).inc(),
    }
    verdict.map_err(rejected)
}

/// Whether the user's role allows what the row asks for.
pub(crate) fn permit(access: Access, caller: &Caller) -> Result<(), Failure> {
    let allowed = match access {
        Access::Open | Access::AnyUser => true,
        Access::User(permission) => permission.allows(caller.role),
        // Such rows are for parts, which do not come through the gateway.
        Access::Parts(_) => false,
    };
    if allowed {
        metrics::AUTH_OK.inc();
        return Ok(());
    }
    count("forbidden");
    Err(Failure::new(ErrorCode::Forbidden, "your role does not allow this"))
}

fn rejected(error: TokenError) -> Failure {
    match error {
        TokenError::Malformed => count("malformed"),
        TokenError::Expired => count("expired"),
        TokenError::NotYet => count("not_yet"),
        TokenError::Forged => count("forged"),
        TokenError::Revoked => count("revoked"),
        TokenError::NoRole => count("forbidden"),
        // No verdict on the token: nothing could be said.
        TokenError::NoKeys | TokenError::NoRevocations => {}
    }
    refused(error)
}

fn count(outcome: &str) {
    metrics::AUTH.with_label_values(&[outcome]).inc();
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::AUTHORIZATION};
    use shared_middleware::{identity::Role, permission::Permission};

    use super::*;
    use crate::test_support::Keys;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn our_token_names_its_user() {
        let keys = Keys::new();
        let bearer = format!("Bearer {}", keys.token("u1", Role::Clinician));
        let caller = caller(&keys.verifier(), &headers(&[&bearer])).unwrap();
        assert_eq!((&*caller.subject, caller.role), ("u1", Role::Clinician));
    }

    #[test]
    fn anything_else_is_unauthenticated() {
        let keys = Keys::new();
        let ours = format!("Bearer {}", keys.token("u1", Role::Admin));
        let strangers = format!("Bearer {}", Keys::new().token("u1", Role::Admin));
        for values in [&[][..], &["Basic YTpi"], &["Bearer x"], &[&strangers], &[&ours, &ours]] {
            let refused = caller(&keys.verifier(), &headers(values)).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::Unauthenticated, "{values:?}");
        }
    }

    #[test]
    fn before_the_keys_are_known_the_gateway_is_unavailable() {
        let keys = Keys::new();
        let bearer = format!("Bearer {}", keys.token("u1", Role::Admin));
        let refused = caller(&Keys::verifier_without_keys(), &headers(&[&bearer])).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Unavailable);
    }

    #[test]
    fn a_role_without_the_permission_is_forbidden() {
        let caller = Caller { subject: "u1".into(), role: Role::Auditor, session: None };
        assert!(permit(Access::AnyUser, &caller).is_ok());
        assert!(permit(Access::User(Permission::ReadAnalytics), &caller).is_ok());
        let refused = permit(Access::User(Permission::ReadPatients), &caller).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Forbidden);
        assert!(permit(Access::Parts(&[]), &caller).is_err());
    }
}
