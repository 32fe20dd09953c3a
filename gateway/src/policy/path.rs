//! What is matched is exactly what is forwarded.
//!
//! A request target is looked at byte by byte and either is in the one form that our routes are
//! written in, or is refused. Nothing is decoded, merged or cut off: two programs that disagree on
//! what `/a/%2e%2e/b`, `/a//b`, `/a;x` or `/a#b` mean are how a path gets past a gateway, so none
//! of these exists here.

use shared_middleware::error::{ErrorCode, Failure};

/// Whether the target may be matched and forwarded: `/path` or `/path?query`.
pub(crate) fn check(target: &[u8], bytes_max: usize) -> Result<(), Failure> {
    if target.len() > bytes_max {
        return Err(Failure::new(ErrorCode::Invalid, "the request target is too long"));
    }
    // Absolute form (`http://host/path`) ends here too: which host was meant must not matter.
    let at = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(at);
    if !is_normal(path) {
        return Err(Failure::new(ErrorCode::Invalid, "the path is not in its plain form"));
    }
    if !query.iter().all(|&byte| in_query(byte)) {
        return Err(Failure::new(ErrorCode::Invalid, "the query must be percent-encoded"));
    }
    Ok(())
}

/// The path of a checked target, and `?` with the query, if any.
pub(crate) fn split(target: &str) -> (&str, &str) {
    target.split_at(target.find('?').unwrap_or(target.len()))
}

/// A path that no program can read in two ways.
fn is_normal(path: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(b"/") else { return false };
    if rest.is_empty() {
        return true;
    }
    // Only the last segment may be empty: a trailing slash, which is another path, not the same.
    let mut segments = rest.split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let empty = segment.is_empty() && segments.peek().is_some();
        if empty || matches!(segment, b"." | b"..") || !segment.iter().all(|&b| in_path(b)) {
            return false;
        }
    }
    true
}

/// The bytes that our routes and our ids are made of.
const fn in_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// What may stand in a query (RFC 3986, 3.4), and the brackets that browsers leave as they are.
const fn in_query(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::route::{self, RouteMatch};

    fn verdict(target: &[u8]) -> &'static str {
        if check(target, 8192).is_err() {
            return "invalid";
        }
        let (path, _) = split(std::str::from_utf8(target).unwrap());
        match route::find("GET", path) {
            RouteMatch::Row(..) => "ok",
            RouteMatch::OtherMethods(_) => "other_method",
            RouteMatch::Nothing => "not_found",
        }
    }

    #[test]
    fn every_form_of_the_corpus_gets_its_verdict() {
        for form in testbed::corpora::paths() {
            assert_eq!(verdict(&form.bytes), form.outcome, "{}", form.text);
        }
    }

    #[test]
    fn a_target_over_the_bound_is_refused() {
        assert!(check(b"/12", 3).is_ok());
        assert!(check(b"/123", 3).is_err());
    }

    #[test]
    fn every_target_that_is_accepted_is_kept_as_it_is_by_the_proxy() {
        for byte in 0..=u8::MAX {
            let target = [b"/a?b=".as_slice(), &[byte], b"c"].concat();
            if check(&target, 100).is_ok() {
                let header = pingora_http::RequestHeader::build("GET", &target, None).unwrap();
                assert_eq!(header.raw_path(), target);
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(target in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = check(&target, 32);
        }

        #[test]
        fn an_accepted_target_is_put_together_from_its_parts(target in "/[a-z./%?#;=-]{0,24}") {
            if check(target.as_bytes(), 100).is_ok() {
                let (path, query) = split(&target);
                prop_assert_eq!(format!("{path}{query}"), target.as_str());
                prop_assert!(check(path.as_bytes(), 100).is_ok());
                prop_assert!(!path.contains("//") && !path.contains("/./"));
            }
        }

        #[test]
        fn segments_of_our_letters_are_accepted(
            segments in proptest::collection::vec("[A-Za-z0-9_-]{1,8}", 1..5),
        ) {
            let path = format!("/{}", segments.join("/"));
            prop_assert!(check(path.as_bytes(), 100).is_ok());
        }
    }
}
