//! What a failure is to anyone who uses the store: worth another try, a constraint, or a mistake.

use std::{error::Error as _, io};

use tokio_postgres::error::SqlState;

use crate::db::DbError;

/// What the server says of a failure: not its detail, which quotes rows.
#[derive(Debug, thiserror::Error)]
#[error("{message} (SQLSTATE {code})")]
struct Refused {
    code: String,
    message: String,
}

pub(super) fn failed(error: tokio_postgres::Error) -> DbError {
    let Some(cause) = error.as_db_error() else {
        // Not the server's answer. Either it cannot be reached, or a value is not of its column's
        // type, which no other try will change.
        let lost = error.is_closed() || error.source().is_some_and(|cause| cause.is::<io::Error>());
        return if lost {
            DbError::Unavailable(Box::new(error))
        } else {
            DbError::Statement(Box::new(error))
        };
    };
    let code = cause.code();
    if *code == SqlState::UNIQUE_VIOLATION {
        return DbError::Unique(cause.constraint().unwrap_or("a value").to_owned());
    }
    let refused = Box::new(Refused::new(code, cause.message()));
    // Connection, serialization and deadlock, resources, operator, system; and a lock that is held.
    let passing = ["08", "40", "53", "57", "58"].iter().any(|class| code.code().starts_with(class));
    if passing || *code == SqlState::LOCK_NOT_AVAILABLE {
        DbError::Unavailable(refused)
    } else {
        DbError::Statement(refused)
    }
}

// === impl Refused ===

impl Refused {
    fn new(code: &SqlState, message: &str) -> Self {
        // Class 22 is bad data: its messages quote it.
        let quotes = code.code().starts_with("22");
        let message = if quotes { "a value is not of its type" } else { message };
        Self { code: code.code().to_owned(), message: message.to_owned() }
    }
}
