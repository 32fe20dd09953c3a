//! What can go wrong, in the domain's words.

use kit::db::DbError;
use shared_middleware::error::{ErrorCode, FieldError, ServiceError};

use crate::domain::Invalid;

/// A failure of the patient service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that are not what they must be.
    #[error("one or more fields are invalid")]
    Invalid(#[from] Invalid),
    /// No patient with this id.
    #[error("there is no such patient")]
    NotFound,
    /// Emails are unique, regardless of case.
    #[error("another patient has this email")]
    EmailTaken,
    /// Ids are unique; only demo data brings its own.
    #[error("there is a patient with this id already")]
    IdTaken,
    /// The caller saw another version.
    #[error("the patient was changed since; read it again")]
    Changed,
    /// The first request with this key is being worked on.
    #[error("a request with this idempotency key is in progress")]
    InProgress,
    /// The first request with this key asked something else.
    #[error("this idempotency key was used for another request")]
    KeyReused,
    /// The patient that this key registered was removed.
    #[error("the patient that was registered with this idempotency key was removed")]
    Removed,
    /// The store did not do it.
    #[error("the store failed")]
    Store(#[source] DbError),
}

impl ServiceError for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::Invalid,
            Self::NotFound => ErrorCode::NotFound,
            Self::EmailTaken | Self::IdTaken | Self::InProgress | Self::Removed => {
                ErrorCode::Conflict
            }
            Self::Changed => ErrorCode::PreconditionFailed,
            Self::KeyReused => ErrorCode::IdempotencyKeyReused,
            Self::Store(error) => error.code(),
        }
    }

    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Invalid(invalid) => invalid.fields(),
            _ => Vec::new(),
        }
    }
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Self {
        match &error {
            DbError::Unique(constraint) => match constraint.as_str() {
                "patient_email_key" => Self::EmailTaken,
                "patient_id" | "patient_pkey" => Self::IdTaken,
                // Another request with this key was a moment faster.
                "idempotency_caller_request_key" => Self::InProgress,
                _ => Self::Store(error),
            },
            _ => Self::Store(error),
        }
    }
}
