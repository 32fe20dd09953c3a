//! What is measured: the mesh on the embedded stores, or on servers.
//!
//! Rate limits are off, or they would be what is measured. Nothing else is: passwords are hashed,
//! tokens verified, commits are on disk before they are acknowledged.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use measure::{Member, Process, command, free_port};
use tempfile::TempDir;
use testbed::{Kafka, Postgres, Security, Version};

const PARTS: [&str; 6] = ["auth", "billing", "patient", "analytics", "notification", "gateway"];
/// Parts with a store.
const SERVICES: [&str; 5] = ["auth", "patient", "billing", "analytics", "notification"];

/// What the mesh runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    Embedded,
    Servers,
}

/// The running mesh.
pub(crate) struct Mesh {
    // Dropped in this order: processes before what they work on.
    processes: Vec<Process>,
    pub(crate) servers: Option<Servers>,
    pub(crate) kind: Kind,
    binary: PathBuf,
    environment: Vec<(String, String)>,
    folder: TempDir,
    /// `host:port`.
    pub(crate) gateway: String,
}

/// What it runs on, when those are servers.
pub(crate) struct Servers {
    pub(crate) postgres: Postgres,
    pub(crate) kafka: Kafka,
}

// === impl Kind ===

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Servers => "servers",
        })
    }
}

// === impl Mesh ===

impl Mesh {
    /// Starts it with nothing in it but the demo users and patients; Kafka's topics with this many
    /// partitions.
    pub(crate) fn start(
        kind: Kind,
        binary: &Path,
        folder: &Path,
        partitions: u32,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("medisync-stacks-").tempdir_in(folder)?;
        let binary = binary.to_owned();
        let (servers, environment) = match kind {
            Kind::Embedded => (None, embedded()),
            Kind::Servers => {
                let servers = Servers::start()?;
                certificates(&binary, &folder.path().join("data"))?;
                let mut environment = [servers.environment(), addresses()?].concat();
                environment
                    .push(("MEDISYNC_EVENTS__PARTITIONS".to_owned(), partitions.to_string()));
                (Some(servers), environment)
            }
        };
        let (processes, gateway) = (Vec::new(), String::new());
        let mut mesh = Self { processes, servers, kind, binary, environment, folder, gateway };
        match kind {
            Kind::Embedded => mesh.run(&["up"])?,
            Kind::Servers => PARTS.iter().try_for_each(|part| mesh.run(&["run", part]))?,
        }
        ensure!(!mesh.gateway.is_empty(), "the gateway did not say where it is");
        Ok(mesh)
    }

    /// Starts a process with these arguments, and waits until it is ready.
    pub(crate) fn run(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = command(&self.binary, &self.data());
        command.args(arguments).envs(common()).envs(self.environment.iter().cloned());
        let name = arguments.last().copied().unwrap_or_default();
        let (process, urls) = Process::start(command, name, &self.folder.path().join("log"))?;
        if let Some(url) = urls.get("gateway") {
            self.gateway = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        }
        self.processes.push(process);
        Ok(())
    }

    /// Stops every process of the binary; the last started first, so the gateway, too.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.processes.drain(..).rev().try_for_each(Process::stop)
    }

    /// Everything that works for it.
    pub(crate) fn members(&self) -> anyhow::Result<Vec<Member>> {
        let one = |of: &Process| Member { name: of.name().to_owned(), pids: vec![of.pid()] };
        let mut all: Vec<_> = self.processes.iter().map(one).collect();
        if let Some(Servers { postgres, kafka }) = &self.servers {
            all.push(Member { name: "PostgreSQL".to_owned(), pids: postgres.pids()? });
            all.push(Member { name: "Kafka".to_owned(), pids: kafka.pids(1)? });
        }
        Ok(all)
    }

    /// Where the mesh keeps what it has.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Of what it runs on.
    pub(crate) fn versions(&self) -> anyhow::Result<Vec<String>> {
        let Some(Servers { postgres, kafka }) = &self.servers else {
            return Ok(vec![format!("SQLite {}", rusqlite::version())]);
        };
        let version = postgres.ask("show server_version")?;
        Ok(vec![format!("PostgreSQL {version}"), format!("Apache Kafka {}", kafka.version())])
    }
}

// === impl Servers ===

impl Servers {
    fn start() -> anyhow::Result<Self> {
        let postgres = Postgres::start(Version::Newest)?;
        for part in SERVICES {
            postgres.ask(&format!("create database {part}"))?;
        }
        Ok(Self { postgres, kafka: Kafka::start(1, Security::None)? })
    }

    /// A part's store, as its superuser.
    pub(crate) fn database(&self, part: &str) -> anyhow::Result<String> {
        let url = self.postgres.url();
        let (server, _) = url.rsplit_once('/').context("a URL has a path")?;
        Ok(format!("{server}/{part}"))
    }

    fn environment(&self) -> Vec<(String, String)> {
        let log = format!("kafka://{}", self.kafka.bootstrap());
        let ca = self.postgres.ca_pem();
        let stores = SERVICES.iter().filter_map(|part| {
            let url = self.database(part).ok()?;
            let url = format!("{url}?sslmode=verify-full&sslrootcert={}", ca.display());
            Some((format!("MEDISYNC_{}__DATABASE", part.to_uppercase()), url))
        });
        stores.chain([("MEDISYNC_EVENTS__LOG".to_owned(), log)]).collect()
    }
}

/// Demo users, no rate limits, and a message for each event.
fn common() -> Vec<(String, String)> {
    let settings = [
        ("GATEWAY__RATE_LIMIT__USER", "off"),
        ("GATEWAY__RATE_LIMIT__CLIENT", "off"),
        ("GATEWAY__RATE_LIMIT__LOGIN", "off"),
        ("AUTH__RATE_LIMIT__ACCOUNT", "off"),
        ("NOTIFICATION__RATE_LIMIT__ADDRESS", "off"),
        ("NOTIFICATION__UPDATE_INTERVAL_SECONDS", "0"),
        ("ADMIN__LISTEN", "127.0.0.1:0"),
        ("DEMO", "true"),
    ];
    settings.map(|(key, value)| (format!("MEDISYNC_{key}"), value.to_owned())).to_vec()
}

/// Any free port for each.
fn embedded() -> Vec<(String, String)> {
    let listen = |part: &str| (format!("MEDISYNC_{}__LISTEN", part.to_uppercase()), any());
    let grpc = ("MEDISYNC_BILLING__GRPC_LISTEN".to_owned(), any());
    PARTS.iter().map(|part| listen(part)).chain([grpc]).collect()
}

fn any() -> String {
    "127.0.0.1:0".to_owned()
}

/// Where each part of its own process is, told to all; and that they speak by mTLS only.
fn addresses() -> anyhow::Result<Vec<(String, String)>> {
    let mut all = vec![("MEDISYNC_MESH__MTLS".to_owned(), "strict".to_owned())];
    for part in PARTS {
        let (at, name) = (format!("127.0.0.1:{}", free_port()?), part.to_uppercase());
        all.push((format!("MEDISYNC_{name}__LISTEN"), at.clone()));
        if part != "gateway" {
            all.push((format!("MEDISYNC_{name}__URL"), format!("https://{at}")));
        }
    }
    let grpc = format!("127.0.0.1:{}", free_port()?);
    all.push(("MEDISYNC_BILLING__GRPC_LISTEN".to_owned(), grpc.clone()));
    all.push(("MEDISYNC_BILLING__GRPC_URL".to_owned(), format!("https://{grpc}")));
    Ok(all)
}

/// As an operator would, before the parts start.
fn certificates(binary: &Path, data: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(data)?;
    let pki = |arguments: &[&str]| -> anyhow::Result<()> {
        let done = command(binary, data).arg("pki").args(arguments).output()?;
        let told = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "pki {arguments:?}: {told}");
        Ok(())
    };
    pki(&["init"])?;
    PARTS.iter().try_for_each(|part| pki(&["issue", part]))
}
