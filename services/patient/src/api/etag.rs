//! Entity tags (RFC 9110, 8.8.3): a patient's version in quotes.
//!
//! Tags are texts: `"03"` is another than `"3"`, though both would read as one number.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{IF_MATCH, IF_NONE_MATCH},
};

use crate::domain::Condition;

/// What a header names.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// Whatever is there: `*`.
    Any,
    /// These versions; tags that are none of ours are no version.
    Versions(Vec<i64>),
}

/// The tag of a version.
pub(super) fn of(version: i64) -> HeaderValue {
    HeaderValue::from_str(&text(version)).expect("digits in quotes are a header value")
}

/// Which versions a request is about, by `If-Match` and `If-None-Match`.
///
/// A weak tag is no match for what is to be changed (RFC 9110, 13.1.1), but it is for what is known
/// already (13.1.2).
pub(super) fn condition(headers: &HeaderMap) -> Condition {
    let among = match named(headers, IF_MATCH, false) {
        None | Some(Named::Any) => None,
        Some(Named::Versions(versions)) => Some(versions),
    };
    match named(headers, IF_NONE_MATCH, true) {
        None => Condition { among, ..Condition::default() },
        Some(Named::Any) => Condition { among, absent: true, ..Condition::default() },
        Some(Named::Versions(not)) => Condition { among, not: Some(not), absent: false },
    }
}

/// Whether anyone who asks has this version already.
pub(super) fn is_known(headers: &HeaderMap, version: i64) -> bool {
    match named(headers, IF_NONE_MATCH, true) {
        None => false,
        Some(Named::Any) => true,
        Some(Named::Versions(versions)) => versions.contains(&version),
    }
}

fn text(version: i64) -> String {
    format!("\"{version}\"")
}

/// None when the header is absent.
fn named(headers: &HeaderMap, header: HeaderName, weak_too: bool) -> Option<Named> {
    let mut versions = Vec::new();
    let mut lines = headers.get_all(header).iter().peekable();
    lines.peek()?;
    for line in lines {
        // A quoted comma divides nothing, but no tag of ours has one: its pieces are none either.
        for tag in line.to_str().unwrap_or_default().split(',') {
            let tag = tag.trim();
            if tag == "*" {
                return Some(Named::Any);
            }
            let tag = if weak_too { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
            let digits = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let version = digits.and_then(|digits| digits.parse().ok());
            versions.extend(version.filter(|version| text(*version) == tag));
        }
    }
    Some(Named::Versions(versions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn among(lines: &[&str]) -> Option<Vec<i64>> {
        let condition = condition(&headers(IF_MATCH, lines));
        assert_eq!((condition.not, condition.absent), (None, false));
        condition.among
    }

    #[test]
    fn tags_that_match_are_read_as_versions() {
        assert_eq!(among(&[]), None);
        assert_eq!(among(&["*"]), None);
        assert_eq!(among(&["\"3\""]), Some(vec![3]));
        assert_eq!(among(&["\"3\", \"4\"", "\"5\""]), Some(vec![3, 4, 5]));
        for odd in ["3", "W/\"3\"", "\"x\"", "", "\"3", "\"+3\"", "\"03\"", "\" 3\"", "\"-0\""] {
            assert_eq!(among(&[odd]), Some(vec![]), "{odd}");
        }
        assert_eq!(of(3), "\"3\"");
    }

    #[test]
    fn who_knows_a_version_need_not_be_told_and_does_not_change_it() {
        for (lines, known) in [
            (&[][..], false),
            (&["*"], true),
            (&["\"3\""], true),
            (&["W/\"3\""], true),
            (&["\"2\"", "\"4\", \"3\""], true),
            (&["\"2\""], false),
            (&["\"03\""], false),
            (&["3"], false),
        ] {
            let headers = headers(IF_NONE_MATCH, lines);
            assert_eq!(is_known(&headers, 3), known, "{lines:?}");
            assert_eq!(condition(&headers).holds(3), !known, "{lines:?}");
        }
        let mut both = headers(IF_MATCH, &["\"3\""]);
        both.insert(IF_NONE_MATCH, HeaderValue::from_static("\"2\""));
        assert!(condition(&both).holds(3) && !condition(&both).holds(2));
    }
}
