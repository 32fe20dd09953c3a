//! The mesh's own certificate authority: `<data-dir>/pki`.
//!
//! Leaves name their part twice: as SPIFFE id (URI), by which services know callers, and as DNS
//! name, by which TLS clients know servers. They live 24 hours and are renewed at half of that;
//! whoever uses one reads it again (`shared_middleware::tls`), so no connection is dropped.

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use shared_middleware::{clock::Clock, error::causes, identity::Part, tls};
use time::OffsetDateTime;

use crate::cli::{Cli, PkiCommand};

const LEAF_LIVES: SignedDuration = SignedDuration::from_hours(24);
const AUTHORITY_LIVES: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// Clocks differ: a certificate is valid from a little before it was made.
const BEGINS_BEFORE: SignedDuration = SignedDuration::from_mins(5);
const RENEWAL_LOOKS_EVERY: Duration = Duration::from_secs(60);

/// The authority in a folder.
pub(crate) struct Pki {
    dir: PathBuf,
    clock: Clock,
}

// === impl Pki ===

impl Pki {
    pub(crate) const fn new(dir: PathBuf, clock: Clock) -> Self {
        Self { dir, clock }
    }

    /// Makes the authority if there is none; tells whether it did. Half of one is left alone: to
    /// make another in its place would end the trust in every certificate that it issued.
    pub(crate) fn init(&self) -> anyhow::Result<bool> {
        make_private_folder(&self.dir)?;
        let dir = self.dir.display();
        match (self.path("ca.pem").exists(), self.path("ca.key").exists()) {
            (true, true) => return Ok(false),
            (false, false) => {}
            (true, false) => bail!("there is a ca.pem in {dir}, and no ca.key to go with it"),
            (false, true) => bail!("there is a ca.key in {dir}, and no ca.pem to go with it"),
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, "MediSync mesh authority");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        self.valid_for(&mut params, AUTHORITY_LIVES)?;
        let certificate = params.self_signed(&key)?;
        write_private(&self.path("ca.key"), &key.serialize_pem())?;
        write_private(&self.path("ca.pem"), &certificate.pem())?;
        Ok(true)
    }

    /// Issues a part's certificate, in place of the one before.
    pub(crate) fn issue(&self, part: Part) -> anyhow::Result<()> {
        let issuer = self.issuer()?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, part.as_str());
        params.subject_alt_names = vec![
            SanType::URI(part.spiffe_id().try_into()?),
            SanType::DnsName(part.as_str().try_into()?),
            SanType::DnsName("localhost".try_into()?),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        self.valid_for(&mut params, LEAF_LIVES)?;
        let certificate = params.signed_by(&key, &issuer)?;
        // A reader between the two writes finds a pair that does not match, and keeps the old one.
        write_private(&self.path(&format!("{part}.key")), &key.serialize_pem())?;
        write_private(&self.path(&format!("{part}.pem")), &certificate.pem())?;
        Ok(())
    }

    /// Makes the authority if there is nothing of one, and the certificates that are due.
    pub(crate) fn ensure(&self, parts: &[Part]) -> anyhow::Result<()> {
        if !self.path("ca.pem").exists() {
            self.init()?;
        }
        self.issue_due(parts)
    }

    /// Renews what is past half of its life. An authority whose key is kept elsewhere cannot: then
    /// whoever keeps it issues, and what is there is used as long as it lasts.
    fn issue_due(&self, parts: &[Part]) -> anyhow::Result<()> {
        let mut due = parts.iter().filter(|part| self.wants_renewal(**part));
        if self.can_issue() {
            return due.try_for_each(|part| self.issue(*part));
        }
        if let Some(part) = due.next() {
            tracing::warn!(%part, "a certificate is due, and pki/ca.key is not here");
        }
        Ok(())
    }

    /// Renews for ever; the caller drops the future to stop.
    pub(crate) async fn renew(&self, parts: &[Part]) {
        loop {
            tokio::time::sleep(RENEWAL_LOOKS_EVERY).await;
            if let Err(error) = self.issue_due(parts) {
                tracing::error!(error = format!("{error:#}"), "cannot renew certificates");
            }
        }
    }

    /// Whether this folder holds an authority that can issue.
    fn can_issue(&self) -> bool {
        self.path("ca.key").exists()
    }

    fn wants_renewal(&self, part: Part) -> bool {
        let half = LEAF_LIVES.as_secs() / 2;
        match tls::expiry_s(&self.path(&format!("{part}.pem"))) {
            Ok(expires_at_s) => {
                expires_at_s - self.clock.unix_s() < half
                    || !self.path(&format!("{part}.key")).exists()
            }
            Err(_) => true,
        }
    }

    fn issuer(&self) -> anyhow::Result<Issuer<'static, KeyPair>> {
        let (pem, key) = (self.path("ca.pem"), self.path("ca.key"));
        if !key.exists() {
            bail!("there is no authority in {}: run `medisync pki init`", self.dir.display());
        }
        let read = |path: &Path| {
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let key = KeyPair::from_pem(&read(&key)?).context("pki/ca.key is not a private key")?;
        Issuer::from_ca_cert_pem(&read(&pem)?, key).context("pki/ca.pem is not a certificate")
    }

    fn valid_for(
        &self,
        params: &mut CertificateParams,
        lives: SignedDuration,
    ) -> anyhow::Result<()> {
        let now = self.clock.now();
        let date = |at: Timestamp| OffsetDateTime::from_unix_timestamp(at.as_second());
        params.not_before = date(now - BEGINS_BEFORE)?;
        params.not_after = date(now + lives)?;
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

pub(crate) fn command(cli: &Cli, command: &PkiCommand) -> anyhow::Result<()> {
    let config = cli.configuration(&[], false)?;
    let pki = Pki::new(config.pki_dir(), Clock::system());
    let dir = pki.dir.display();
    match command {
        PkiCommand::Init if pki.init()? => say!("made the authority in {dir}")?,
        PkiCommand::Init => say!("there is an authority in {dir} already")?,
        PkiCommand::Issue { part } => {
            pki.issue(*part)?;
            say!("issued {dir}/{part}.pem and {part}.key for {}", part.spiffe_id())?;
        }
        PkiCommand::Show => show(&pki)?,
    }
    Ok(())
}

fn show(pki: &Pki) -> anyhow::Result<()> {
    let authority = pki.path("ca.pem");
    if !authority.exists() {
        bail!("there is no authority in {}: run `medisync pki init`", pki.dir.display());
    }
    let row = |name: &str, id: &str, path: &Path| {
        let expiry = match tls::expiry_s(path) {
            Ok(at) => Timestamp::from_second(at).map_or_else(|_| at.to_string(), |t| t.to_string()),
            Err(error) if path.exists() => causes(&error),
            Err(_) => "not issued".to_owned(),
        };
        say!("{name:<13} {id:<31} {expiry}")
    };
    say!("{:<13} {:<31} VALID UNTIL", "PART", "SPIFFE ID")?;
    row("authority", "-", &authority)?;
    for part in Part::ALL {
        row(part.as_str(), &part.spiffe_id(), &pki.path(&format!("{part}.pem")))?;
    }
    Ok(())
}

/// A folder that only its owner can look into.
pub(crate) fn make_private_folder(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make {}", dir.display()))
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = path.with_added_extension(format!("{}.tmp", std::process::id()));
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&written)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&written, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
