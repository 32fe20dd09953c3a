//! Requests: what the gateway accepts reads the same to every other program.

use gateway::fuzzing;
use http::Uri;

/// More headers are refused by the gateway.
const HEADERS_MAX: usize = 128;

/// A target: an accepted one has a path in its plain form, and is a URI.
pub fn path(target: &[u8]) {
    if !fuzzing::accepts_target(target) {
        return;
    }
    assert!(target.len() <= fuzzing::TARGET_BYTES_MAX);
    let target = std::str::from_utf8(target).expect("an accepted target is ASCII");
    let path = target.split('?').next().unwrap_or_default();
    let mut segments = path.split('/');
    assert_eq!(segments.next(), Some(""), "it does not begin with a slash");
    let last = segments.clone().count() - 1;
    for (place, segment) in segments.enumerate() {
        assert!(!matches!(segment, "." | ".."), "a dot segment");
        assert!(!segment.is_empty() || place == last, "an empty segment");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        assert!(segment.chars().all(plain), "an escape, a parameter, or no ASCII");
    }
    let uri: Uri = target.parse().expect("an accepted target is a URI");
    assert_eq!(uri.path(), path);
    assert_eq!(uri.path_and_query().map(ToString::to_string).as_deref(), Some(target));
}

/// A head: an accepted one ends at the same place for another parser, which sees one host at most,
/// one framing, and an accepted target.
pub fn head(bytes: &[u8]) {
    let Some(head) = fuzzing::head(bytes) else { return };
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(bytes).expect("an accepted head is one");
    assert_eq!(parsed, httparse::Status::Complete(head.end));
    assert!(fuzzing::accepts_target(request.path.unwrap_or_default().as_bytes()));
    let values = |name: &str| -> Vec<&[u8]> {
        let named = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value).collect()
    };
    assert!(values("host").len() <= 1);
    let lengths = values("content-length");
    let codings = values("transfer-encoding");
    match head.length {
        None => assert!(codings.len() == 1 && lengths.is_empty(), "framed in two ways"),
        Some(0) if lengths.is_empty() => assert!(codings.is_empty()),
        Some(length) => {
            assert!(lengths.len() == 1 && codings.is_empty(), "framed in two ways");
            let told = std::str::from_utf8(lengths[0]).expect("digits");
            assert_eq!(told.parse(), Ok(length));
        }
    }
}
