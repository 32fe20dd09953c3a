//! Users, emails and passwords: the nouns and their rules. Pure.

use std::fmt;

use email_address::{EmailAddress, Options};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use shared_middleware::{error::FieldError, identity::Role};
use uuid::Uuid;

/// RFC 5321, 4.5.3.1.3, without the angle brackets.
const EMAIL_BYTES_MAX: usize = 254;
const PASSWORD_CHARS_MIN: usize = 12;
const PASSWORD_CHARS_MAX: usize = 256;
/// What a login may bring at most: as many bytes as the longest password can have.
const LOGIN_PASSWORD_BYTES_MAX: usize = 4 * PASSWORD_CHARS_MAX;

/// Passwords of twelve and more characters that everybody tries first, in lower case.
const COMMON_PASSWORDS: &[&str] = &[
    "000000000000",
    "0123456789ab",
    "111111111111",
    "112233445566",
    "121212121212",
    "123123123123",
    "1234567890ab",
    "123456789012",
    "1234567890123",
    "12345678901234",
    "123456789abc",
    "123456abcdef",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "a1b2c3d4e5f6",
    "abc123abc123",
    "abcd1234abcd",
    "abcdef123456",
    "abcdefghijkl",
    "administrator",
    "administrator1",
    "aaaaaaaaaaaa",
    "changeme1234",
    "changemenow!",
    "correcthorsebatterystaple",
    "hospital1234",
    "iloveyou1234",
    "letmein12345",
    "medisync1234",
    "medisync12345",
    "p@ssw0rd1234",
    "p@ssword1234",
    "passw0rd1234",
    "password1234",
    "password12345",
    "password123!",
    "password1234!",
    "password123456",
    "passwordpassword",
    "qazwsxedcrfv",
    "qwerty123456",
    "qwertyqwerty",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyuiopas",
    "q1w2e3r4t5y6",
    "temporary123",
    "testtesttest",
    "welcome12345",
    "welcome123456",
    "zaq12wsxcde3",
];

/// A valid email address.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    text: String,
    key: String,
}

/// A password that may be set.
#[derive(Clone)]
pub(crate) struct Password(SecretString);

/// Somebody who may sign in, or might once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The subject of the user's tokens.
    pub id: Uuid,
    /// Unique without regard to case.
    pub email: Email,
    /// What the user may do.
    pub role: Role,
    /// Whether signing in is refused.
    pub disabled: bool,
    /// When the user was added.
    pub created_at: Timestamp,
}

/// What a login brings, bounded but not yet believed.
pub(crate) struct Login {
    /// None when it cannot be anybody's.
    pub(crate) email: Option<Email>,
    pub(crate) password: SecretString,
}

/// A user to be.
pub(crate) struct NewUser {
    pub(crate) email: Email,
    pub(crate) password: Password,
    pub(crate) role: Role,
}

/// What is to be different about a user.
#[derive(Default)]
pub(crate) struct Change {
    pub(crate) role: Option<Role>,
    pub(crate) password: Option<Password>,
    pub(crate) disabled: Option<bool>,
}

/// A user after a change, and what follows from it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) user: User,
    /// What tokens say is not true any more: the user's sign-ins end.
    pub(crate) ends_sessions: bool,
    /// One enabled ADMIN less; there must be another.
    pub(crate) leaves_admins: bool,
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
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

// === impl Password ===

impl Password {
    /// Takes a password that is long enough and not everybody's.
    pub(crate) fn parse(text: SecretString) -> Result<Self, &'static str> {
        let chars = text.expose_secret().chars().count();
        if chars == 0 {
            return Err("is required");
        }
        if chars < PASSWORD_CHARS_MIN {
            return Err("must have at least 12 characters");
        }
        if chars > PASSWORD_CHARS_MAX {
            return Err("must have at most 256 characters");
        }
        if COMMON_PASSWORDS.contains(&text.expose_secret().to_lowercase().as_str()) {
            return Err("is one of the most common passwords");
        }
        Ok(Self(text))
    }

    pub(crate) fn into_secret(self) -> SecretString {
        self.0
    }
}

// === impl User ===

impl User {
    pub(crate) fn is_enabled_admin(&self) -> bool {
        self.role == Role::Admin && !self.disabled
    }

    /// The user after this change.
    pub(crate) fn changed(&self, change: &Change) -> Changed {
        let user = Self {
            role: change.role.unwrap_or(self.role),
            disabled: change.disabled.unwrap_or(self.disabled),
            ..self.clone()
        };
        let ends_sessions = change.password.is_some()
            || user.role != self.role
            || (user.disabled && !self.disabled);
        let leaves_admins = self.is_enabled_admin() && !user.is_enabled_admin();
        Changed { user, ends_sessions, leaves_admins }
    }
}

// === impl Login ===

impl Login {
    /// Bounds what came. An address that is none is not told so: it is nobody's, like any other.
    pub(crate) fn parse(
        email: Option<&str>,
        password: Option<SecretString>,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let email = email.map(str::trim).unwrap_or_default();
        if email.is_empty() {
            errors.push(FieldError::new("email", "is required"));
        } else if email.len() > EMAIL_BYTES_MAX {
            errors.push(FieldError::new("email", "must have at most 254 characters"));
        }
        let password = password.unwrap_or_default();
        let bytes = password.expose_secret().len();
        if bytes == 0 {
            errors.push(FieldError::new("password", "is required"));
        } else if bytes > LOGIN_PASSWORD_BYTES_MAX {
            errors.push(FieldError::new("password", "must have at most 1024 bytes"));
        }
        if errors.is_empty() {
            Ok(Self { email: Email::parse(email).ok(), password })
        } else {
            Err(errors)
        }
    }
}

// === impl NewUser ===

impl NewUser {
    /// All of it, or every field that is wrong.
    pub(crate) fn parse(
        email: Option<&str>,
        password: Option<SecretString>,
        role: Option<&str>,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let email = noted("email", Email::parse(email.unwrap_or_default()), &mut errors);
        let password = Password::parse(password.unwrap_or_default());
        let password = noted("password", password, &mut errors);
        let role = noted("role", parse_role(role.unwrap_or_default()), &mut errors);
        match (email, password, role) {
            (Some(email), Some(password), Some(role)) => Ok(Self { email, password, role }),
            _ => Err(errors),
        }
    }
}

// === impl Change ===

impl Change {
    /// All of it, or every field that is wrong. What is absent stays as it is.
    pub(crate) fn parse(
        role: Option<&str>,
        password: Option<SecretString>,
        disabled: Option<bool>,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let role = role.and_then(|role| noted("role", parse_role(role), &mut errors));
        let password =
            password.and_then(|text| noted("password", Password::parse(text), &mut errors));
        if errors.is_empty() { Ok(Self { role, password, disabled }) } else { Err(errors) }
    }
}

fn parse_role(name: &str) -> Result<Role, String> {
    if name.is_empty() {
        return Err("is required".to_owned());
    }
    name.parse().map_err(|error: shared_middleware::identity::UnknownName| error.to_string())
}

/// The value, or nothing and a note of what is wrong with it.
fn noted<T, M: Into<std::borrow::Cow<'static, str>>>(
    field: &'static str,
    parsed: Result<T, M>,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    parsed.map_err(|message| errors.push(FieldError::new(field, message))).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(role: Role, disabled: bool) -> User {
        let email = Email::parse("a@b.org").unwrap();
        User { id: Uuid::nil(), email, role, disabled, created_at: Timestamp::UNIX_EPOCH }
    }

    fn fields(errors: Vec<FieldError>) -> Vec<String> {
        errors.into_iter().map(|error| error.field.into_owned()).collect()
    }

    #[test]
    fn an_email_is_trimmed_and_unique_without_regard_to_case() {
        let email = Email::parse("  Ann.Lee@Example.ORG ").unwrap();
        assert_eq!(email.as_str(), "Ann.Lee@Example.ORG");
        assert_eq!(email.key(), "ann.lee@example.org");
        assert_eq!(format!("{email:?}"), "Email(…)");
    }

    #[test]
    fn what_is_no_email_is_refused() {
        let long = format!("{}@example.org", "a".repeat(250));
        for text in ["", "  ", "a", "a@", "@b", "a b@c.org", "A <a@b.org>", "a\0@b.org", &long] {
            assert!(Email::parse(text).is_err(), "{text:?}");
        }
    }

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
    fn the_common_passwords_are_those_that_length_alone_would_admit() {
        for text in COMMON_PASSWORDS {
            assert!(text.chars().count() >= PASSWORD_CHARS_MIN, "{text}");
            assert_eq!(*text, text.to_lowercase());
        }
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        let refused = NewUser::parse(None, None, None).err().unwrap();
        assert_eq!(fields(refused), ["email", "password", "role"]);
        let refused = NewUser::parse(Some("a"), Some("b".into()), Some("ROOT")).err().unwrap();
        assert_eq!(fields(refused), ["email", "password", "role"]);
        let refused = Change::parse(Some("admin"), Some("".into()), None).err().unwrap();
        assert_eq!(fields(refused), ["role", "password"]);
        let refused = Login::parse(Some(" "), Some("x".repeat(1025).into())).err().unwrap();
        assert_eq!(fields(refused), ["email", "password"]);
    }

    #[test]
    fn a_login_does_not_tell_that_an_email_cannot_exist() {
        assert!(Login::parse(Some("nobody"), Some("x".into())).unwrap().email.is_none());
    }

    #[test]
    fn sessions_end_when_what_their_tokens_say_is_not_true_any_more() {
        let admin = user(Role::Admin, false);
        let ends = |change| admin.changed(&change).ends_sessions;
        assert!(!ends(Change::default()));
        assert!(!ends(Change { role: Some(Role::Admin), ..Change::default() }));
        assert!(!ends(Change { disabled: Some(false), ..Change::default() }));
        assert!(ends(Change { role: Some(Role::Auditor), ..Change::default() }));
        assert!(ends(Change { disabled: Some(true), ..Change::default() }));
        let password = Password::parse("violet tram 19".into()).ok();
        assert!(ends(Change { password, ..Change::default() }));
    }

    proptest! {
        #[test]
        fn admins_become_fewer_only_when_an_enabled_one_stops_being_one(
            role in 0..5_usize, disabled: bool, to_role in proptest::option::of(0..5_usize),
            to_disabled: Option<bool>,
        ) {
            let before = user(Role::ALL[role], disabled);
            let role = to_role.map(|role| Role::ALL[role]);
            let changed = before.changed(&Change { role, password: None, disabled: to_disabled });
            prop_assert_eq!(
                changed.leaves_admins,
                before.is_enabled_admin() && !changed.user.is_enabled_admin(),
            );
            prop_assert_eq!(changed.user.id, before.id);
        }

        #[test]
        fn no_text_makes_it_panic_or_comes_back_in_an_error(text in "\\PC{0,300}") {
            if let Err(message) = Email::parse(&text) {
                prop_assert!(text.len() < 5 || !message.contains(&text));
            }
            let _ = Password::parse(text.clone().into());
            let _ = Login::parse(Some(&text), Some(text.clone().into()));
            let _ = NewUser::parse(Some(&text), Some(text.clone().into()), Some(&text));
        }
    }
}
