//! Revocation lists: `crl.pem`, one list of each authority that has revoked something.
//!
//! What is on a list stays there: certificates live for a day, and are revoked by hand. A list says
//! that the next one comes when its authority ends, for there is a new one only when there is
//! something new to say.

use std::fs;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use kit::files::Folder;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls_pki_types::{CertificateRevocationListDer, pem::PemObject as _};
use shared_middleware::{identity::Part, tls};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::{AUTHORITY_LIVES, Pki, date, parsed};

/// What a list ends with, in PEM.
const END: &str = "-----END X509 CRL-----";

/// What was done about a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// It is on the list now.
    Now(String),
    /// It was before.
    Already(String),
}

/// The lists that there are.
#[derive(Default)]
struct Lists {
    /// Of the authority that issues.
    ours: Vec<RevokedCertParams>,
    /// Of others, as they were written.
    others: String,
}

// === impl Pki ===

impl Pki {
    /// Ends the trust in a part's current certificate; its serial number.
    pub(crate) fn revoke(&self, part: Part) -> anyhow::Result<Revoked> {
        if !self.leaf_path(part).exists() {
            bail!("there is no certificate of {part} in {}", self.dir.display());
        }
        let folder = self.folder()?;
        let leaf = self.leaf(part)?;
        let leaf = parsed(&leaf)?;
        let serial_number = leaf.raw_serial_as_string();
        if self.revoked()?.contains(&serial_number) {
            return Ok(Revoked::Already(serial_number));
        }
        if !self.is_of_issuer(part)? {
            bail!(
                "the certificate of {part} is not of the authority that issues now: \
                 `medisync pki rotate-ca finish` ends the trust in the one before"
            );
        }
        let mut lists = self.lists()?;
        lists.ours.push(RevokedCertParams {
            serial_number: SerialNumber::from_slice(leaf.raw_serial()),
            revocation_time: date(self.clock.now())?,
            reason_code: None,
            invalidity_date: None,
        });
        self.write_lists(&folder, lists)?;
        Ok(Revoked::Now(serial_number))
    }

    /// The serial numbers of all that was revoked.
    pub(crate) fn revoked(&self) -> anyhow::Result<Vec<String>> {
        let path = self.path("crl.pem");
        Ok(tls::revoked_serials(&tls::revocation_lists(&path)?, &path)?)
    }

    /// Whether a part's certificate was revoked; one that is not there was not.
    pub(crate) fn is_revoked(&self, part: Part) -> anyhow::Result<bool> {
        let Ok(leaf) = self.leaf(part) else { return Ok(false) };
        Ok(self.revoked()?.contains(&parsed(&leaf)?.raw_serial_as_string()))
    }

    fn lists(&self) -> anyhow::Result<Lists> {
        let path = self.path("crl.pem");
        let mut lists = Lists::default();
        if !path.exists() {
            return Ok(lists);
        }
        let authority = self.authority("ca.key")?;
        let authority = parsed(&authority)?;
        let text = fs::read_to_string(&path).context("cannot read pki/crl.pem")?;
        for list in text.split_inclusive(END).filter(|list| list.ends_with(END)) {
            let unusable = || "pki/crl.pem holds something that is no revocation list";
            let der = CertificateRevocationListDer::from_pem_slice(list.as_bytes())
                .with_context(unusable)?;
            let (_, parsed) = CertificateRevocationList::from_der(&der).with_context(unusable)?;
            if parsed.issuer().as_raw() != authority.subject().as_raw() {
                lists.others.push_str(list.trim_start());
                lists.others.push('\n');
                continue;
            }
            for one in parsed.iter_revoked_certificates() {
                let at = Timestamp::from_second(one.revocation_date.timestamp())?;
                lists.ours.push(RevokedCertParams {
                    serial_number: SerialNumber::from_slice(one.raw_serial()),
                    revocation_time: date(at)?,
                    reason_code: None,
                    invalidity_date: None,
                });
            }
        }
        Ok(lists)
    }

    fn write_lists(&self, folder: &Folder, lists: Lists) -> anyhow::Result<()> {
        let now = self.clock.now();
        let list = CertificateRevocationListParams {
            this_update: date(now)?,
            next_update: date(now + AUTHORITY_LIVES)?,
            // Each is longer by one than the one before.
            crl_number: SerialNumber::from(u64::try_from(lists.ours.len())?),
            issuing_distribution_point: None,
            revoked_certs: lists.ours,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer()?)?.pem()?;
        self.write(folder, "crl.pem", &format!("{}{list}", lists.others))
    }
}
