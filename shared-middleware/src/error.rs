//! How a failure looks on the wire, in HTTP (RFC 9457) and in gRPC.

use std::{borrow::Cow, error::Error as StdError};

use axum::response::{IntoResponse, Response};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use tonic::Code;

use crate::trace_context;

/// The media type of every error body.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What a caller can do about a failure. Deliberately few: one more only when a client must act on
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the table in `wire` says it")]
pub enum ErrorCode {
    Invalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    PreconditionFailed,
    TooLarge,
    UnsupportedMediaType,
    IdempotencyKeyReused,
    RateLimited,
    Internal,
    Unavailable,
    DeadlineExceeded,
}

/// A service's own error enum. It speaks its domain; only `code` knows that there is a wire.
pub trait ServiceError: StdError + Send + Sync + 'static {
    /// The row of the wire table.
    fn code(&self) -> ErrorCode;

    /// The fields that failed validation.
    fn fields(&self) -> Vec<FieldError> {
        Vec::new()
    }

    /// When to come back, if that is known, in seconds.
    fn retry_after_s(&self) -> Option<u64> {
        None
    }
}

/// One field that failed validation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Its name, as in the request.
    pub field: Cow<'static, str>,
    /// What is wrong with it; never its value.
    pub message: Cow<'static, str>,
}

/// A failure on its way out: what the caller may know, and nothing else.
#[derive(Debug)]
pub struct Failure {
    code: ErrorCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after_s: Option<u64>,
    allow: Option<HeaderValue>,
}

/// The body of a failure: RFC 9457, with our `code`, `traceId` and `errors`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

// === impl ErrorCode ===

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 14] = [
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::IdempotencyKeyReused,
        Self::RateLimited,
        Self::Internal,
        Self::Unavailable,
        Self::DeadlineExceeded,
    ];

    /// The one table from failures to HTTP and gRPC.
    #[rustfmt::skip]
    pub const fn wire(self) -> (&'static str, StatusCode, Code) {
        match self {
            Self::Invalid              => ("invalid",                StatusCode::BAD_REQUEST,            Code::InvalidArgument),
            Self::Unauthenticated      => ("unauthenticated",        StatusCode::UNAUTHORIZED,           Code::Unauthenticated),
            Self::Forbidden            => ("forbidden",              StatusCode::FORBIDDEN,              Code::PermissionDenied),
            Self::NotFound             => ("not_found",              StatusCode::NOT_FOUND,              Code::NotFound),
            Self::MethodNotAllowed     => ("method_not_allowed",     StatusCode::METHOD_NOT_ALLOWED,     Code::Unimplemented),
            Self::Conflict             => ("conflict",               StatusCode::CONFLICT,               Code::AlreadyExists),
            Self::PreconditionFailed   => ("precondition_failed",    StatusCode::PRECONDITION_FAILED,    Code::FailedPrecondition),
            Self::TooLarge             => ("too_large",              StatusCode::PAYLOAD_TOO_LARGE,      Code::ResourceExhausted),
            Self::UnsupportedMediaType => ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument),
            Self::IdempotencyKeyReused => ("idempotency_key_reused", StatusCode::UNPROCESSABLE_ENTITY,   Code::InvalidArgument),
            Self::RateLimited          => ("rate_limited",           StatusCode::TOO_MANY_REQUESTS,      Code::ResourceExhausted),
            Self::Internal             => ("internal",               StatusCode::INTERNAL_SERVER_ERROR,  Code::Internal),
            Self::Unavailable          => ("unavailable",            StatusCode::SERVICE_UNAVAILABLE,    Code::Unavailable),
            Self::DeadlineExceeded     => ("deadline_exceeded",      StatusCode::GATEWAY_TIMEOUT,        Code::DeadlineExceeded),
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        self.wire().1
    }
}

// === impl FieldError ===

impl FieldError {
    /// A field and what is wrong with it.
    pub fn new(field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

// === impl Failure ===

impl Failure {
    /// A failure with a text for the caller: no internals, no personal data.
    pub fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after_s = matches!(code, ErrorCode::Unavailable).then_some(1);
        Self { code, detail: detail.into(), errors: Vec::new(), retry_after_s, allow: None }
    }

    /// A request whose fields failed validation.
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let detail = "one or more fields are invalid";
        Self { errors, ..Self::new(ErrorCode::Invalid, detail) }
    }

    /// A path that has these methods, and not the one that was asked for.
    pub fn method_not_allowed(methods: &[&str]) -> Self {
        let detail = "this path does not have that method";
        let allow = HeaderValue::from_str(&methods.join(", ")).ok();
        Self { allow, ..Self::new(ErrorCode::MethodNotAllowed, detail) }
    }

    /// The same, with `Retry-After`.
    pub fn retry_after_s(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The row of the wire table.
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// The headers that belong to it beside the content type.
    pub fn headers(&self) -> impl Iterator<Item = (http::HeaderName, HeaderValue)> {
        let challenge = matches!(self.code, ErrorCode::Unauthenticated)
            .then(|| (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        let retry = self.retry_after_s.map(|s| (RETRY_AFTER, HeaderValue::from(s)));
        let allow = self.allow.clone().map(|methods| (ALLOW, methods));
        challenge.into_iter().chain(retry).chain(allow)
    }

    /// The body: `application/problem+json`.
    pub fn body(&self, trace_id: Option<String>) -> Vec<u8> {
        let (code, status, _) = self.code.wire();
        let problem = Problem {
            r#type: format!("urn:medisync:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: &self.detail,
            code,
            trace_id,
            errors: &self.errors,
        };
        serde_json::to_vec(&problem).unwrap_or_default()
    }

    /// Answers in the protocol that the caller spoke.
    pub fn answer(self, request: &HeaderMap) -> Response {
        self.answer_as(is_grpc(request))
    }

    /// Answers by gRPC or HTTP.
    pub fn answer_as(self, grpc: bool) -> Response {
        if grpc {
            return tonic::Status::from(self).into_http();
        }
        self.into_response()
    }
}

impl<E: ServiceError> From<E> for Failure {
    fn from(error: E) -> Self {
        let code = error.code();
        match code {
            // Logged here, once, with its causes; the caller learns only that it was our fault.
            ErrorCode::Internal => {
                tracing::error!(error = causes(&error), "request failed");
                Self::new(code, "internal error")
            }
            ErrorCode::Unavailable => {
                tracing::warn!(error = causes(&error), "request refused");
                Self::new(code, "the service is not available right now")
            }
            _ => Self {
                errors: error.fields(),
                retry_after_s: error.retry_after_s(),
                ..Self::new(code, error.to_string())
            },
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let trace_id = trace_context::current().map(|trace| trace.trace_id());
        let mut response = (self.code.status(), self.body(trace_id)).into_response();
        response.headers_mut().extend(self.headers());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response
    }
}

impl From<Failure> for tonic::Status {
    fn from(failure: Failure) -> Self {
        let (_, _, code) = failure.code.wire();
        Self::new(code, failure.detail)
    }
}

/// Whether a request is a gRPC call.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// An error and all that caused it, on one line.
pub fn causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_statuses_are_told_apart() {
        for (i, code) in ErrorCode::ALL.iter().enumerate() {
            assert!(code.status().as_u16() >= 400);
            assert!(ErrorCode::ALL[..i].iter().all(|other| other.wire().0 != code.wire().0));
        }
    }

    #[test]
    fn a_missing_token_is_told_how_to_sign_in() {
        let response = Failure::new(ErrorCode::Unauthenticated, "no token").into_response();
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(response.headers()["content-type"], PROBLEM_JSON);
    }

    #[test]
    fn a_grpc_caller_is_refused_in_grpc() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
        let response = Failure::new(ErrorCode::Forbidden, "no").answer(&headers);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "7");
    }
}
