//! Pages of other origins that may call the API from a browser: those that are listed, no others.
//!
//! A browser says whose page asks (`Origin`) and shows it the answer only when that names the
//! origin back; before what a plain form could not send, it asks for leave (a preflight). Both are
//! of the Fetch standard, 3.2. Origins are compared byte by byte. Credentials of the browser's own
//! are never allowed: whoever has a token sends it, and no other site can make a browser do so.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
        ORIGIN, VARY,
    },
};
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};

use crate::{answer::Answer, host};

/// What requests may carry beside what any page may send.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-match, traceparent, x-request-id",
);

/// What of an answer a page may read beside what it always may.
const ANSWER_HEADERS: HeaderValue = HeaderValue::from_static(
    "location, etag, link, x-request-id, retry-after, ratelimit, ratelimit-policy",
);

/// A browser remembers so long, in seconds, what it may ask: an origin that is taken from the list
/// is refused by then.
const REMEMBERED_S: HeaderValue = HeaderValue::from_static("600");

/// An origin: `scheme://host[:port]`, as browsers write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// A text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no origin: https://host or https://host:port is wanted (or http), in lower case, \
     without a path and without the port that goes without saying; * is not taken"
)]
pub struct NoOrigin(String);

/// The origins that are listed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<Origin>);

/// What a browser is told of the page that asks.
#[derive(Clone, Debug, Default)]
pub(crate) enum Cors {
    /// Nothing: no origin is listed.
    #[default]
    Off,
    /// That it may not, or that it did not ask.
    Foreign,
    /// That it may.
    Allowed(HeaderValue),
}

/// Reads an origin.
///
/// # Errors
/// When the text is not in the form in which browsers send it, and so would never match.
pub fn parse_origin(text: &str) -> Result<Origin, NoOrigin> {
    let parsed = || {
        let (scheme, rest) = text.split_once("://")?;
        let implied = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let (_, port) = host::parse(rest)?;
        let canonical = port != Some(implied) && !rest.bytes().any(|b| b.is_ascii_uppercase());
        canonical.then(|| HeaderValue::from_str(text).ok()).flatten().map(Origin)
    };
    parsed().ok_or_else(|| NoOrigin(text.to_owned()))
}

// === impl Origins ===

impl Origins {
    pub(crate) const fn new(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// What the browser that sent these headers is told.
    pub(crate) fn judge(&self, headers: &HeaderMap) -> Cors {
        if self.0.is_empty() {
            return Cors::Off;
        }
        let mut said = headers.get_all(ORIGIN).iter();
        match (said.next(), said.next()) {
            (Some(said), None) if self.0.iter().any(|Origin(listed)| listed == said) => {
                Cors::Allowed(said.clone())
            }
            _ => Cors::Foreign,
        }
    }
}

// === impl Cors ===

impl Cors {
    /// The answer to a browser that asks for leave, where it gets it.
    pub(crate) fn preflight(&self, request: &RequestHeader, methods: &[&str]) -> Option<Answer> {
        let asks = request.method == Method::OPTIONS
            && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || !matches!(self, Self::Allowed(_)) {
            return None;
        }
        let methods = HeaderValue::from_str(&methods.join(", ")).ok()?;
        let headers: [(HeaderName, HeaderValue); 3] = [
            (ACCESS_CONTROL_ALLOW_METHODS, methods),
            (ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (ACCESS_CONTROL_MAX_AGE, REMEMBERED_S),
        ];
        Some(Answer {
            status: StatusCode::NO_CONTENT,
            content_type: HeaderValue::from_static("text/plain"),
            body: Bytes::new(),
            headers: headers.into(),
        })
    }

    /// Puts it on an answer. Where origins are listed every answer depends on who asks, and a
    /// cache has to know.
    pub(crate) fn stamp(&self, answer: &mut ResponseHeader) -> Result<()> {
        if matches!(self, Self::Off) {
            return Ok(());
        }
        answer.append_header(VARY, HeaderValue::from_static("Origin"))?;
        if let Self::Allowed(origin) = self {
            answer.insert_header(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())?;
            answer.insert_header(ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LISTED: &str = "https://app.example.org";

    fn judged(said: &[&str]) -> Cors {
        let mut headers = HeaderMap::new();
        for origin in said {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        Origins::new(vec![parse_origin(LISTED).unwrap()]).judge(&headers)
    }

    #[test]
    fn an_origin_is_read_in_the_form_that_browsers_send() {
        for text in [LISTED, "http://localhost:3000", "https://[2001:db8::1]:8443"] {
            assert_eq!(parse_origin(text).unwrap().0, text);
        }
        for text in [
            "",
            "*",
            "null",
            "app.example.org",
            "https://",
            "https://*",
            "https://*.example.org",
            "https://app.example.org/",
            "https://app.example.org/x",
            "https://App.example.org",
            "HTTPS://app.example.org",
            "https://app.example.org:443",
            "http://app.example.org:80",
            "https://app.example.org:0",
            "https://user@app.example.org",
            "ftp://app.example.org",
            "https://app.example.org ",
        ] {
            assert!(parse_origin(text).unwrap_err().to_string().contains("* is not taken"));
        }
    }

    #[test]
    fn only_the_very_origin_is_allowed() {
        assert!(matches!(judged(&[LISTED]), Cors::Allowed(origin) if origin == LISTED));
        for other in [
            "null",
            "*",
            "https://evil.example",
            "https://app.example.org.evil.example",
            "https://evilapp.example.org",
            "https://app.example.or",
            "https://app.example.org:8443",
            "http://app.example.org",
            "https://APP.example.org",
            "https://app.example.org/",
        ] {
            assert!(matches!(judged(&[other]), Cors::Foreign), "{other}");
        }
        assert!(matches!(judged(&[]), Cors::Foreign));
        assert!(matches!(judged(&[LISTED, LISTED]), Cors::Foreign));
    }

    #[test]
    fn without_a_list_nobody_is_told_anything() {
        let mut headers = HeaderMap::new();
        headers.append(ORIGIN, LISTED.parse().unwrap());
        assert!(matches!(Origins::default().judge(&headers), Cors::Off));
    }

    proptest! {
        #[test]
        fn what_is_no_origin_is_refused_without_a_panic(text in ".{0,40}") {
            let _ = parse_origin(&text);
        }
    }
}
