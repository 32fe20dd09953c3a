//! Pages of other origins that may call the API from a browser: those that are listed, no others.
//!
//! A browser says whose page asks (`Origin`) and shows it the answer only when that names the
//! origin back; before what a plain form could not send, it asks for leave (a preflight). Both are
//! of the Fetch standard, 3.2. Origins are compared byte by byte. Credentials of the browser's own
//! are never allowed: anyone who has a token sends it, and no other site can make a browser do so.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
        ORIGIN, VARY,
    },
};
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};

use crate::policy::origin::Origin;

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

/// The origins that are listed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<Origin>);

/// What a browser learns about the origin of the page.
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

// === impl Origins ===

impl Origins {
    pub(crate) const fn new(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// The verdict on the origin in these headers.
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
    /// The headers of the answer to a preflight, where the request is one and allowed.
    pub(crate) fn preflight(
        &self,
        request: &RequestHeader,
        methods: &[&str],
    ) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let is_preflight = request.method == Method::OPTIONS
            && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight || !matches!(self, Self::Allowed(_)) {
            return None;
        }
        let methods = HeaderValue::from_str(&methods.join(", ")).ok()?;
        Some(vec![
            (ACCESS_CONTROL_ALLOW_METHODS, methods),
            (ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (ACCESS_CONTROL_MAX_AGE, REMEMBERED_S),
        ])
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
    use super::*;
    use crate::policy::origin::parse_origin;

    const LISTED: &str = "https://app.example.org";

    fn judged(said: &[&str]) -> Cors {
        let mut headers = HeaderMap::new();
        for origin in said {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        Origins::new(vec![parse_origin(LISTED).unwrap()]).judge(&headers)
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
}
