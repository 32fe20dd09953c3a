//! An origin, as browsers write it.

use http::HeaderValue;

use crate::policy::host;

/// An origin: `scheme://host[:port]`, as browsers write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(pub(super) HeaderValue);

/// A text that is not an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no origin: https://host or https://host:port is wanted (or http), in lower case, \
     without a path and without the port that goes without saying; * is not taken"
)]
pub struct InvalidOrigin(String);

/// Reads an origin.
///
/// # Errors
/// When the text is not in the form in which browsers send it, and so would never match.
pub fn parse_origin(text: &str) -> Result<Origin, InvalidOrigin> {
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
    parsed().ok_or_else(|| InvalidOrigin(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LISTED: &str = "https://app.example.org";

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

    proptest! {
        #[test]
        fn what_is_no_origin_is_refused_without_a_panic(text in ".{0,40}") {
            let _ = parse_origin(&text);
        }
    }
}
