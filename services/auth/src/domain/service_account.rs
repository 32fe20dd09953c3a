//! Service accounts: programs of integrators that sign in by a key.

use jiff::{SignedDuration, Timestamp};
use shared_middleware::{error::FieldError, identity::Role};
use uuid::Uuid;

use super::{noted, parse_role};

const NAME_CHARS_MAX: usize = 100;
const DAYS_MAX: i64 = 365;
const DAYS_DEFAULT: i64 = 90;

/// A program that may sign in until its key expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceAccount {
    /// The subject of its tokens.
    pub(crate) id: Uuid,
    /// Unique without regard to case.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) last_used_at: Option<Timestamp>,
}

/// One to be.
pub(crate) struct NewServiceAccount {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) valid_for: SignedDuration,
}

// === impl NewServiceAccount ===

impl NewServiceAccount {
    /// All of it, or every field that is wrong.
    pub(crate) fn parse(
        name: Option<&str>,
        role: Option<&str>,
        expires_in_days: Option<i64>,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let name = noted("name", parse_name(name.unwrap_or_default()), &mut errors);
        let role = parse_role(role.unwrap_or_default()).and_then(of_a_program);
        let role = noted("role", role, &mut errors);
        let days = noted("expiresInDays", parse_days(expires_in_days), &mut errors);
        match (name, role, days) {
            (Some(name), Some(role), Some(days)) => {
                Ok(Self { name, role, valid_for: SignedDuration::from_hours(24 * days) })
            }
            _ => Err(errors),
        }
    }
}

fn parse_name(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is required");
    }
    if text.chars().count() > NAME_CHARS_MAX {
        return Err("must have at most 100 characters");
    }
    if text.chars().any(char::is_control) {
        return Err("must not have control characters");
    }
    Ok(text.to_owned())
}

/// Nobody watches a program, and its key lies in files for months: one that could manage users
/// could give itself more keys, and outlive the end of its own.
fn of_a_program(role: Role) -> Result<Role, String> {
    if role == Role::Admin {
        return Err("must not be ADMIN: a service account does not manage users".to_owned());
    }
    Ok(role)
}

fn parse_days(days: Option<i64>) -> Result<i64, &'static str> {
    let days = days.unwrap_or(DAYS_DEFAULT);
    if (1..=DAYS_MAX).contains(&days) { Ok(days) } else { Err("must be from 1 to 365") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_a_key_expires_after_ninety_days_unless_said() {
        let new = NewServiceAccount::parse(Some(" lab link "), Some("BILLING"), None).ok().unwrap();
        assert_eq!((&*new.name, new.role), ("lab link", Role::Billing));
        assert_eq!(new.valid_for, SignedDuration::from_hours(90 * 24));
        for days in [1, 365] {
            assert!(NewServiceAccount::parse(Some("a"), Some("AUDITOR"), Some(days)).is_ok());
        }
        let longest = "ä".repeat(100);
        assert!(NewServiceAccount::parse(Some(&longest), Some("AUDITOR"), None).is_ok());
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        let long = "x".repeat(101);
        for name in ["", "  ", "a\nb", &long] {
            for role in ["", "ADMIN", "admin", "ROOT"] {
                for days in [0, -1, 366, i64::MIN, i64::MAX] {
                    let refused = NewServiceAccount::parse(Some(name), Some(role), Some(days));
                    let errors = refused.err().unwrap();
                    let fields: Vec<_> = errors.iter().map(|error| &*error.field).collect();
                    assert_eq!(fields, ["name", "role", "expiresInDays"]);
                }
            }
        }
    }
}
