//! A new authority in place of the old one, in three steps, so that nobody is refused on the way.
//!
//! Both have to be trusted everywhere before anybody shows a certificate of the new one, and for as
//! long as somebody shows one of the old. So a machine may have time between two steps: to bring
//! `ca.pem` to the other machines, and the certificates that the new authority issues.

use std::fs;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use kit::files::Folder;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use shared_middleware::{identity::Part, tls};

use super::Pki;

/// The key of the authority that is trusted, but does not issue yet.
const NEXT: &str = "ca.next.key";

/// What a certificate ends with, in PEM.
const END: &str = "-----END CERTIFICATE-----";

/// One of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Make the new authority, and trust it beside the old one
    Begin,
    /// From now on the new one issues
    Switch,
    /// Trust the old one no more
    Finish,
}

// === impl Pki ===

impl Pki {
    /// Takes a step, if it is its turn.
    pub(crate) fn rotate(&self, step: Step) -> anyhow::Result<()> {
        let folder = self.folder()?;
        match step {
            Step::Begin => self.begin(&folder),
            Step::Switch => self.switch(&folder),
            Step::Finish => self.finish(&folder),
        }
    }

    fn begin(&self, folder: &Folder) -> anyhow::Result<()> {
        let issuing = self.authority("ca.key")?;
        if tls::certificates(&self.path("ca.pem"))?.iter().any(|one| *one != issuing) {
            bail!("pki/ca.pem trusts several authorities already: switch, or finish");
        }
        let (key, certificate) = self.new_authority()?;
        let bundle = fs::read_to_string(self.path("ca.pem")).context("cannot read pki/ca.pem")?;
        self.write(folder, NEXT, &key.serialize_pem())?;
        // The trust comes last: were we killed before, the step is taken again.
        self.write(folder, "ca.pem", &format!("{bundle}{}", certificate.pem()))
    }

    fn switch(&self, folder: &Folder) -> anyhow::Result<()> {
        if !self.path(NEXT).exists() {
            if self.trusts_several()? {
                bail!("the new authority issues already: finish");
            }
            bail!("there is no other authority to switch to: begin");
        }
        self.authority(NEXT)?;
        // Which authority issues is decided by the key alone, and so at once.
        folder.rename(NEXT, "ca.key").context("cannot rename pki/ca.next.key")
    }

    fn finish(&self, folder: &Folder) -> anyhow::Result<()> {
        if self.path(NEXT).exists() {
            bail!("the new authority does not issue yet: switch");
        }
        if !self.trusts_several()? {
            bail!(
                "there is nothing to finish: pki/ca.pem trusts one authority (begin adds another)"
            );
        }
        for part in Part::ALL {
            if self.leaf_path(part).exists() && !self.is_pair(part) {
                bail!("{part}'s key and certificate do not match: `medisync pki issue {part}`");
            }
            if self.leaf_path(part).exists() && !self.is_of_issuer(part)? {
                bail!("{part} has a certificate of the old authority: `medisync pki issue {part}`");
            }
        }
        let issuing = self.authority("ca.key")?;
        self.write(folder, "ca.pem", &self.pem_of(&issuing)?)
    }

    fn trusts_several(&self) -> anyhow::Result<bool> {
        self.authority("ca.key")?;
        Ok(tls::certificates(&self.path("ca.pem"))?.len() > 1)
    }

    /// A certificate of the bundle, as it is written there.
    fn pem_of(&self, certificate: &CertificateDer<'_>) -> anyhow::Result<String> {
        let bundle = fs::read_to_string(self.path("ca.pem")).context("cannot read pki/ca.pem")?;
        let is_it = |pem: &&str| {
            CertificateDer::from_pem_slice(pem.as_bytes()).is_ok_and(|der| der == *certificate)
        };
        let found = bundle.split_inclusive(END).find(is_it);
        Ok(format!("{}\n", found.context("it is not in pki/ca.pem")?.trim()))
    }
}
