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
    /// No such service account.
    #[error("there is no such service account")]
    ServiceAccountNotFound,
    /// Names of service accounts are unique.
    #[error("another service account already has this name")]
    NameTaken,
    /// Unknown, wrong, expired or deleted: nobody learns which.
    #[error("the API key is not valid")]
    KeyRefused,
    /// The caller is a service account.
    #[error("a service account has no password")]
    NoPassword,
    /// Too many want to be the same user.
    #[error("too many sign-ins to this account")]
    TooManyAttempts {
        /// When the next one is let through.
        retry_after_s: u64,
    },
    /// One sign-in is refreshed too often.
    #[error("this sign-in was refreshed too often")]
    TooManyRefreshes {
        /// When the next one is let through.
        retry_after_s: u64,
    },
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
            Self::SignInRefused | Self::RefreshRefused | Self::KeyRefused | Self::CallerGone => {
                ErrorCode::Unauthenticated
            }
            Self::NoPassword => ErrorCode::Forbidden,
            Self::UserNotFound | Self::ServiceAccountNotFound => ErrorCode::NotFound,
            Self::EmailTaken | Self::NameTaken | Self::LastAdmin => ErrorCode::Conflict,
            Self::TooManyAttempts { .. } | Self::TooManyRefreshes { .. } => ErrorCode::RateLimited,
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

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::TooManyAttempts { retry_after_s } | Self::TooManyRefreshes { retry_after_s } => {
                Some(*retry_after_s)
            }
            _ => None,
        }
    }
}

fn listed(faults: &[FieldError]) -> String {
    let told = faults.iter().map(|fault| format!("{} {}", fault.field, fault.message));
    told.collect::<Vec<_>>().join(", ")
}
