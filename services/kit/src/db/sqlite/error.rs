//! What a failure is to anyone who uses the store: worth another try, a constraint, or a mistake.

use rusqlite::ErrorCode;

use crate::db::DbError;

pub(super) fn failed(error: rusqlite::Error) -> DbError {
    let Some(cause) = error.sqlite_error() else { return DbError::Statement(Box::new(error)) };
    match cause.code {
        ErrorCode::ConstraintViolation => {
            let text = error.to_string();
            match text.strip_prefix("UNIQUE constraint failed: ") {
                Some(columns) => DbError::Unique(constraint(columns)),
                None => DbError::Statement(Box::new(error)),
            }
        }
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::DiskFull
        | ErrorCode::CannotOpen
        | ErrorCode::ReadOnly
        | ErrorCode::SystemIoFailure => unavailable(error),
        _ => DbError::Statement(Box::new(error)),
    }
}

/// `patient.email_key, patient.x` as PostgreSQL's constraint is named: `patient_email_key_x`.
fn constraint(columns: &str) -> String {
    let mut name = String::new();
    for (place, column) in columns.split(", ").enumerate() {
        let (table, column) = column.split_once('.').unwrap_or(("", column));
        if place == 0 {
            name.push_str(table);
        }
        name.push('_');
        name.push_str(column);
    }
    name
}

pub(super) fn failed_by(error: impl std::error::Error + Send + Sync + 'static) -> DbError {
    DbError::Statement(Box::new(error))
}

pub(super) fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DbError {
    DbError::Unavailable(error.into())
}
