//! Email addresses: valid, and unique without regard to case.

use std::fmt;

use email_address::{EmailAddress, Options};

/// RFC 5321, 4.5.3.1.3, without the angle brackets.
pub(super) const EMAIL_BYTES_MAX: usize = 254;

/// A valid email address.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    text: String,
    key: String,
}

// === impl Email ===

impl Email {
    /// Reads an address; white space around it does not count.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Err("is required");
        }
        if text.len() > EMAIL_BYTES_MAX {
            return Err("must have at most 254 characters");
        }
        let options = Options::default().without_display_text().without_domain_literal();
        let plain = !text.chars().any(char::is_control);
        if !plain || EmailAddress::parse_with_options(text, options).is_err() {
            return Err("is not a valid email address");
        }
        Ok(Self { text: text.to_owned(), key: text.to_lowercase() })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What makes it unique.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// What stands before the last `@`, in lower case.
    pub(super) fn local_part(&self) -> &str {
        self.key.rsplit_once('@').map_or(&*self.key, |(local, _)| local)
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_trimmed_and_unique_without_regard_to_case() {
        let email = Email::parse("  Ann.Lee@Example.ORG ").unwrap();
        assert_eq!(email.as_str(), "Ann.Lee@Example.ORG");
        assert_eq!(email.key(), "ann.lee@example.org");
        assert_eq!(email.local_part(), "ann.lee");
        assert_eq!(format!("{email:?}"), "Email(…)");
    }

    #[test]
    fn what_is_no_email_is_refused() {
        let long = format!("{}@example.org", "a".repeat(250));
        for text in ["", "  ", "a", "a@", "@b", "a b@c.org", "A <a@b.org>", "a\0@b.org", &long] {
            assert!(Email::parse(text).is_err(), "{text:?}");
        }
    }
}
