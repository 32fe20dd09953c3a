//! The proxies: how each is started, and what there is of it then.

use std::{fmt, path::Path, process::Command};

use anyhow::Context as _;
use measure::{Member, Process, descendants, free_port, tied};

use crate::{
    load::Point,
    site::{OPEN_PATH, Site, nginx, without_limits},
};

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Only proxies.
    Nginx,
    Envoy,
    Haproxy,
    /// Our gateway, with a plaintext upstream as the others have.
    Medisync,
    /// Our gateway, with mTLS to the upstream.
    MedisyncMtls,
    /// Our gateway, with a hundredth of all traces kept.
    MedisyncTraced,
    /// Our gateway on a route that is open, without limits: what its policies cost is what the
    /// others take more.
    MedisyncOpen,
}

/// One that runs.
pub(crate) struct Proxy {
    pub(crate) kind: Kind,
    /// Whether clients speak TLS to it.
    pub(crate) secure: bool,
    /// What it says it is.
    pub(crate) version: String,
    pub(crate) port: u16,
    process: Process,
}

// === impl Kind ===

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Nginx,
        Self::Envoy,
        Self::Haproxy,
        Self::Medisync,
        Self::MedisyncMtls,
        Self::MedisyncTraced,
        Self::MedisyncOpen,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Envoy => "Envoy",
            Self::Haproxy => "HAProxy",
            Self::Medisync => "MediSync",
            Self::MedisyncMtls => "MediSync, mTLS",
            Self::MedisyncTraced => "MediSync, traced",
            Self::MedisyncOpen => "MediSync, open",
        }
    }

    /// What it does for a request.
    pub(crate) const fn does(self) -> &'static str {
        match self {
            Self::Nginx => "only proxies",
            Self::Envoy => "JWT with a cache, a limit, route, rewrite",
            Self::Haproxy => "JWT verified each time, a limit per client, route, rewrite",
            Self::Medisync => "everything",
            Self::MedisyncMtls => "everything, and mTLS to the upstream",
            Self::MedisyncTraced => "everything, and 1 % of traces sent to a collector",
            Self::MedisyncOpen => "an open route: everything but token, role and limits",
        }
    }

    /// Whether it knows what a token is.
    pub(crate) const fn has_policy(self) -> bool {
        !matches!(self, Self::Nginx | Self::MedisyncOpen)
    }

    /// Whether it is ours.
    const fn is_ours(self) -> bool {
        !matches!(self, Self::Nginx | Self::Envoy | Self::Haproxy)
    }

    /// Starts it, on a port of its own, for clients with TLS or without.
    pub(crate) fn start(
        self,
        site: &Site,
        envoy: Option<&Path>,
        secure: bool,
    ) -> anyhow::Result<Proxy> {
        let port = free_port()?;
        let envoy = envoy.unwrap_or(Path::new("envoy"));
        let configure = |name: &str, settings: &str| {
            let settings = settings.replace("{secure}", &self.secure(site, secure));
            let name = if secure { format!("secure-{name}") } else { name.to_owned() };
            site.configure(&name, &settings, port)
        };
        let command = match self {
            Self::Nginx => nginx(&configure("nginx.conf", include_str!("../conf/nginx.conf"))?),
            Self::Envoy => {
                let file = configure("envoy.yaml", include_str!("../conf/envoy.yaml"))?;
                let mut command = tied(envoy);
                let id = if secure { "8" } else { "7" };
                command.args(["--concurrency", "2", "--log-level", "error", "--base-id", id]);
                command.arg("-c").arg(file);
                command
            }
            Self::Haproxy => {
                let conf = include_str!("../conf/haproxy.cfg");
                let mut command = tied("haproxy");
                command.arg("-f").arg(configure("haproxy.cfg", conf)?);
                command
            }
            Self::Medisync => {
                site.gateway(port, &format!("http://127.0.0.1:{}", site.upstream), secure)
            }
            Self::MedisyncMtls => {
                site.gateway(port, &format!("https://127.0.0.1:{}", site.upstream_tls), secure)
            }
            Self::MedisyncTraced => {
                let upstream = format!("http://127.0.0.1:{}", site.upstream);
                let mut command = site.gateway(port, &upstream, secure);
                command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &site.collector);
                command.env("OTEL_TRACES_SAMPLER_ARG", "0.01");
                command
            }
            Self::MedisyncOpen => {
                let upstream = format!("http://127.0.0.1:{}", site.upstream);
                let mut command = site.gateway(port, &upstream, secure);
                without_limits(&mut command);
                command
            }
        };
        let log = site.folder().join(format!("{self:?}-{secure}.log"));
        let version = self.version(site, envoy).with_context(|| self.name())?;
        let process = if self.is_ours() {
            Process::start(command, self.name(), &log)?.0
        } else {
            Process::listening(command, self.name(), &log, port)?
        };
        Ok(Proxy { kind: self, secure, version, port, process })
    }

    /// What in its settings makes it speak TLS, HTTP/2 among it.
    fn secure(self, site: &Site, secure: bool) -> String {
        let (chain, private) = (site.chain(), site.private());
        let (chain, private) = (chain.display(), private.display());
        match self {
            _ if !secure => String::new(),
            Self::Nginx => " ssl http2".to_owned(),
            Self::Haproxy => format!(" ssl crt {} alpn h2,http/1.1", site.both().display()),
            Self::Envoy => format!(
                "transport_socket: {{ name: envoy.transport_sockets.tls, typed_config: {{ \
                 \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.\
                 DownstreamTlsContext, common_tls_context: {{ alpn_protocols: [h2, http/1.1], \
                 tls_certificates: [{{ certificate_chain: {{ filename: {chain} }}, \
                 private_key: {{ filename: {private} }} }}] }} }} }}"
            ),
            _ => String::new(),
        }
    }

    fn version(self, site: &Site, envoy: &Path) -> anyhow::Result<String> {
        let mut command = match self {
            Self::Nginx => Command::new("nginx"),
            Self::Envoy => Command::new(envoy),
            Self::Haproxy => Command::new("haproxy"),
            _ => Command::new(site.binary()),
        };
        let flag = match self {
            Self::Nginx | Self::Haproxy => "-v",
            _ => "--version",
        };
        let told = command.arg(flag).output().context("install it by `make bench-peers`")?;
        let told = [told.stdout, told.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        // The first word that is, or begins with, a number of several parts.
        let words = told.split(|c: char| c.is_whitespace() || matches!(c, '/' | '-'));
        let number = words
            .into_iter()
            .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()));
        Ok(format!("{} {}", self.name(), number.context("it does not say which version it is")?))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl Proxy ===

impl Proxy {
    /// All its processes.
    pub(crate) fn member(&self) -> Member {
        Member { name: self.kind.name().to_owned(), pids: descendants(self.process.pid()) }
    }

    /// Where a path of the API is.
    pub(crate) fn url(&self, body: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let path = match self.kind {
            Kind::MedisyncOpen => OPEN_PATH,
            _ => &format!("/api/patients/{body}"),
        };
        format!("{scheme}://127.0.0.1:{}{path}", self.port)
    }

    /// Whether there is something to measure: what is open has one answer only.
    pub(crate) fn answers(&self, point: &Point) -> bool {
        let one_answer = self.kind != Kind::MedisyncOpen || *point == Point::TINY;
        self.secure == point.spoken.is_secure() && one_answer
    }
}
