//! Where a store is, and its bounds.

use std::{path::PathBuf, str::FromStr, time::Duration};

use super::PostgresUrl;

/// Where a store is.
#[derive(Clone, PartialEq, Eq)]
pub enum DbUrl {
    /// `sqlite:PATH`.
    Sqlite(PathBuf),
    /// `postgres://user:pass@host:port/db`.
    Postgres(Box<PostgresUrl>),
}

/// A store's settings.
#[derive(Clone)]
pub struct DbConfig {
    /// Whose it is, as metrics name it: a service, or `events` of the embedded log.
    pub owner: &'static str,
    /// Where it is.
    pub url: DbUrl,
    /// This many connections at most: PostgreSQL's pool, SQLite's readers.
    pub pool_connections_max: u32,
    /// Waiting longer for a connection, or for a place in SQLite's writer's queue, is a failure.
    pub acquire: Duration,
    /// PostgreSQL gives up a statement that takes longer.
    pub statement: Duration,
    /// Whether a store that is not there is an error: for anyone who looks at what others have
    /// made.
    pub must_exist: bool,
}

// === impl DbUrl ===

impl FromStr for DbUrl {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err("sqlite: needs a path")
            } else {
                Ok(Self::Sqlite(path.into()))
            };
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return url.parse().map(|url| Self::Postgres(Box::new(url)));
        }
        Err("must begin with sqlite: or postgres://")
    }
}

impl std::fmt::Debug for DbUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => write!(f, "{url:?}"),
        }
    }
}

// === impl DbConfig ===

impl DbConfig {
    /// A store there, with bounds that fit a small service.
    pub const fn new(owner: &'static str, url: DbUrl) -> Self {
        let (acquire, statement) = (Duration::from_secs(3), Duration::from_secs(10));
        Self { owner, url, pool_connections_max: 8, acquire, statement, must_exist: false }
    }
}
