//! What `medisync pki` says.

use std::path::Path;

use anyhow::bail;
use jiff::Timestamp;
use shared_middleware::{clock::Clock, error::causes, identity::Part, tls};

use crate::{
    context::Context,
    ops::pki::{Pki, revoke::Revoked, rotate::Step},
};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum PkiCommand {
    /// Make the authority, if there is none: pki/ca.pem and pki/ca.key in the data directory
    Init,
    /// Issue a part's certificate, valid for 24 hours: pki/PART.pem and pki/PART.key
    Issue {
        /// gateway, auth, patient, billing, analytics, notification
        part: Part,
        /// Use pki/ca.key although others can read it, as when it is mounted into a container
        #[arg(long)]
        allow_readable_key: bool,
    },
    /// Revoke a part's certificate (pki/crl.pem): it has no connections until another is issued
    Revoke {
        /// gateway, auth, patient, billing, analytics, notification
        part: Part,
    },
    /// Replace the authority, without a call that fails: begin, switch, finish
    RotateCa {
        /// What to do; docs/operations.md says what to wait for before the next
        step: Step,
    },
    /// List the certificates: whose they are, when they end, and what was revoked
    Show,
}

pub(crate) fn command(context: &Context, command: &PkiCommand) -> anyhow::Result<()> {
    let config = context.usable(&[], false)?;
    let pki = Pki::new(config.pki_dir(), Clock::system());
    let dir = pki.dir.display();
    match command {
        PkiCommand::Init if pki.init()? => say!("made the authority in {dir}")?,
        PkiCommand::Init => say!("there is an authority in {dir} already")?,
        PkiCommand::Issue { part, allow_readable_key } => {
            let pki = pki.allowing_readable_key(*allow_readable_key);
            let dir = pki.dir.display();
            pki.issue(*part)?;
            say!("issued {dir}/{part}.pem and {part}.key for {}", part.spiffe_id())?;
        }
        PkiCommand::Revoke { part } => revoke(&pki, *part)?,
        PkiCommand::RotateCa { step } => {
            pki.rotate(*step)?;
            say!("{}", after(*step))?;
        }
        PkiCommand::Show => show(&pki)?,
    }
    Ok(())
}

fn revoke(pki: &Pki, part: Part) -> anyhow::Result<()> {
    let dir = pki.dir.display();
    match pki.revoke(part)? {
        Revoked::Now(serial) => say!("revoked {serial} of {part} in {dir}/crl.pem")?,
        Revoked::Already(serial) => bail!("{serial} of {part} is revoked already"),
    }
    say!("nobody in the mesh speaks to {part} until `medisync pki issue {part}`")?;
    say!("bring crl.pem to every machine that does not share this folder (mesh.crl)")?;
    Ok(())
}

/// What comes after a step.
const fn after(step: Step) -> &'static str {
    match step {
        Step::Begin => {
            "both authorities are trusted, the old one issues: bring ca.pem to every machine, then \
             switch"
        }
        Step::Switch => {
            "the new authority issues: issue every part's certificate, bring it to its machine, \
             then finish"
        }
        Step::Finish => "the old authority is not trusted any more: bring ca.pem to every machine",
    }
}

fn show(pki: &Pki) -> anyhow::Result<()> {
    let authorities = pki.path("ca.pem");
    if !authorities.exists() {
        bail!("there is no authority in {}: run `medisync pki init`", pki.dir.display());
    }
    let row = |name: &str, id: &str, until: &str| say!("{name:<13} {id:<31} {until}");
    row("PART", "SPIFFE ID", "VALID UNTIL")?;
    for authority in tls::certificates(&authorities)? {
        row("authority", "-", &end(tls::expires_at_s(&[authority], &authorities), &authorities))?;
    }
    for part in Part::ALL {
        let path = pki.leaf_path(part);
        let end = end(tls::expiry_s(&path), &path);
        let revoked = if pki.is_revoked(part)? { " (revoked)" } else { "" };
        row(part.as_str(), &part.spiffe_id(), &format!("{end}{revoked}"))?;
    }
    for serial_number in pki.revoked()? {
        say!("revoked {serial_number}")?;
    }
    Ok(())
}

fn end(expires_at_s: Result<i64, tls::TlsError>, path: &Path) -> String {
    match expires_at_s {
        Ok(at) => Timestamp::from_second(at).map_or_else(|_| at.to_string(), |t| t.to_string()),
        Err(error) if path.exists() => causes(&error),
        Err(_) => "not issued".to_owned(),
    }
}
