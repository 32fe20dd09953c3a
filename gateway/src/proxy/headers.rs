//! Removes headers from a request on its way in, and sets headers of every response.
//!
//! Services believe `X-Forwarded-*`, `X-Request-Id` and `traceparent` since only the gateway writes
//! them: whatever a client sent under such a name goes no further.

use std::net::IpAddr;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, EXPECT, HOST, LINK, LOCATION,
        PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, REFERRER_POLICY, SERVER,
        STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use shared_middleware::{
    clock::Ids,
    identity::Part,
    trace_context::{TRACEPARENT, TraceContext},
};

use crate::{
    policy::{cors::Cors, rate_limit::Decision},
    server::certificate::PublicTls,
};

/// The header that names a request, in requests and answers.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const TRACE_PARENT: HeaderName = HeaderName::from_static(TRACEPARENT);
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");

/// What is said about one connection, and goes no further.
const HOP_BY_HOP: [HeaderName; 11] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
    EXPECT,
];

const REQUEST_ID_BYTES_MAX: usize = 64;

/// What an answer may load and who may frame it: nothing and nobody.
const API_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Two years: anyone who has been here by TLS does not come without it (RFC 6797).
const ONLY_BY_TLS: HeaderValue = HeaderValue::from_static("max-age=63072000; includeSubDomains");

/// What clients speak to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// What every answer to a request is marked with.
pub(crate) struct ResponseContext<'a> {
    /// The request's name.
    pub(crate) request_id: &'a HeaderValue,
    /// What the most specific limit said of it.
    pub(crate) decision: Option<&'a Decision>,
    /// What it came by.
    pub(crate) scheme: Scheme,
    /// Whose page asked.
    pub(crate) cors: &'a Cors,
}

// === impl Scheme ===

impl Scheme {
    /// With a certificate, or without.
    pub(crate) const fn of(tls: Option<&PublicTls>) -> Self {
        if tls.is_some() { Self::Https } else { Self::Http }
    }

    const fn name(self) -> HeaderValue {
        match self {
            Self::Http => HeaderValue::from_static("http"),
            Self::Https => HeaderValue::from_static("https"),
        }
    }
}

/// The client's name for the request when it is one, else a new one.
pub(crate) fn request_id(headers: &HeaderMap, ids: &Ids) -> HeaderValue {
    match headers.get(REQUEST_ID) {
        Some(id) if is_request_id(id.as_bytes()) => id.clone(),
        _ => new_request_id(ids),
    }
}

/// A new name for a request.
pub(crate) fn new_request_id(ids: &Ids) -> HeaderValue {
    let mut text = [0; 36];
    let text = ids.next().hyphenated().encode_lower(&mut text);
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(text.as_bytes()))
        .expect("a UUID is a header value")
}

/// The trace that the client named, continued, or a new one; whether it is kept is ours to say.
pub(crate) fn trace(headers: &HeaderMap) -> TraceContext {
    TraceContext::admitted(headers.get(TRACE_PARENT).and_then(|value| value.to_str().ok()))
}

/// Takes off what a client says about its connection to the gateway: hop-by-hop headers, and those
/// that `Connection` names (RFC 9110, 7.6.1). Pingora does the same for what it sends itself.
///
/// # Errors
/// When `Connection` names what is no header, or one that only the gateway writes.
pub(crate) fn remove_hop_by_hop(request: &mut RequestHeader) -> Result<()> {
    let mut named = Vec::new();
    for value in request.headers.get_all(CONNECTION) {
        let names = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        for name in names.filter(|name| !name.is_empty()) {
            match HeaderName::from_bytes(name) {
                Ok(name) if ![HOST, FORWARDED_FOR, FORWARDED_PROTO].contains(&name) => {
                    named.push(name);
                }
                _ => return Error::err_down(ErrorType::InvalidHTTPHeader),
            }
        }
    }
    for name in named.iter().chain(&HOP_BY_HOP) {
        request.remove_header(name);
    }
    Ok(())
}

/// Makes a client's headers those of the gateway. Those about the connection are already taken off.
pub(crate) fn sanitize_request(
    request: &mut RequestHeader,
    part: Part,
    (scheme, client): (Scheme, IpAddr),
    request_id: &HeaderValue,
    trace: &TraceContext,
) -> Result<()> {
    while let Some(name) = request.headers.keys().find(|name| is_ours(name.as_str())).cloned() {
        request.remove_header(&name);
    }
    // Whom the client believes to talk to means nothing inside.
    request.insert_header(HOST, HeaderValue::from_static(part.as_str()))?;
    request.insert_header(REQUEST_ID, request_id.clone())?;
    request.insert_header(TRACE_PARENT, trace.traceparent())?;
    request.insert_header(FORWARDED_FOR, client.to_string())?;
    request.insert_header(FORWARDED_PROTO, scheme.name())
}

/// Puts on an answer what every answer has.
pub(crate) fn set_response_headers(
    answer: &mut ResponseHeader,
    response_context: &ResponseContext<'_>,
) -> Result<()> {
    answer.remove_header(&SERVER);
    answer.insert_header(REQUEST_ID, response_context.request_id.clone())?;
    answer.insert_header(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))?;
    answer.insert_header(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))?;
    if !answer.headers.contains_key(CACHE_CONTROL) {
        answer.insert_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
    }
    if !answer.headers.contains_key(CONTENT_SECURITY_POLICY) {
        answer.insert_header(CONTENT_SECURITY_POLICY, API_POLICY)?;
    }
    if response_context.scheme == Scheme::Https {
        answer.insert_header(STRICT_TRANSPORT_SECURITY, ONLY_BY_TLS)?;
    }
    if let Some(decision) = response_context.decision {
        answer.insert_header(RATE_LIMIT_POLICY, decision.policy())?;
        answer.insert_header(RATE_LIMIT, decision.state())?;
    }
    response_context.cors.stamp(answer)
}

/// Writes the paths in a part's answer as they are seen through the gateway.
pub(crate) fn rewrite_location(
    answer: &mut ResponseHeader,
    prefix: &str,
    rewrite_to: &str,
) -> Result<()> {
    if let Some(path) = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok())
        && let Some(path) = external_path(path, prefix, rewrite_to)
    {
        answer.insert_header(LOCATION, path)?;
    }
    if let Some(link) = answer.headers.get(LINK).and_then(|value| value.to_str().ok())
        && let Some(path) = link.strip_prefix('<')
        && let Some(path) = external_path(path, prefix, rewrite_to)
    {
        answer.insert_header(LINK, format!("<{path}"))?;
    }
    Ok(())
}

/// A path of the part's own; one that names the gateway's already, or another host, is left alone.
fn external_path(path: &str, prefix: &str, rewrite_to: &str) -> Option<String> {
    let own = path.starts_with('/') && !path.starts_with("//") && !path.starts_with(prefix);
    let rest = own.then(|| path.strip_prefix(rewrite_to)).flatten()?;
    Some(format!("{prefix}{rest}"))
}

fn is_request_id(id: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.iter().all(plain)
}

/// Names (in lower case) that only the mesh writes. One with an underscore may be read as the same
/// name with a hyphen by what is behind.
fn is_ours(name: &str) -> bool {
    const NAMES: [&str; 4] = ["forwarded", "x-real-ip", "x-original-url", "x-rewrite-url"];
    const BEGINNINGS: [&str; 4] = ["x-user-", "x-forwarded-", "x-medisync-", "x-http-method"];
    if name.contains('_') {
        return true;
    }
    name.starts_with(['x', 'f'])
        && (NAMES.contains(&name) || BEGINNINGS.iter().any(|begin| name.starts_with(begin)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn ids() -> Ids {
        Ids::from_fn(|| Uuid::from_u128(7))
    }

    fn cleaned(headers: &[(&str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in headers {
            request.append_header((*name).to_owned(), *value).unwrap();
        }
        let id = request_id(&request.headers, &ids());
        let trace = trace(&request.headers);
        let client = (Scheme::Http, "192.0.2.1".parse().unwrap());
        sanitize_request(&mut request, Part::Patient, client, &id, &trace).unwrap();
        request
    }

    fn answer(headers: &[(&'static str, &str)]) -> ResponseHeader {
        let mut answer = ResponseHeader::build(200, None).unwrap();
        for (name, value) in headers {
            answer.insert_header(*name, *value).unwrap();
        }
        answer
    }

    fn response_context(request_id: &HeaderValue, scheme: Scheme) -> ResponseContext<'_> {
        ResponseContext { request_id, decision: None, scheme, cors: &Cors::Off }
    }

    #[test]
    fn a_clients_word_on_who_it_is_goes_no_further() {
        let request = cleaned(&[
            ("X-User-Id", "1"),
            ("x-user-id", "2"),
            ("X-USER-ROLE", "ADMIN"),
            ("X_User_Id", "3"),
            ("X-Forwarded-Client-Cert", "x"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("X-Forwarded-Host", "evil"),
            ("Forwarded", "for=1.2.3.4"),
            ("X-Real-IP", "1.2.3.4"),
            ("X-Medisync-Anything", "x"),
            ("X-HTTP-Method-Override", "DELETE"),
            ("X-Original-URL", "/admin"),
            ("Host", "evil.example"),
            ("Accept", "application/json"),
            ("X-Custom", "kept"),
        ]);
        let mut names: Vec<_> = request.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected = [
            "accept",
            "host",
            "traceparent",
            "x-custom",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-request-id",
        ];
        assert_eq!(names, expected);
        assert_eq!(request.headers["x-forwarded-for"], "192.0.2.1");
        assert_eq!(request.headers["host"], "patient");
    }

    #[test]
    fn a_plain_request_id_is_kept_and_another_replaced() {
        let new = Uuid::from_u128(7).to_string();
        let long = "a".repeat(65);
        for (sent, kept) in [
            ("abc.DEF_1-2", "abc.DEF_1-2"),
            (&long[1..], &long[1..]),
            ("", &*new),
            ("a b", &*new),
            ("a\"b", &*new),
            (&long, &*new),
        ] {
            assert_eq!(cleaned(&[("X-Request-Id", sent)]).headers["x-request-id"], kept);
        }
    }

    #[test]
    fn a_clients_trace_is_continued() {
        let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let request = cleaned(&[("traceparent", sent)]);
        let passed_on = request.headers["traceparent"].to_str().unwrap();
        assert!(passed_on.contains("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert!(!passed_on.contains("00f067aa0ba902b7"));
    }

    #[test]
    fn every_answer_is_marked_and_none_names_a_server() {
        let mut answer = answer(&[("server", "axum/1")]);
        let id = HeaderValue::from_static("r1");
        set_response_headers(&mut answer, &response_context(&id, Scheme::Http)).unwrap();
        assert!(!answer.headers.contains_key("server"));
        assert_eq!(answer.headers["x-request-id"], "r1");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["referrer-policy"], "no-referrer");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["content-security-policy"], API_POLICY);
    }

    #[test]
    fn whoever_came_by_tls_is_told_to_come_so_again() {
        let id = HeaderValue::from_static("r1");
        for (scheme, told) in [(Scheme::Http, false), (Scheme::Https, true)] {
            let mut answer = answer(&[]);
            set_response_headers(&mut answer, &response_context(&id, scheme)).unwrap();
            assert_eq!(answer.headers.contains_key("strict-transport-security"), told);
        }
    }

    #[test]
    fn a_parts_word_on_caching_is_kept() {
        let mut answer = answer(&[("cache-control", "max-age=60")]);
        let id = HeaderValue::from_static("r1");
        set_response_headers(&mut answer, &response_context(&id, Scheme::Http)).unwrap();
        assert_eq!(answer.headers["cache-control"], "max-age=60");
    }

    #[test]
    fn paths_in_answers_are_those_of_the_gateway() {
        for (prefix, rewrite_to, inside, outside) in [
            ("/api", "", "/patients/1", "/api/patients/1"),
            ("/api", "", "/api/patients/1", "/api/patients/1"),
            ("/api", "", "https://elsewhere/x", "https://elsewhere/x"),
            ("/api", "", "//elsewhere/x", "//elsewhere/x"),
            ("/api/billing", "", "/accounts/1", "/api/billing/accounts/1"),
        ] {
            let mut answer = answer(&[("location", inside)]);
            let link = format!("<{inside}?cursor=x>; rel=\"next\"");
            answer.insert_header(LINK, link).unwrap();
            rewrite_location(&mut answer, prefix, rewrite_to).unwrap();
            assert_eq!(answer.headers["location"], outside);
            let link = format!("<{outside}?cursor=x>; rel=\"next\"");
            assert_eq!(answer.headers["link"], link.as_str());
        }
    }

    proptest! {
        #[test]
        fn no_name_of_ours_survives(
            begin in "(x-user-|x-medisync-|X-Forwarded-|x_)",
            rest in "[a-z-]{0,8}",
        ) {
            let name = format!("{begin}{rest}");
            let request = cleaned(&[(&name, "forged")]);
            prop_assert!(request.headers.values().all(|value| value != "forged"));
        }
    }
}
