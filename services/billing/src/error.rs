//! What can go wrong, in the domain's words.

use kit::db::DbError;
use shared_middleware::error::{ErrorCode, ServiceError};

/// A failure of billing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No account with this id, or for this patient.
    #[error("there is no such account")]
    NotFound,
    /// The store did not do it.
    #[error("the store failed")]
    Store(#[from] DbError),
}

impl ServiceError for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::NotFound,
            Self::Store(error) => error.code(),
        }
    }
}
