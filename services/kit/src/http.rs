//! What handlers read of a request; a failure is told as the mesh tells it.
//!
//! A body's values never come back in an error: only the names of its fields do.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::BytesRejection},
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE, request::Parts};
use serde::de::DeserializeOwned;
use shared_middleware::error::{ErrorCode, Failure, FieldError};
use uuid::Uuid;

use crate::fields::{self, Fields};

/// A JSON body, no longer than the mesh allows.
pub struct JsonBody<T>(pub T);

/// A JSON object, no longer than the mesh allows, to be read field by field.
pub struct JsonFields(pub Fields);

/// A query string, of which every parameter is known.
pub struct QueryParams<T>(pub T);

/// A query string, to be read parameter by parameter.
pub struct QueryFields(pub Fields);

/// The id in a path. One that is no UUID names nothing: 404.
pub struct IdInPath(pub Uuid);

// === impl JsonBody ===

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        parse_object(&json(request, state).await?).map(Self)
    }
}

async fn json<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Failure> {
    if !is_json(request.headers()) {
        let detail = "the content type must be application/json";
        return Err(Failure::new(ErrorCode::UnsupportedMediaType, detail));
    }
    Bytes::from_request(request, state).await.map_err(unread)
}

/// Every body is an object; serde alone would also take a list of the fields' values in order.
fn parse_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let parsed = serde_json::from_slice(body).map_err(|error| not_that_json(&error))?;
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::new(ErrorCode::Invalid, "the body is not a JSON object"));
    }
    Ok(parsed)
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

/// Tells where and what, without the values that serde's own text would quote.
fn not_that_json(error: &serde_json::Error) -> Failure {
    use serde_json::error::Category;
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Data => {
            let text = error.to_string();
            if let Some(field) = named_field(&text, "unknown field `") {
                return Failure::invalid_fields(vec![FieldError::new(field, "is not known here")]);
            }
            if let Some(field) = named_field(&text, "missing field `") {
                return Failure::invalid_fields(vec![FieldError::new(field, "is required")]);
            }
            if let Some(field) = named_field(&text, "duplicate field `") {
                return Failure::invalid_fields(vec![FieldError::new(field, "is there twice")]);
            }
            let detail = format!("a value has the wrong type at {place}");
            Failure::new(ErrorCode::Invalid, detail)
        }
        _ => Failure::new(ErrorCode::Invalid, format!("the body is not JSON at {place}")),
    }
}

/// The field that serde names, if it looks like one: it is the client's text.
fn named_field(text: &str, before: &str) -> Option<String> {
    let (name, _) = text.strip_prefix(before)?.split_once('`')?;
    Some(fields::told(name))
}

// === impl JsonFields ===

impl<S: Send + Sync> FromRequest<S> for JsonFields {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        Fields::of_json(&json(request, state).await?).map(Self)
    }
}

// === impl QueryParams ===

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(_) => Err(Failure::new(
                ErrorCode::Invalid,
                "a query parameter is unknown, there twice, or not of its form",
            )),
        }
    }
}

// === impl QueryFields ===

impl<S: Send + Sync> FromRequestParts<S> for QueryFields {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Query(params) = Query::from_request_parts(parts, state)
            .await
            .map_err(|_| Failure::new(ErrorCode::Invalid, "the query is not of its form"))?;
        Fields::of_query(params).map(Self)
    }
}

// === impl IdInPath ===

impl<S: Send + Sync> FromRequestParts<S> for IdInPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Path::<Uuid>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(_) => Err(Failure::new(ErrorCode::NotFound, "there is nothing with this id")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Input {
        name: String,
    }

    fn told(json: &str) -> String {
        let error = parse_object::<Input>(json.as_bytes()).unwrap_err();
        String::from_utf8(error.body(None)).unwrap()
    }

    #[test]
    fn an_error_names_fields_and_never_values() {
        assert!(told(r#"{"name":"a","x":1}"#).contains(r#""field":"x""#));
        assert!(told("{}").contains("is required"));
        assert!(told(r#"{"name":"#).contains("not JSON"));
        for secret in [r#"{"name":12345678}"#, r#"{"<script>":1}"#, r#"["12345678"]"#] {
            let told = told(secret);
            assert!(!told.contains("12345678") && !told.contains("script"), "{told}");
        }
    }
}
