//! Admits a request only on behalf of a user who may make it.
//!
//! Reads:   `Authorization: Bearer` and the route's [`Access`]; of a call within the process the
//!          user whose token the caller has verified ([`crate::in_process`]).
//! Writes:  the [`Caller`] extension.
//! Rejects: `Unauthenticated` without a valid token, `Forbidden` when it gives no role or the role
//!          lacks the permission, `Unavailable` while no signing key is known.

use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use axum::{extract::Request, response::Response};
use futures_util::future::Either;
use http::{HeaderMap, header::AUTHORIZATION};
use tower::{Layer, Service};

use crate::{
    access::Access,
    audit::AuditContext,
    error::{ErrorCode, Failure},
    identity::Caller,
    in_process::VerifiedCaller,
    token::{TokenError, Verifier},
};

/// Wraps a service in [`RequireToken`].
#[derive(Clone)]
pub struct RequireTokenLayer {
    verifier: Arc<Verifier>,
}

/// Answers for the inner service when there is no user who may.
#[derive(Clone)]
pub struct RequireToken<S> {
    verifier: Arc<Verifier>,
    inner: S,
}

/// The token of a request: one `Authorization` header, of scheme `Bearer` (RFC 6750, 2.1).
///
/// # Errors
/// `None` when there is no such header; `Malformed` when there are two, or it is another scheme.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, TokenError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(TokenError::Malformed);
    }
    let text = value.to_str().map_err(|_| TokenError::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(TokenError::Malformed)?;
    let token = token.trim_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(TokenError::Malformed);
    }
    Ok(Some(token))
}

// === impl RequireTokenLayer ===

impl RequireTokenLayer {
    /// By this verifier.
    pub const fn new(verifier: Arc<Verifier>) -> Self {
        Self { verifier }
    }
}

impl<S> Layer<S> for RequireTokenLayer {
    type Service = RequireToken<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireToken { verifier: Arc::clone(&self.verifier), inner }
    }
}

// === impl RequireToken ===

impl<S> RequireToken<S> {
    fn caller(&self, request: &Request) -> Result<Option<Caller>, Failure> {
        let permission = match request.extensions().get::<Access>() {
            Some(Access::Open | Access::Parts(_)) => return Ok(None),
            Some(Access::AnyUser) => None,
            Some(Access::User(permission)) => Some(permission),
            None => return Err(Failure::new(ErrorCode::Forbidden, "nobody may call this")),
        };
        let caller = match request.extensions().get::<VerifiedCaller>() {
            Some(VerifiedCaller(caller)) => caller.clone(),
            None => self.verified(request.headers())?,
        };
        if let Some(asked) = request.extensions().get::<AuditContext>() {
            asked.by_caller(&caller);
        }
        if permission.is_some_and(|permission| !permission.allows(caller.role)) {
            return Err(Failure::new(ErrorCode::Forbidden, "your role does not allow this"));
        }
        Ok(Some(caller))
    }

    fn verified(&self, headers: &HeaderMap) -> Result<Caller, Failure> {
        let Some(token) = bearer(headers).map_err(refused)? else {
            return Err(Failure::new(ErrorCode::Unauthenticated, "a token is needed"));
        };
        self.verifier.verify(token).0.map_err(refused)
    }
}

/// The error of a token that was refused.
pub fn refused(error: TokenError) -> Failure {
    match error {
        TokenError::NoKeys | TokenError::NoRevocations => {
            Failure::new(ErrorCode::Unavailable, error.to_string())
        }
        TokenError::NoRole => Failure::new(ErrorCode::Forbidden, error.to_string()),
        _ => Failure::new(ErrorCode::Unauthenticated, error.to_string()),
    }
}

impl<S> Service<Request> for RequireToken<S>
where
    S: Service<Request, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.caller(&request) {
            Ok(caller) => {
                if let Some(caller) = caller {
                    request.extensions_mut().insert(caller);
                }
                Either::Left(self.inner.call(request))
            }
            Err(failure) => Either::Right(ready(Ok(failure.answer(request.headers())))),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn bearer_of(values: &[&str]) -> Result<Option<String>, TokenError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        bearer(&headers).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn one_bearer_token_is_read_and_anything_else_is_malformed() {
        assert_eq!(bearer_of(&[]), Ok(None));
        assert_eq!(bearer_of(&["Bearer abc"]), Ok(Some("abc".to_owned())));
        assert_eq!(bearer_of(&["bearer abc"]), Ok(Some("abc".to_owned())));
        for odd in
            [&["Bearer"][..], &["Bearer "], &["Basic abc"], &["abc"], &["Bearer a", "Bearer b"]]
        {
            assert_eq!(bearer_of(odd), Err(TokenError::Malformed), "{odd:?}");
        }
    }
}
