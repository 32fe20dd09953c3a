//! Users, emails, passwords and service accounts: the nouns and their rules. Pure.

mod password;
mod service_account;

use jiff::Timestamp;
use kit::email::EMAIL_BYTES_MAX;
use secrecy::{ExposeSecret as _, SecretString};
use shared_middleware::{error::FieldError, identity::Role};
use uuid::Uuid;

use self::password::LOGIN_PASSWORD_BYTES_MAX;
pub(crate) use self::{
    password::{Password, composed},
    service_account::{NewServiceAccount, ServiceAccount},
};
pub use kit::email::Email;

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
    /// Whose it wants to be: what came as the email, whatever it is.
    account: String,
    /// None when it cannot be anybody's.
    pub(crate) email: Option<Email>,
    pub(crate) password: SecretString,
}

/// What a user brings for another password.
pub(crate) struct OwnPassword {
    pub(crate) current: SecretString,
    pub(crate) new: Password,
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
    /// What is different, as the audit log says it.
    pub(crate) fields: Vec<String>,
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
        let role = (user.role != self.role).then(|| format!("role={}", user.role));
        let disabled =
            (user.disabled != self.disabled).then(|| format!("disabled={}", user.disabled));
        let password = change.password.as_ref().map(|_| "password".to_owned());
        let fields = [role, disabled, password].into_iter().flatten().collect();
        Changed { user, ends_sessions, leaves_admins, fields }
    }
}

// === impl Login ===

impl Login {
    /// Limits what came. An invalid address is not reported as such: it is nobody's, like any
    /// other.
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
        match noted("password", bounded(password), &mut errors) {
            Some(password) if errors.is_empty() => {
                Ok(Self { account: email.to_owned(), email: Email::parse(email).ok(), password })
            }
            _ => Err(errors),
        }
    }
}

impl Login {
    /// Whose it wants to be, in one form: attempts are counted by it.
    pub(crate) fn account(&self) -> &str {
        self.email.as_ref().map_or(&*self.account, Email::key)
    }
}

// === impl OwnPassword ===

impl OwnPassword {
    /// Both, or every field that is wrong.
    pub(crate) fn parse(
        current: Option<SecretString>,
        new: Option<SecretString>,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let current = noted("currentPassword", bounded(current), &mut errors);
        let new = Password::parse(new.unwrap_or_default());
        match (current, noted("newPassword", new, &mut errors)) {
            (Some(current), Some(new)) => Ok(Self { current, new }),
            _ => Err(errors),
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
        let password = password.and_then(|password| match &email {
            Some(email) => password.of(email),
            None => Ok(password),
        });
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

/// A password that is only compared: whether it may be set is another question.
fn bounded(password: Option<SecretString>) -> Result<SecretString, &'static str> {
    let password = password.unwrap_or_default();
    match password.expose_secret().len() {
        0 => Err("is required"),
        bytes if bytes > LOGIN_PASSWORD_BYTES_MAX => Err("must have at most 1024 bytes"),
        _ => Ok(password),
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
    fn every_field_that_is_wrong_is_named() {
        let refused = NewUser::parse(None, None, None).err().unwrap();
        assert_eq!(fields(refused), ["email", "password", "role"]);
        let refused = NewUser::parse(Some("a"), Some("b".into()), Some("ROOT")).err().unwrap();
        assert_eq!(fields(refused), ["email", "password", "role"]);
        let own = Some("christopher@a.org".into());
        let refused = NewUser::parse(Some("Christopher@a.org"), own, Some("ADMIN")).err().unwrap();
        assert_eq!(fields(refused), ["password"]);
        let refused = Change::parse(Some("admin"), Some("".into()), None).err().unwrap();
        assert_eq!(fields(refused), ["role", "password"]);
        let refused = OwnPassword::parse(None, Some("short".into())).err().unwrap();
        assert_eq!(fields(refused), ["currentPassword", "newPassword"]);
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

    #[test]
    fn what_is_different_is_told_by_name_and_a_password_never_by_value() {
        let clerk = user(Role::Receptionist, false);
        let fields = |role, password: Option<&str>, disabled| {
            let password = password.map(|text| SecretString::from(text.to_owned()));
            let change = Change::parse(role, password, disabled).ok().unwrap();
            clerk.changed(&change).fields
        };
        assert_eq!(fields(Some("ADMIN"), None, None), ["role=ADMIN"]);
        assert_eq!(fields(None, None, Some(true)), ["disabled=true"]);
        assert_eq!(fields(None, Some("violet tram 19"), None), ["password"]);
        assert!(fields(Some("RECEPTIONIST"), None, Some(false)).is_empty());
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
