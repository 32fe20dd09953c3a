//! Passwords that may be set: long, not everybody's, and not the user's own address.
//!
//! Length is what counts (NIST SP 800-63B, 5.1.1.2): no kind of character is asked for, but what
//! everybody tries first is refused.

use std::{collections::HashSet, sync::LazyLock};

use secrecy::{ExposeSecret as _, SecretString};
use unicode_normalization::UnicodeNormalization as _;

use super::Email;

const CHARS_MIN: usize = 12;
const CHARS_MAX: usize = 256;
/// What a login may bring at most: as many bytes as the longest password can have.
pub(super) const LOGIN_PASSWORD_BYTES_MAX: usize = 4 * CHARS_MAX;

/// Passwords that are long enough and tried first, one a line, in lower case and sorted: well-known
/// ones, words with years and digits, walks over the keyboard, repetitions.
const COMMON: &str = include_str!("common_passwords.txt");

static COMMON_PASSWORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| COMMON.lines().collect());

/// A password that may be set.
#[derive(Clone)]
pub(crate) struct Password(SecretString);

// === impl Password ===

impl Password {
    /// Takes a password that is long enough and not everybody's.
    pub(crate) fn parse(text: SecretString) -> Result<Self, &'static str> {
        let text = composed(&text);
        let chars = text.expose_secret().chars().count();
        if chars == 0 {
            return Err("is required");
        }
        if chars < CHARS_MIN {
            return Err("must have at least 12 characters");
        }
        if chars > CHARS_MAX {
            return Err("must have at most 256 characters");
        }
        if COMMON_PASSWORDS.contains(&*text.expose_secret().to_lowercase()) {
            return Err("is one of the most common passwords");
        }
        Ok(Self(text))
    }

    /// The same, unless it is the address of its user, or what stands in it before the `@`.
    pub(crate) fn of(self, user: &Email) -> Result<Self, &'static str> {
        let text = self.0.expose_secret().trim().to_lowercase();
        if text == user.key() || text == user.local_part() {
            return Err("must not be the email address");
        }
        Ok(self)
    }

    /// Whether it is this one.
    pub(crate) fn is(&self, other: &SecretString) -> bool {
        self.0.expose_secret() == composed(other).expose_secret()
    }

    pub(crate) fn into_secret(self) -> SecretString {
        self.0
    }
}

/// The same text in one form (NFC): one keyboard types `é` as one character, another as two, and a
/// password is what its user sees (NIST SP 800-63B, 5.1.1.2).
pub(crate) fn composed(text: &SecretString) -> SecretString {
    text.expose_secret().nfc().collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_enough_and_not_a_common_one() {
        for text in ["", "short", "elevenchars", "Password1234", "QWERTYUIOP12", &"x".repeat(257)] {
            assert!(Password::parse(text.into()).is_err(), "{text}");
        }
        for text in ["violet tram 19 umbrella", "äöüäöüäöüäöü", &"x".repeat(256)] {
            assert!(Password::parse(text.into()).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_password_is_one_however_it_was_typed() {
        let (composed, apart) =
            ("crème brûlée à midi", "cre\u{300}me bru\u{302}le\u{301}e a\u{300} midi");
        let password = Password::parse(apart.into()).unwrap();
        assert!(password.is(&composed.into()) && password.is(&apart.into()));
        assert_eq!(password.into_secret().expose_secret(), composed);
        // Twelve characters as they are seen.
        assert!(Password::parse("e\u{301}".repeat(11).into()).is_err());
    }

    #[test]
    fn a_password_is_not_its_users_address_in_any_case() {
        let user = Email::parse("Christopher.Lee@example.org").unwrap();
        let refused = |text: &str| Password::parse(text.into()).unwrap().of(&user).is_err();
        assert!(refused("christopher.LEE"));
        assert!(refused("Christopher.Lee@Example.org"));
        assert!(refused(" christopher.lee@example.org "));
        assert!(!refused("christopher.lee@example.com"));
        assert!(!refused("not christopher.lee"));
    }

    #[test]
    fn the_common_passwords_are_some_hundreds_that_length_alone_would_admit() {
        let lines: Vec<_> = COMMON.lines().collect();
        assert!((300..3000).contains(&lines.len()), "{}", lines.len());
        assert!(lines.is_sorted_by(|one, next| one < next), "sorted, each once");
        for text in lines {
            assert!(text.chars().count() >= CHARS_MIN, "{text}");
            assert_eq!(text, text.to_lowercase());
            assert!(Password::parse(text.to_uppercase().into()).is_err(), "{text}");
        }
    }
}
