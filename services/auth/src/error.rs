//! What can go wrong, in the service's own words.

use kit::db::DbError;
use shared_middleware::error::{ErrorCode, FieldError, ServiceError};

use crate::{keys::KeysError, password::PasswordError};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One or more fields of a request.
    #[error("one or more fields are invalid")]
    Invalid(Vec<FieldError>),
    /// Unknown user, wrong password, disabled user: nobody learns which.
    #[error("the email or the password is wrong")]
    SignInRefused,
    /// Unknown, spent, expired, or of a sign-in that was ended.
    #[error("the refresh token is not valid")]
    RefreshRefused,
    /// The token is good, but its user is not there any more.
    #[error("the token's user is not known")]
    CallerGone,
    /// No such user.
    #[error("there is no such user")]
    UserNotFound,
    /// Emails are unique.
    #[error("another user already has this email")]
    EmailTaken,
    /// Somebody must be able to manage users.
    #[error("the last enabled ADMIN cannot be removed, disabled or given another role")]
    LastAdmin,
    /// A password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The store.
    #[error(transparent)]
    Store(#[from] DbError),
    /// The machine gave no random bytes.
    #[error("no randomness")]
    NoRandomness,
    /// Settings that cannot be used.
    #[error("auth's settings cannot be used: {}", listed(.0))]
    Config(Vec<FieldError>),
}

// === impl Error ===

impl ServiceError for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::Invalid,
            Self::SignInRefused | Self::RefreshRefused | Self::CallerGone => {
                ErrorCode::Unauthenticated
            }
            Self::UserNotFound => ErrorCode::NotFound,
            Self::EmailTaken | Self::LastAdmin => ErrorCode::Conflict,
            Self::Password(PasswordError::Busy) => ErrorCode::Unavailable,
            Self::Store(error) => error.code(),
            Self::Password(_) | Self::Keys(_) | Self::NoRandomness | Self::Config(_) => {
                ErrorCode::Internal
            }
        }
    }

    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Invalid(fields) => fields.clone(),
            _ => Vec::new(),
        }
    }
}

fn listed(faults: &[FieldError]) -> String {
    let told = faults.iter().map(|fault| format!("{} {}", fault.field, fault.message));
    told.collect::<Vec<_>>().join(", ")
}
