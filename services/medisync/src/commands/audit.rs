//! `medisync audit`: whether the audit logs are what was written, and how far they have come.
//!
//! Works beside a running mesh, on the stores that this configuration names. Auth's copies are
//! looked at as well, where auth's store can be: an audit log that was cut off is known by them.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use futures_util::future::OptionFuture;
use kit::{
    audit::{
        AuditKey, AuditLog, Head,
        checkpoint::Checkpoint,
        verify::{Verdict, untold, verify, verify_copy},
    },
    db::{Db, DbError, Migrations},
};
use shared_middleware::{clock::Clock, identity::Part};

use crate::{config::Config, context::Context, ops::audit_key};
use clap::Subcommand;

/// A longer reason is a report.
const REASON_CHARS_MAX: usize = 300;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Verify audit logs; names the first entry that was changed, moved, removed, inserted or cut
    /// off
    ///
    /// Each part has an audit log in its own store; auth keeps copies of all, by which it is known
    /// how far the others had come. Exits with 1 when any is not what was written.
    Verify {
        /// Of these parts only
        #[arg(value_name = "PART")]
        parts: Vec<Part>,
        /// A file with what `audit checkpoint` printed before, kept where nobody here could write:
        /// the audit logs must still have those entries
        #[arg(long = "checkpoint", value_name = "FILE")]
        checkpoints: Option<PathBuf>,
    },
    /// Print a signed statement of how far each audit log has come, to be kept elsewhere
    ///
    /// A line of JSON for each, which `audit verify --checkpoint` reads.
    Checkpoint {
        /// Of these parts only
        #[arg(value_name = "PART")]
        parts: Vec<Part>,
    },
    /// Close an audit log that was found broken: from then on it is verified from there
    ///
    /// First find out what happened, and keep a copy of the store: what is before is not verified
    /// any more. Stop the part's processes meanwhile. The reason, and that the audit log was
    /// closed, are entries of the audit log themselves.
    Close {
        /// Whose audit log
        part: Part,
        /// Why, in a few words without anybody's name: auditors read it
        #[arg(long, value_parser = reason)]
        reason: String,
    },
}

/// A reason is short, and can be read.
fn reason(text: &str) -> Result<String, &'static str> {
    let is_short = !text.trim().is_empty() && text.chars().count() <= REASON_CHARS_MAX;
    let is_readable = !text.chars().any(char::is_control);
    if is_short && is_readable { Ok(text.to_owned()) } else { Err("must be 1 to 300 characters") }
}

/// Parts that have a store, and so an audit log.
pub(crate) const WRITERS: [Part; 5] =
    [Part::Auth, Part::Patient, Part::Billing, Part::Analytics, Part::Notification];

/// What others know of the audit logs.
type AllKnown = HashMap<Part, Vec<Head>>;

pub(crate) fn command(context: &Context, command: &AuditCommand) -> anyhow::Result<()> {
    let config = context.of_what_is_there()?;
    let key = audit_key::load(&config.audit_key)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            AuditCommand::Verify { parts, checkpoints } => {
                let known = match checkpoints {
                    Some(path) => read_checkpoints(path, &key)?,
                    None => HashMap::new(),
                };
                verify_all(&config, &key, parts, known).await
            }
            AuditCommand::Checkpoint { parts } => state(&config, &key, parts).await,
            AuditCommand::Close { part, reason } => close(&config, &key, *part, reason).await,
        }
    })
}

async fn verify_all(
    config: &Config,
    key: &AuditKey,
    parts: &[Part],
    mut known: AllKnown,
) -> anyhow::Result<()> {
    let auth = open(config, Part::Auth).await?;
    if let Some(auth) = &auth {
        let copies = auth::audit_copies(auth).await.context("cannot read auth's copies")?;
        copies.into_iter().for_each(|(part, heads)| known.entry(part).or_default().extend(heads));
    }
    let (mut broken, mut seen) = (0, 0);
    for part in asked(parts) {
        let Some(db) = open(config, part).await? else {
            if parts.contains(&part) || known.contains_key(&part) {
                bail!("the store of {part} is not at {:?}", config.database(part).url);
            }
            continue;
        };
        seen += 1;
        let known = known.get(&part).map_or(&[][..], Vec::as_slice);
        // They are in two stores, so both are read at the same time.
        let copy = OptionFuture::from(auth.as_ref().map(|auth| verify_copy(part, auth, key)));
        let (verdict, copy) = tokio::join!(verify(part, &db, key, known), copy);
        let verdict = verdict.with_context(|| format!("audit log of {part}"))?;
        if let Verdict::Broken(fault) = &verdict {
            broken += 1;
            say!("{part}: BROKEN: {fault}")?;
        }
        if let Some(entries) = verdict.entries() {
            say!("{part}: intact, {entries} entries")?;
        }
        // It is the copy that auditors read.
        if let Some(Verdict::Broken(fault)) = copy.transpose()? {
            broken += 1;
            say!("{part}, as auth has it: BROKEN: {fault}")?;
        }
    }
    if seen == 0 {
        bail!("there is no store here (--data-dir says where to look)");
    }
    if broken > 0 {
        bail!("{broken} of {seen} audit logs and their copies are not what was written");
    }
    Ok(())
}

/// A line of JSON for each chain whose last entry no opening records. One that is broken gets none.
async fn state(config: &Config, key: &AuditKey, parts: &[Part]) -> anyhow::Result<()> {
    let mut seen = 0;
    for part in asked(parts) {
        let Some(db) = open(config, part).await? else { continue };
        seen += 1;
        let heads = untold(part, &db, key)
            .await?
            .map_err(|fault| anyhow!("the audit log of {part} is broken: {fault}"))?;
        for head in heads {
            let stated = Checkpoint::sign(part, &head, Clock::system().now(), key);
            say!("{}", serde_json::to_string(&stated)?)?;
        }
    }
    if seen == 0 {
        bail!("there is no store here (--data-dir says where to look)");
    }
    Ok(())
}

/// Closes an audit log that is broken, as it is or as auth has it.
async fn close(config: &Config, key: &AuditKey, part: Part, reason: &str) -> anyhow::Result<()> {
    let Some(db) = open(config, part).await? else {
        bail!("the store of {part} is not at {:?}", config.database(part).url);
    };
    let (mut known, mut copy) = (Vec::new(), None);
    if let Some(auth) = open(config, Part::Auth).await? {
        let copies = auth::audit_copies(&auth).await.context("cannot read auth's copies")?;
        known.extend(copies.into_iter().filter(|(of, _)| *of == part).flat_map(|(_, it)| it));
        copy = Some(verify_copy(part, &auth, key).await?);
    }
    let found = [Some(verify(part, &db, key, &known).await?), copy];
    let Some(fault) = found.into_iter().flatten().find_map(Verdict::fault) else {
        bail!("the audit log of {part} is intact: there is nothing to close");
    };
    let audit_log = AuditLog::open(part, db, key, Clock::system()).await?;
    audit_log.close(known, reason.to_owned()).await?;
    say!("{part}: closed. No longer reported: {fault}")?;
    Ok(())
}

fn asked(parts: &[Part]) -> impl Iterator<Item = Part> {
    WRITERS.into_iter().filter(move |part| parts.is_empty() || parts.contains(part))
}

/// A part's store. One in a file is not made.
async fn open(config: &Config, part: Part) -> anyhow::Result<Option<Db>> {
    let database = config.database(part);
    let opened = match Db::open(&database, Migrations::none()).await {
        Err(DbError::Absent(_)) => return Ok(None),
        opened => opened,
    };
    opened.map(Some).with_context(|| format!("cannot open {:?} ({part}.database)", database.url))
}

fn read_checkpoints(path: &Path, key: &AuditKey) -> anyhow::Result<AllKnown> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut known = AllKnown::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{}, line {}", path.display(), number + 1);
        let checkpoint = Checkpoint::read(line, key).with_context(place)?;
        let writer = checkpoint.writer.parse().map_err(anyhow::Error::new).with_context(place)?;
        known.entry(writer).or_default().push(checkpoint.head());
    }
    Ok(known)
}
