//! What handlers read of a request; a failure is a problem document.
//!
//! A body's values never come back in an error: only the names of its fields do.

use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request,
        path::ErrorKind,
        rejection::{BytesRejection, PathRejection},
    },
};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};
use shared_middleware::error::{ErrorCode, Failure};
use uuid::Uuid;

use crate::fields::{self, RequestFields};

/// A JSON object, no longer than the mesh allows, to be read field by field.
pub struct JsonFields(pub RequestFields);

/// A query string, to be read parameter by parameter.
pub struct QueryFields(pub RequestFields);

/// The id in a path. One that is no UUID names nothing: 404.
pub struct PathId(pub Uuid);

// === impl JsonFields ===

impl<S: Send + Sync> FromRequest<S> for JsonFields {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        check_headers(request.headers())?;
        let body = Bytes::from_request(request, state).await.map_err(unread)?;
        RequestFields::of_json(&body).map(Self)
    }
}

/// That the body is JSON, as it is.
fn check_headers(headers: &HeaderMap) -> Result<(), Failure> {
    if !is_json(headers) {
        let detail = "the content type must be application/json";
        return Err(Failure::new(ErrorCode::UnsupportedMediaType, detail));
    }
    let codings = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = codings.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    // `identity` stands for none (RFC 9110, 12.5.3).
    let unknown = codings.find(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    });
    let Some(coding) = unknown else { return Ok(()) };
    let coding = fields::told(&String::from_utf8_lossy(coding.trim_ascii()));
    let detail = format!("the content coding {coding} is not understood: send the body as it is");
    Err(Failure::new(ErrorCode::UnsupportedMediaType, detail))
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next());
    media_type.is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

fn unread(rejection: BytesRejection) -> Failure {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Failure::new(ErrorCode::TooLarge, "the body is too long");
    }
    Failure::new(ErrorCode::Invalid, "the body broke off")
}

// === impl QueryFields ===

impl<S: Send + Sync> FromRequestParts<S> for QueryFields {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        if !parts.uri.query().is_none_or(is_text) {
            return Err(not_text());
        }
        let Query(params) = Query::from_request_parts(parts, state)
            .await
            .map_err(|_| Failure::new(ErrorCode::Invalid, "the query is not of its form"))?;
        RequestFields::of_query(params).map(Self)
    }
}

// === impl PathId ===

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Path::<Uuid>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(PathRejection::FailedToDeserializePathParams(error))
                if matches!(error.kind(), ErrorKind::InvalidUtf8InPathParam { .. }) =>
            {
                Err(not_text())
            }
            Err(_) => Err(Failure::new(ErrorCode::NotFound, "there is nothing with this id")),
        }
    }
}

/// Whether what is percent-encoded are bytes of UTF-8. The decoder would put something else in the
/// place of others, and a search for that finds nobody.
fn is_text(query: &str) -> bool {
    let mut bytes = Vec::with_capacity(query.len());
    let mut rest = query.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = || {
            let (digits, after) = after.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let byte = u8::from_str_radix(digits, 16).ok().filter(|_| plain)?;
            Some((byte, after))
        };
        let encoded = if byte == b'%' { hex() } else { None };
        let (byte, after) = encoded.unwrap_or((byte, after));
        bytes.push(byte);
        rest = after;
    }
    std::str::from_utf8(&bytes).is_ok()
}

fn not_text() -> Failure {
    Failure::new(ErrorCode::Invalid, "what is percent-encoded in the URL must be UTF-8")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn refused(lines: &[(&'static str, &'static str)]) -> Option<(StatusCode, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let failure = check_headers(&headers).err()?;
        Some((failure.code().status(), String::from_utf8(failure.body(None)).unwrap()))
    }

    #[test]
    fn a_coding_that_is_not_understood_is_named() {
        let json = ("content-type", "application/json; charset=utf-8");
        assert_eq!(refused(&[json]), None);
        assert_eq!(refused(&[json, ("content-encoding", "identity, IDENTITY")]), None);
        for (coding, named) in [("gzip", "gzip"), ("identity, br", "br"), ("<i>", "?")] {
            let (status, told) = refused(&[json, ("content-encoding", coding)]).unwrap();
            assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
            assert!(told.contains(&format!("coding {named} is not understood")), "{told}");
        }
        assert!(refused(&[("content-type", "text/plain")]).is_some());
        assert!(refused(&[]).is_some());
    }

    #[test]
    fn a_query_is_text() {
        for query in ["", "search=J%C3%B6hn+Doe&q[]=1", "a=%", "a=%zz&b=%4", "a=%+1"] {
            assert!(is_text(query), "{query}");
        }
        for query in ["search=%E9", "search=%FF", "%C3=1", "a=%C3&b=%A9", "a=%ed%a0%80"] {
            assert!(!is_text(query), "{query}");
        }
    }
}
