//! `postgres://…`: what libpq's URLs say, and whom to trust.
//!
//! `sslmode` is `disable`, `prefer` (the default: TLS if the server has it), `require` (TLS, with
//! whatever certificate) or `verify-full` (the certificate is of `sslrootcert`'s or, without that,
//! of the system's authorities, and names the host). The last one alone keeps out who stands
//! between.

use std::{fmt, path::PathBuf, str::FromStr};

use tokio_postgres::config::{Host, SslMode};

const FORM: &str = "is not of the form postgres://user:pass@host:port/db";

/// Where the server is, as whom we come, and whom we trust.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    config: tokio_postgres::Config,
    trust: Trust,
}

/// Which certificates of a server are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Any,
    /// Those that the system trusts.
    System,
    /// Those of the authorities in this file.
    File(PathBuf),
}

// === impl PostgresUrl ===

impl PostgresUrl {
    pub(super) const fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    pub(super) const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The same server, another database.
    pub fn with_database(&self, name: &str) -> Self {
        let mut url = self.clone();
        url.config.dbname(name);
        url
    }
}

impl FromStr for PostgresUrl {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut root, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => {
                    let path = percent_encoding::percent_decode_str(value).decode_utf8();
                    root = Some(PathBuf::from(path.map_err(|_| FORM)?.into_owned()));
                }
                _ => rest.push(pair),
            }
        }
        // The parser's own error may quote the password.
        let known = format!("{place}?{}", rest.join("&"));
        let mut config: tokio_postgres::Config = known.parse().map_err(|_| FORM)?;
        let (mode, trust) = match (mode, root) {
            (Some("verify-full"), None) => (SslMode::Require, Trust::System),
            (Some("verify-full"), Some(root)) => (SslMode::Require, Trust::File(root)),
            (_, Some(_)) => return Err("sslrootcert is for sslmode=verify-full"),
            (Some("disable"), None) => (SslMode::Disable, Trust::Any),
            (Some("prefer") | None, None) => (SslMode::Prefer, Trust::Any),
            (Some("require"), None) => (SslMode::Require, Trust::Any),
            _ => return Err("sslmode must be disable, prefer, require or verify-full"),
        };
        config.ssl_mode(mode);
        Ok(Self { config, trust })
    }
}

/// Where, and not as whom: enough to tell which server does not answer.
impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            _ => String::new(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        write!(f, "postgres://{host}:{port}/{}", self.config.get_dbname().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_says_whether_there_is_tls_and_whom_it_trusts() {
        let file = Trust::File("/a b.pem".into());
        for (query, mode, trust) in [
            ("", SslMode::Prefer, Trust::Any),
            ("?sslmode=disable", SslMode::Disable, Trust::Any),
            ("?sslmode=prefer&connect_timeout=1", SslMode::Prefer, Trust::Any),
            ("?sslmode=require", SslMode::Require, Trust::Any),
            ("?sslmode=verify-full", SslMode::Require, Trust::System),
            ("?sslrootcert=/a%20b.pem&sslmode=verify-full", SslMode::Require, file),
        ] {
            let url: PostgresUrl = format!("postgres://u:p@h:5433/d{query}").parse().unwrap();
            assert_eq!((url.config.get_ssl_mode(), &url.trust), (mode, &trust), "{query}");
            assert_eq!(format!("{url:?}"), "postgres://h:5433/d");
        }
    }

    #[test]
    fn what_would_trust_less_than_it_says_is_refused() {
        for query in ["sslmode=maybe", "sslmode=verify-ca", "sslmode=require&sslrootcert=/ca.pem"] {
            assert!(format!("postgres://u@h/d?{query}").parse::<PostgresUrl>().is_err());
        }
    }
}
