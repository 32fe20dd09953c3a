//! The one reader of flags, environment and file; everybody else gets plain values.

mod demo;
mod issuers;
mod parse;
mod settings;
mod show;
mod sources;
mod value_parsers;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use gateway::Origin;
use http::Uri;
use ipnet::IpNet;
use kit::{
    audit::AuditKey,
    db::{DbConfig, DbUrl},
    log::KafkaConfig,
};
use notification::MessageLimits;
use secrecy::SecretString;
use shared_middleware::{
    clock::{Clock, TimeZone},
    identity::Part,
    listen::Mode,
    rate_limit::RateLimit,
    tls::PemFiles,
    token::{ExternalIssuer, KeySource},
};

pub(crate) use self::{
    parse::read,
    show::show,
    sources::{ConfigErrors, FILE_VARIABLE, Sources},
    value_parsers::{log_filter, log_format},
};

/// Parts that have a store.
pub(crate) const SERVICES: [Part; 5] =
    [Part::Auth, Part::Patient, Part::Billing, Part::Analytics, Part::Notification];

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Every setting, understood.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) demo: bool,
    pub(crate) time_zone: TimeZone,
    pub(crate) drain: Duration,
    /// Of `drain`, how long a process that leaves still takes requests: none where all that it
    /// serves is in this process.
    pub(crate) leave: Duration,
    pub(crate) admin_listen: SocketAddr,
    /// Names by which the admin listener is asked.
    pub(crate) admin_hosts: Arc<[String]>,
    pub(crate) gateway: Gateway,
    /// Whose tokens are accepted beside ours.
    pub(crate) token_issuers: Vec<ExternalIssuer>,
    pub(crate) auth: Auth,
    pub(crate) patient: Patient,
    pub(crate) notification: Notification,
    pub(crate) billing_grpc_listen: SocketAddr,
    pub(crate) billing_grpc_urls: Option<Vec<Uri>>,
    /// Every part's own listener.
    pub(crate) listen: BTreeMap<Part, SocketAddr>,
    /// Where parts are found, as far as it was said.
    pub(crate) urls: BTreeMap<Part, Vec<Uri>>,
    /// Every store.
    pub(crate) databases: BTreeMap<Part, DbUrl>,
    pub(crate) events: EventLogConfig,
    pub(crate) mesh: Mesh,
    pub(crate) limits: Limits,
    pub(crate) traces: Traces,
    pub(crate) audit_key: AuditKeySource,
    /// Whether this is for a command that works on what is there, and makes nothing.
    pub(crate) stores_must_exist: bool,
}

/// Where the audit key is from.
#[derive(Clone)]
pub(crate) enum AuditKeySource {
    Given(AuditKey),
    File(PathBuf),
}

/// Where events are kept.
#[derive(Clone)]
pub(crate) enum EventLogConfig {
    /// In a file of the data directory.
    Embedded,
    Kafka(Box<KafkaConfig>),
}

#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) user_limit: Option<RateLimit>,
    pub(crate) client_limit: Option<RateLimit>,
    pub(crate) login_limit: Option<RateLimit>,
    pub(crate) jwks: KeySource,
    /// Certificate and key of the public port.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) redirect_listen: Option<SocketAddr>,
    pub(crate) redirect_port: Option<u16>,
    pub(crate) cors_origins: Vec<Origin>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) clients_tracked_max: usize,
    pub(crate) in_flight_per_client_max: u32,
    pub(crate) in_flight_per_user_max: u32,
    pub(crate) patience: ClientTimeouts,
    pub(crate) connect: Duration,
    pub(crate) upstream: Duration,
    pub(crate) health_every: Duration,
    pub(crate) threads: usize,
}

/// How much of the gateway clients may take up.
#[derive(Clone)]
pub(crate) struct ClientTimeouts {
    pub(crate) connections_max: usize,
    pub(crate) connections_per_client_max: usize,
    pub(crate) head: Duration,
    pub(crate) body: Duration,
    pub(crate) client: Duration,
    pub(crate) keep_alive: Duration,
}

#[derive(Clone)]
pub(crate) struct Auth {
    pub(crate) keys_dir: PathBuf,
    pub(crate) token_ttl_s: i64,
    pub(crate) refresh_ttl_s: i64,
    pub(crate) session_ttl_s: i64,
    pub(crate) refresh_reuse_s: i64,
    pub(crate) argon2_memory_kib: u32,
    pub(crate) argon2_passes: u32,
    pub(crate) hashes_at_once_max: usize,
    pub(crate) account_limit: Option<RateLimit>,
}

#[derive(Clone)]
pub(crate) struct Patient {
    pub(crate) billing_call: Duration,
    pub(crate) billing_total: Duration,
    pub(crate) billing_tries_max: u32,
}

#[derive(Clone)]
pub(crate) struct Notification {
    pub(crate) smtp: Option<SecretString>,
    pub(crate) outbox_dir: PathBuf,
    pub(crate) from: String,
    pub(crate) limits: MessageLimits,
}

#[derive(Clone)]
pub(crate) struct Mesh {
    pub(crate) mode: Mode,
    pub(crate) ca: PathBuf,
    pub(crate) crl: PathBuf,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

#[derive(Clone)]
pub(crate) struct Traces {
    /// None: no trace is kept.
    pub(crate) collector: Option<Uri>,
    /// Of all traces, from 0 to 1.
    pub(crate) share: f64,
}

#[derive(Clone)]
pub(crate) struct Limits {
    pub(crate) body_bytes_max: usize,
    pub(crate) deadline: Duration,
    pub(crate) in_flight_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) pool_connections_max: u32,
    pub(crate) acquire: Duration,
    pub(crate) statement: Duration,
}

// === impl EventLogConfig ===

/// Where, and not as whom.
impl fmt::Display for EventLogConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Kafka(kafka) => write!(f, "{:?}", kafka.url),
        }
    }
}

// === impl Config ===

impl Config {
    /// The machine's clock, with the clinic's days.
    pub(crate) fn clock(&self) -> Clock {
        Clock::system().in_zone(self.time_zone.clone())
    }

    /// Where the mesh's own authority keeps its files.
    pub(crate) fn pki_dir(&self) -> PathBuf {
        self.data_dir.join("pki")
    }

    /// Where a part's certificate is.
    pub(crate) fn pem_files(&self, part: Part) -> PemFiles {
        let own = |ending: &str| self.pki_dir().join(format!("{part}.{ending}"));
        PemFiles {
            ca: self.mesh.ca.clone(),
            crl: self.mesh.crl.clone(),
            cert: self.mesh.cert.clone().unwrap_or_else(|| own("pem")),
            key: self.mesh.key.clone().unwrap_or_else(|| own("key")),
        }
    }

    /// Whether certificates are brought by somebody else, who then renews them too.
    pub(crate) fn brings_certificates(&self) -> bool {
        self.mesh.cert.is_some()
    }

    /// A part's store.
    pub(crate) fn database(&self, part: Part) -> DbConfig {
        DbConfig {
            owner: part.as_str(),
            url: self.databases.get(&part).cloned().expect("every service has a store"),
            pool_connections_max: self.limits.pool_connections_max,
            acquire: self.limits.acquire,
            statement: self.limits.statement,
            must_exist: self.stores_must_exist,
        }
    }

    /// Whether everything is kept on this machine.
    pub(crate) fn is_embedded(&self) -> bool {
        matches!(self.events, EventLogConfig::Embedded)
            && self.databases.values().all(|url| matches!(url, DbUrl::Sqlite(_)))
    }

    /// Where the embedded event log is.
    pub(crate) fn events_path(&self) -> PathBuf {
        self.data_dir.join("events.db")
    }
}

#[cfg(test)]
mod tests;
