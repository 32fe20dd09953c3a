//! Why the service cannot be built.

use std::{io, path::PathBuf};

use kit::db::DbError;

/// Why the service cannot be built. No text quotes a password.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store cannot be opened.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The SMTP server's URL is wrong.
    #[error("the URL of the SMTP server {0}")]
    Smtp(String),
    /// The sender is no address.
    #[error("the sender of notifications {0}")]
    From(String),
    /// The folder cannot be used.
    #[error("cannot use the folder {} for notifications", .1.display())]
    Outbox(#[source] io::Error, PathBuf),
}
