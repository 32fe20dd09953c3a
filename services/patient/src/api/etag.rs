//! Entity tags (RFC 9110, 8.8.3): a patient's version in quotes.

use http::{HeaderMap, HeaderValue, header::IF_MATCH};

/// The tag of a version.
pub(super) fn of(version: i64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes are a header value")
}

/// The versions that `If-Match` names; none when it is absent or `*`.
///
/// A tag that is none of ours matches no version (so does a weak one: RFC 9110, 13.1.1).
pub(super) fn if_match(headers: &HeaderMap) -> Option<Vec<i64>> {
    let mut versions = Vec::new();
    let mut lines = headers.get_all(IF_MATCH).iter().peekable();
    lines.peek()?;
    for line in lines {
        for tag in line.to_str().unwrap_or_default().split(',') {
            if tag.trim() == "*" {
                return None;
            }
            let quoted = tag.trim().strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            versions.extend(quoted.and_then(|version| version.parse::<i64>().ok()));
        }
    }
    Some(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(lines: &[&str]) -> Option<Vec<i64>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_MATCH, HeaderValue::from_str(line).unwrap());
        }
        if_match(&headers)
    }

    #[test]
    fn tags_are_read_as_versions() {
        assert_eq!(versions(&[]), None);
        assert_eq!(versions(&["*"]), None);
        assert_eq!(versions(&["\"3\""]), Some(vec![3]));
        assert_eq!(versions(&["\"3\", \"4\"", "\"5\""]), Some(vec![3, 4, 5]));
        for odd in ["3", "W/\"3\"", "\"x\"", "", "\"3"] {
            assert_eq!(versions(&[odd]), Some(vec![]), "{odd}");
        }
        assert_eq!(of(3), "\"3\"");
    }
}
