//! The mesh's own certificate authority: `<data-dir>/pki`.
//!
//! Leaves name their part twice: as SPIFFE id (URI), by which services know callers, and as DNS
//! name, by which TLS clients know servers. They live 24 hours and are renewed at half of that;
//! anyone who uses one reads it again (`shared_middleware::tls`), so no connection is dropped.
//!
//! `ca.pem` is what is trusted, `ca.key` who issues: the authority in `ca.pem` that has this key.
//!
//! `PART.key` holds a part's key and, after it, the certificate of that key: so the pair appears by
//! one rename. `PART.pem` is the certificate once more, for anyone who wants it in a file of its
//! own. Anyone who writes here has the folder to itself while it looks and writes.
//!
//! - `revoke` ends the trust in one certificate, `rotate` replaces the authority.

pub(crate) mod revoke;
pub(crate) mod rotate;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use kit::files::Folder;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType,
};
use rustls_pki_types::CertificateDer;
use shared_middleware::{clock::Clock, identity::Part, secret_file, tls};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const LEAF_LIVES: SignedDuration = SignedDuration::from_hours(24);
const AUTHORITY_LIVES: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// Clocks differ, by an hour or two where one was set by the time of the place: a certificate is
/// valid from so long before it was made.
const BEGINS_BEFORE: SignedDuration = SignedDuration::from_hours(3);
/// Where a clock was set back further, parts cannot reach each other for so long.
const RENEWAL_LOOKS_EVERY: Duration = Duration::from_secs(10);

/// The authority in a folder.
pub(crate) struct Pki {
    pub(crate) dir: PathBuf,
    clock: Clock,
    /// Whether an authority's key may be one that others can read.
    allow_readable_key: bool,
}

// === impl Pki ===

impl Pki {
    pub(crate) const fn new(dir: PathBuf, clock: Clock) -> Self {
        Self { dir, clock, allow_readable_key: false }
    }

    /// The same, which uses `ca.key` although others can read it, or does not.
    pub(crate) fn allowing_readable_key(self, allow_readable_key: bool) -> Self {
        Self { allow_readable_key, ..self }
    }

    /// Makes the authority if there is none; returns whether it did.
    pub(crate) fn init(&self) -> anyhow::Result<bool> {
        let folder = Folder::make(&self.dir);
        let folder = folder.with_context(|| format!("cannot make {}", self.dir.display()))?;
        self.init_in(&folder)
    }

    /// A key without its certificate is what a process that was killed has left: the certificate is
    /// made. Other halves are left alone: to make another authority in place of one would end the
    /// trust in every certificate that it issued.
    fn init_in(&self, folder: &Folder) -> anyhow::Result<bool> {
        folder.sweep()?;
        let dir = self.dir.display();
        let has_issued = || Part::ALL.iter().any(|part| self.leaf_path(*part).exists());
        let key = match (self.path("ca.pem").exists(), self.path("ca.key").exists()) {
            (true, true) => return Ok(false),
            (false, false) => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                self.write(folder, "ca.key", &key.serialize_pem())?;
                key
            }
            (false, true) if !has_issued() => self.authority_key("ca.key")?,
            (true, false) => bail!(
                "there is a ca.pem in {dir}, and no ca.key to go with it: bring ca.key here, or \
                 run this where it is"
            ),
            (false, true) => bail!(
                "there is a ca.key in {dir}, and no ca.pem to go with it: bring ca.pem from \
                 another machine of the mesh, or from a backup"
            ),
        };
        self.write(folder, "ca.pem", &self.authority_of(&key)?.pem())?;
        Ok(true)
    }

    /// The folder of an authority that is there, which nobody else changes meanwhile.
    fn folder(&self) -> anyhow::Result<Folder> {
        let dir = self.dir.display();
        if !self.dir.exists() {
            bail!("there is no authority in {dir}: run `medisync pki init`");
        }
        let folder = Folder::lock(&self.dir).with_context(|| format!("cannot use {dir}"))?;
        folder.sweep().with_context(|| format!("cannot use {dir}"))?;
        Ok(folder)
    }

    fn write(&self, folder: &Folder, name: &str, text: &str) -> anyhow::Result<()> {
        let written = folder.write(name, text.as_bytes());
        written.with_context(|| format!("cannot write {}", self.path(name).display()))
    }

    /// A new authority.
    fn new_authority(&self) -> anyhow::Result<(KeyPair, Certificate)> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = self.authority_of(&key)?;
        Ok((key, certificate))
    }

    /// The authority that has a key. It has a name of its own, since a revocation list says by name
    /// whose it is.
    fn authority_of(&self, key: &KeyPair) -> anyhow::Result<Certificate> {
        let digest = ring::digest::digest(&ring::digest::SHA256, &key.subject_public_key_info());
        let id: String = digest.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let name = format!("MediSync mesh authority {id}");
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        self.valid_for(&mut params, AUTHORITY_LIVES)?;
        Ok(params.self_signed(key)?)
    }

    /// Issues a part's certificate, in place of the one before.
    pub(crate) fn issue(&self, part: Part) -> anyhow::Result<()> {
        self.issue_in(&self.folder()?, part)
    }

    fn issue_in(&self, folder: &Folder, part: Part) -> anyhow::Result<()> {
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
        let (key, certificate) = (key.serialize_pem(), certificate.pem());
        self.write(folder, &format!("{part}.key"), &format!("{key}{certificate}"))?;
        self.write(folder, &format!("{part}.pem"), &certificate)
    }

    /// Makes the authority if there is nothing of one, and the certificates that are due.
    pub(crate) fn ensure(&self, parts: &[Part]) -> anyhow::Result<()> {
        if !self.path("ca.pem").exists() {
            self.init()?;
        }
        self.issue_due(parts)
    }

    /// Renews what is due. Replicas that share the folder look at the same moment: the second one
    /// finds, once it has the folder, that nothing is due any more.
    fn issue_due(&self, parts: &[Part]) -> anyhow::Result<()> {
        for part in parts {
            if !self.is_due(*part)? {
                continue;
            }
            let folder = self.folder()?;
            if self.is_due(*part)? {
                self.issue_in(&folder, *part)?;
            }
        }
        Ok(())
    }

    /// Whether a certificate is past half of its life, not valid yet (the clock was set back), not
    /// its key's, or of an authority that issues no more. An authority whose key is kept elsewhere
    /// cannot renew it: then anyone who keeps it issues, and what is there is used while it lasts.
    ///
    /// What was revoked is not renewed: anyone who revoked it decides when the part comes back.
    fn is_due(&self, part: Part) -> anyhow::Result<bool> {
        if self.is_revoked(part)? {
            tracing::warn!(%part, "revoked, so not renewed: `medisync pki issue`");
            return Ok(false);
        }
        let is_ending = self.is_ending(part);
        if !self.path("ca.key").exists() {
            if is_ending {
                tracing::warn!(%part, "a certificate is due, and pki/ca.key is not here");
            }
            return Ok(false);
        }
        Ok(is_ending || !self.is_pair(part) || !self.is_of_issuer(part)?)
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

    fn is_ending(&self, part: Part) -> bool {
        let half = LEAF_LIVES.as_secs() / 2;
        let now_s = self.clock.unix_s();
        let of = tls::validity_s(&self.leaf_path(part));
        of.map_or(true, |valid| valid.end - now_s < half || now_s < valid.start)
    }

    /// Whether a part's key is the one of its certificate.
    fn is_pair(&self, part: Part) -> bool {
        let (Ok(leaf), Ok(key)) = (self.leaf(part), self.key(&format!("{part}.key"))) else {
            return false;
        };
        parsed(&leaf).is_ok_and(|leaf| leaf.public_key().raw == key.subject_public_key_info())
    }

    /// Whether the authority that issues now has issued a part's certificate.
    fn is_of_issuer(&self, part: Part) -> anyhow::Result<bool> {
        let (leaf, authority) = (self.leaf(part)?, self.authority("ca.key")?);
        Ok(parsed(&leaf)?.issuer().as_raw() == parsed(&authority)?.subject().as_raw())
    }

    fn issuer(&self) -> anyhow::Result<Issuer<'static, KeyPair>> {
        let (authority, key) = (self.authority("ca.key")?, self.authority_key("ca.key")?);
        Issuer::from_ca_cert_der(&authority, key).context("pki/ca.pem is no authority's")
    }

    /// The certificate in `ca.pem` that belongs to a key.
    fn authority(&self, key: &str) -> anyhow::Result<CertificateDer<'static>> {
        let public = self.authority_key(key)?.subject_public_key_info();
        let is_its = |der: &CertificateDer<'_>| {
            parsed(der).is_ok_and(|authority| authority.public_key().raw == public)
        };
        let found = tls::certificates(&self.path("ca.pem"))?.into_iter().find(is_its);
        found.with_context(|| {
            format!("pki/{key} is the key of none of the authorities in pki/ca.pem")
        })
    }

    /// With an authority's key anybody can be any part: it is used when nobody else can read it.
    fn authority_key(&self, name: &str) -> anyhow::Result<KeyPair> {
        let path = self.path(name);
        if path.exists() && !self.allow_readable_key {
            secret_file::read(&path)?;
        }
        self.key(name)
    }

    fn key(&self, name: &str) -> anyhow::Result<KeyPair> {
        let path = self.path(name);
        if !path.exists() {
            bail!("there is no {name} in {}: run `medisync pki init`", self.dir.display());
        }
        let pem =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        KeyPair::from_pem(&pem).with_context(|| format!("pki/{name} is not a private key"))
    }

    /// A part's certificate.
    fn leaf(&self, part: Part) -> anyhow::Result<CertificateDer<'static>> {
        // There is at least one, or that is the error.
        Ok(tls::certificates(&self.leaf_path(part))?.swap_remove(0))
    }

    fn valid_for(
        &self,
        params: &mut CertificateParams,
        lives: SignedDuration,
    ) -> anyhow::Result<()> {
        let now = self.clock.now();
        params.not_before = date(now - BEGINS_BEFORE)?;
        params.not_after = date(now + lives)?;
        Ok(())
    }

    pub(crate) fn leaf_path(&self, part: Part) -> PathBuf {
        self.path(&format!("{part}.pem"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> anyhow::Result<X509Certificate<'a>> {
    let parsed = X509Certificate::from_der(der).map(|(_, certificate)| certificate);
    parsed.context("a certificate cannot be parsed")
}

fn date(at: Timestamp) -> anyhow::Result<OffsetDateTime> {
    Ok(OffsetDateTime::from_unix_timestamp(at.as_second())?)
}

#[cfg(test)]
mod tests;
