//! What all proxies have in common: the upstream that they call, and the keys that they trust.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use measure::{Process, command, free_port, tied};
use tempfile::TempDir;

use crate::tokens::Signer;

/// What an answer's body may be, by the name in the path.
pub(crate) const BODIES: [(&str, usize); 4] =
    [("empty", 0), ("1k", 1 << 10), ("64k", 64 << 10), ("1m", 1 << 20)];
/// This many tokens of this many users.
pub(crate) const TOKENS: usize = 10_000;

/// What is before the proxies and behind them.
pub(crate) struct Site {
    folder: TempDir,
    binary: PathBuf,
    /// Signs as the mesh's auth service does.
    pub(crate) signer: Signer,
    /// The upstream, in plaintext and by mTLS.
    pub(crate) upstream: u16,
    pub(crate) upstream_tls: u16,
    auth: String,
    /// Who takes spans.
    pub(crate) collector: String,
    _upstream: Process,
    _auth: Process,
}

// === impl Site ===

impl Site {
    /// Starts the upstream and the mesh's auth service, whose keys all proxies trust.
    pub(crate) fn build(binary: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("medisync-peers-").tempdir()?;
        // nginx, started as root, works as somebody else.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let data = folder.path().join("data");
        for arguments in
            [&["init"][..], &["issue", "auth"], &["issue", "gateway"], &["issue", "patient"]]
        {
            let done = command(binary, &data).arg("pki").args(arguments).output()?;
            let told = String::from_utf8_lossy(&done.stderr);
            ensure!(done.status.success(), "pki {arguments:?}: {told}");
        }
        bodies(&folder.path().join("bodies"))?;
        let (upstream, upstream_tls) = (free_port()?, free_port()?);
        let auth = format!("127.0.0.1:{}", free_port()?);
        let mut service = command(binary, &data);
        service.args(["run", "auth"]).envs([("MEDISYNC_AUTH__LISTEN", &*auth), ADMIN]);
        let (service, _) = Process::start(service, "auth", &folder.path().join("auth.log"))?;
        let signer = Signer::open(&data.join("keys"))?;
        fs::write(folder.path().join("tokens"), signer.tokens(TOKENS)?.join("\n"))?;
        fs::write(folder.path().join("key.pem"), signer.public_pem())?;
        let own = |ending| fs::read_to_string(data.join(format!("pki/gateway.{ending}")));
        fs::write(folder.path().join("public.pem"), [own("pem")?, own("key")?].concat())?;
        let conf = include_str!("../conf/upstream.conf");
        let conf = conf
            .replace("{folder}", &folder.path().display().to_string())
            .replace("{pki}", &data.join("pki").display().to_string())
            .replace("{port}", &upstream.to_string())
            .replace("{tls_port}", &upstream_tls.to_string());
        let log = folder.path().join("upstream.log");
        let file = folder.path().join("upstream.conf");
        fs::write(&file, conf)?;
        let nginx = Process::listening(nginx(&file), "the upstream", &log, upstream)?;
        Ok(Self {
            folder,
            binary: binary.to_owned(),
            signer,
            upstream,
            upstream_tls,
            auth,
            collector: crate::collector::start()?,
            _upstream: nginx,
            _auth: service,
        })
    }

    /// Where everything is kept meanwhile.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Tokens of as many users, a line each.
    pub(crate) fn tokens(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }

    /// The certificate of the public ports, its key, and both in one file: P-256, as the mesh's.
    pub(crate) fn chain(&self) -> PathBuf {
        self.folder.path().join("data/pki/gateway.pem")
    }

    /// See [`Self::chain`].
    pub(crate) fn private(&self) -> PathBuf {
        self.folder.path().join("data/pki/gateway.key")
    }

    /// See [`Self::chain`].
    pub(crate) fn both(&self) -> PathBuf {
        self.folder.path().join("public.pem")
    }

    /// Our binary.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Our gateway, calling the upstream at this URL as it calls every part but auth.
    pub(crate) fn gateway(&self, port: u16, upstream: &str, secure: bool) -> Command {
        let mut command = command(&self.binary, &self.folder.path().join("data"));
        command.args(["run", "gateway"]).envs([ADMIN]);
        command.env("MEDISYNC_GATEWAY__LISTEN", format!("127.0.0.1:{port}"));
        command.env("MEDISYNC_AUTH__URL", format!("https://{}", self.auth));
        command.env("MEDISYNC_PATIENT__URL", upstream);
        for part in ["BILLING", "ANALYTICS", "NOTIFICATION"] {
            let plain = format!("http://127.0.0.1:{}", self.upstream);
            command.env(format!("MEDISYNC_{part}__URL"), plain);
        }
        if secure {
            command.env("MEDISYNC_GATEWAY__TLS__CERT", self.chain());
            command.env("MEDISYNC_GATEWAY__TLS__KEY", self.private());
        }
        // On, and out of reach: that a limit is checked is what is measured.
        for limit in ["USER", "CLIENT"] {
            command.env(format!("MEDISYNC_GATEWAY__RATE_LIMIT__{limit}"), format!("{LIMIT}/1s"));
        }
        command
    }

    /// Fills in a proxy's settings, and writes them to a file of that name.
    pub(crate) fn configure(
        &self,
        name: &str,
        settings: &str,
        port: u16,
    ) -> anyhow::Result<PathBuf> {
        use shared_middleware::token::{AUDIENCE, ISSUER};
        let folder = self.folder.path();
        let text = settings
            .replace("{folder}", &folder.display().to_string())
            .replace("{port}", &port.to_string())
            .replace("{upstream}", &self.upstream.to_string())
            .replace("{limit}", &LIMIT.to_string())
            .replace("{issuer}", ISSUER)
            .replace("{audience}", AUDIENCE)
            .replace("{chain}", &self.chain().display().to_string())
            .replace("{private}", &self.private().display().to_string())
            .replace("{key}", &folder.join("key.pem").display().to_string())
            .replace("{jwks}", &self.signer.jwks());
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| file.display().to_string())?;
        Ok(file)
    }
}

/// A route of ours that asks for no token, and answers as `/api/patients/tiny` does.
pub(crate) const OPEN_PATH: &str = "/api-docs/patients";

/// Our gateway, as this command configures it, limits nobody.
pub(crate) fn without_limits(command: &mut Command) {
    for limit in ["USER", "CLIENT"] {
        command.env(format!("MEDISYNC_GATEWAY__RATE_LIMIT__{limit}"), "off");
    }
}

/// Requests a second that nobody reaches here.
const LIMIT: u32 = 1_000_000_000;
const ADMIN: (&str, &str) = ("MEDISYNC_ADMIN__LISTEN", "127.0.0.1:0");

/// nginx with these settings.
pub(crate) fn nginx(settings: &Path) -> Command {
    let mut command = tied("nginx");
    command.arg("-e").arg("stderr").arg("-c").arg(settings);
    command
}

fn bodies(root: &Path) -> anyhow::Result<()> {
    let folder = root.join("patients");
    fs::create_dir_all(&folder)?;
    for (name, bytes) in BODIES {
        fs::write(folder.join(name), "x".repeat(bytes))?;
    }
    Ok(())
}
