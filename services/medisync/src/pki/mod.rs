//! The mesh's own certificate authority: `<data-dir>/pki`.
//!
//! Leaves name their part twice: as SPIFFE id (URI), by which services know callers, and as DNS
//! name, by which TLS clients know servers. They live 24 hours and are renewed at half of that;
//! whoever uses one reads it again (`shared_middleware::tls`), so no connection is dropped.
//!
//! `ca.pem` is what is trusted, `ca.key` who issues: the authority in `ca.pem` that has this key.
//!
//! - `revoke` ends the trust in one certificate, `rotate` replaces the authority.
//! - `command` is what the command line says, `files` is how they are written.

mod command;
mod files;
mod revoke;
mod rotate;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType,
};
use rustls_pki_types::CertificateDer;
use shared_middleware::{clock::Clock, identity::Part, tls};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

pub(crate) use self::{
    command::command,
    files::{make_private_folder, write_private},
    rotate::Step,
};

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
        let (key, certificate) = self.new_authority()?;
        write_private(&self.path("ca.key"), &key.serialize_pem())?;
        write_private(&self.path("ca.pem"), &certificate.pem())?;
        Ok(true)
    }

    /// An authority of a name of its own: a revocation list says by name whose it is.
    fn new_authority(&self) -> anyhow::Result<(KeyPair, Certificate)> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &key.subject_public_key_info());
        let id: String = digest.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let name = format!("MediSync mesh authority {id}");
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        self.valid_for(&mut params, AUTHORITY_LIVES)?;
        let certificate = params.self_signed(&key)?;
        Ok((key, certificate))
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
        write_private(&self.leaf_path(part), &certificate.pem())?;
        Ok(())
    }

    /// Makes the authority if there is nothing of one, and the certificates that are due.
    pub(crate) fn ensure(&self, parts: &[Part]) -> anyhow::Result<()> {
        if !self.path("ca.pem").exists() {
            self.init()?;
        }
        self.issue_due(parts)
    }

    /// Renews what is past half of its life, or of an authority that issues no more. An authority
    /// whose key is kept elsewhere cannot: then whoever keeps it issues, and what is there is used
    /// as long as it lasts.
    ///
    /// What was revoked is not renewed: whoever revoked it decides when the part comes back.
    fn issue_due(&self, parts: &[Part]) -> anyhow::Result<()> {
        let issues = self.path("ca.key").exists();
        for part in parts {
            if self.is_revoked(*part)? {
                tracing::warn!(%part, "revoked, so not renewed: `medisync pki issue`");
            } else if !issues && self.is_ending(*part) {
                tracing::warn!(%part, "a certificate is due, and pki/ca.key is not here");
            } else if issues && (self.is_ending(*part) || !self.is_of_issuer(*part)?) {
                self.issue(*part)?;
            }
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

    fn is_ending(&self, part: Part) -> bool {
        let half = LEAF_LIVES.as_secs() / 2;
        match tls::expiry_s(&self.leaf_path(part)) {
            Ok(expires_at_s) => {
                expires_at_s - self.clock.unix_s() < half
                    || !self.path(&format!("{part}.key")).exists()
            }
            Err(_) => true,
        }
    }

    /// Whether the authority that issues now has issued a part's certificate.
    fn is_of_issuer(&self, part: Part) -> anyhow::Result<bool> {
        let (leaf, authority) = (self.leaf(part)?, self.authority("ca.key")?);
        Ok(parsed(&leaf)?.issuer().as_raw() == parsed(&authority)?.subject().as_raw())
    }

    fn issuer(&self) -> anyhow::Result<Issuer<'static, KeyPair>> {
        let (authority, key) = (self.authority("ca.key")?, self.signing_key("ca.key")?);
        Issuer::from_ca_cert_der(&authority, key).context("pki/ca.pem is no authority's")
    }

    /// The certificate in `ca.pem` that belongs to a key.
    fn authority(&self, key: &str) -> anyhow::Result<CertificateDer<'static>> {
        let public = self.signing_key(key)?.subject_public_key_info();
        let is_its = |der: &CertificateDer<'_>| {
            parsed(der).is_ok_and(|authority| authority.public_key().raw == public)
        };
        let found = tls::certificates(&self.path("ca.pem"))?.into_iter().find(is_its);
        found.with_context(|| {
            format!("pki/{key} is the key of none of the authorities in pki/ca.pem")
        })
    }

    fn signing_key(&self, name: &str) -> anyhow::Result<KeyPair> {
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

    fn leaf_path(&self, part: Part) -> PathBuf {
        self.path(&format!("{part}.pem"))
    }

    fn path(&self, name: &str) -> PathBuf {
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
