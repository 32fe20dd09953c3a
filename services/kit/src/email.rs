//! Email addresses, one type for all services: what one accepts, the others can use, and one
//! mailbox is one address.
//!
//! A domain with letters beyond ASCII is written in its ASCII form (IDNA, RFC 5890; `xn--…`), in
//! which every mail server takes it. What is in front of the `@` stays as it was written.

use std::fmt;

use email_address::{EmailAddress, Options};

/// RFC 5321, 4.5.3.1.3, without the angle brackets. Of the address as it is written in mail.
pub const EMAIL_BYTES_MAX: usize = 254;

/// A valid email address. It is personal data: it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    text: String,
    key: String,
}

// === impl Email ===

impl Email {
    /// Reads an address; white space around it does not count.
    ///
    /// # Errors
    /// What is wrong with it, to be read after the field's name.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const INVALID: &str = "must be a valid email address";
        let text = text.trim();
        if text.is_empty() {
            return Err("is required");
        }
        // Nothing that long becomes shorter than this in its ASCII form.
        if text.len() > 4 * EMAIL_BYTES_MAX {
            return Err("must have at most 254 characters");
        }
        let (local, domain) = text.rsplit_once('@').ok_or(INVALID)?;
        let text = format!("{local}@{}", ascii(domain).ok_or(INVALID)?);
        if text.len() > EMAIL_BYTES_MAX {
            return Err("must have at most 254 characters");
        }
        let options = Options::default().without_display_text().without_domain_literal();
        let plain = !text.chars().any(|c| c.is_control() || matches!(c, '<' | '>'));
        if !plain || EmailAddress::parse_with_options(&text, options).is_err() {
            return Err(INVALID);
        }
        Ok(Self { key: text.to_lowercase(), text })
    }

    /// As it was written, but for the domain's letters beyond ASCII.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What makes it unique: in lower case.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What stands before the last `@`, in lower case.
    pub fn local_part(&self) -> &str {
        self.key.rsplit_once('@').map_or(&*self.key, |(local, _)| local)
    }

    /// Whether the domain has a dot, as the domains have that mail reaches from anywhere.
    pub fn is_public(&self) -> bool {
        self.key.rsplit_once('@').is_some_and(|(_, domain)| domain.contains('.'))
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

/// A domain in its ASCII form; one that has it already stays as it was written.
fn ascii(domain: &str) -> Option<String> {
    let encoded = |label: &str| label.get(..4).is_some_and(|it| it.eq_ignore_ascii_case("xn--"));
    if domain.is_ascii() && !domain.split('.').any(encoded) {
        return Some(domain.to_owned());
    }
    idna::domain_to_ascii(domain).ok().filter(|ascii| !ascii.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Email {
        Email::parse(text).unwrap_or_else(|error| panic!("{text} {error}"))
    }

    #[test]
    fn an_address_is_trimmed_and_unique_without_regard_to_case() {
        let email = read("  Ann.Lee@Example.ORG ");
        assert_eq!(email.as_str(), "Ann.Lee@Example.ORG");
        assert_eq!((email.key(), email.local_part()), ("ann.lee@example.org", "ann.lee"));
        assert_eq!(format!("{email:?}"), "Email(…)");
        assert!(email.is_public() && !read("root@localhost").is_public());
    }

    #[test]
    fn one_domain_is_one_however_it_is_written() {
        for text in [
            "jose@exämple.org",
            "jose@EXÄMPLE.org",
            "jose@exa\u{308}mple.org",
            "jose@xn--exmple-cua.org",
            "jose@XN--EXMPLE-CUA.ORG",
            "jose@exämple。org",
            "jose@ｅxämple.org",
        ] {
            assert_eq!(read(text).key(), "jose@xn--exmple-cua.org", "{text}");
            assert_eq!(read(text).as_str(), "jose@xn--exmple-cua.org", "{text}");
        }
        assert_eq!(read("josé@exämple.org").as_str(), "josé@xn--exmple-cua.org");
        assert_eq!(read("a@straße.de").key(), "a@xn--strae-oqa.de");
        assert_eq!(read("a@例え.テスト").key(), "a@xn--r8jz45g.xn--zckzah");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.org", "a".repeat(250));
        let wide = format!("a@{}.org", "ä".repeat(70));
        let local = format!("{}@x.org", "ä".repeat(40));
        for text in [
            "",
            "  ",
            "a",
            "a@",
            "@b",
            "a b@c.org",
            "A <a@b.org>",
            "\"<\"@b.org",
            "a\0@b.org",
            "a@[127.0.0.1]",
            "a@b..org",
            "a@-b.org",
            "a@xn--999999999.org",
            "a@\u{ad}",
            &long,
            &wide,
            &local,
        ] {
            assert!(Email::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_read_is_read_again_to_the_same(text in "[^@]{1,9}@\\PC{1,9}(\\.[a-z]{2})?") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert!(Email::parse(email.as_str()) == Ok(email.clone()));
                prop_assert!(email.as_str().len() <= EMAIL_BYTES_MAX);
                let domain = email.as_str().rsplit_once('@').unwrap().1;
                prop_assert!(domain.is_ascii());
            }
        }
    }
}
