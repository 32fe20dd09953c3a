//! Whether a log is what was written.

use std::{fmt, sync::LazyLock, time::Duration};

use prometheus::{IntGaugeVec, opts, register_int_gauge_vec};
use shared_middleware::{audit::Entry, error::causes, identity::Part};
use tokio::time::sleep;

use super::{
    AuditLog,
    chain::{AuditKey, Chain},
    registry::REGISTRY,
    rows::{Head, Kept},
    verifier::Verifier,
};
use crate::{
    db::{Db, DbError},
    task::Task,
};

/// A running service verifies its own log so often.
const VERIFIED_EVERY: Duration = Duration::from_secs(3600);
/// This many of the entries that were verified before are verified again each time.
const AGAIN_MAX: u64 = 1_000_000;

static INTACT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options =
        opts!("audit_trail_intact", "1 when the audit log verified last; 0 when it did not.");
    register_int_gauge_vec!(options, &["service"]).expect("the name is registered once")
});

static COPY_INTACT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "1 when auth's copy of a part's audit log verified last; 0 when it did not.";
    register_int_gauge_vec!(opts!("audit_copy_intact", help), &["service"])
        .expect("the name is registered once")
});

/// What a walk came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every entry is what was written, up to these of each chain, the registry's first.
    Intact(Vec<Head>),
    /// So far, but there are more entries than were to be looked at.
    Unfinished,
    /// Not so, and this is the first place.
    Broken(Fault),
}

/// The first place where a log is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This entry says something else, or stood in another place.
    Changed(Place),
    /// This entry is not there, and later ones are.
    Removed(Place),
    /// This entry was never written.
    Inserted(Place),
    /// This entry and all after it in its chain are not there.
    CutOff(Place),
    /// The log fits together, but this entry is another one than somebody else knows.
    Rewritten(Place),
}

/// The place of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its chain; none where there is only one.
    pub chain: Option<i64>,
    /// Its number in it.
    pub seq: i64,
}

// === impl Place ===

impl From<i64> for Place {
    /// In the only chain.
    fn from(seq: i64) -> Self {
        Self { chain: None, seq }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chain {
            None => write!(f, "entry {}", self.seq),
            Some(REGISTRY) => write!(f, "the opening of chain {}", self.seq),
            Some(chain) => write!(f, "entry {chain}/{}", self.seq),
        }
    }
}

// === impl Fault ===

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(place) => write!(f, "{place} was changed or moved"),
            Self::Removed(place) => write!(f, "{place} was removed"),
            Self::Inserted(place) => write!(f, "{place} was inserted"),
            Self::CutOff(place) => write!(f, "{place} and all after it were cut off"),
            Self::Rewritten(place) => write!(f, "{place} is not the one that was there before"),
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// The first place where the log is not what was written, if there is one.
    pub fn fault(self) -> Option<Fault> {
        if let Self::Broken(fault) = self { Some(fault) } else { None }
    }

    /// This many entries were recorded, where all are what was written. Those of the registry say
    /// nothing of what was done.
    pub fn entries(&self) -> Option<i64> {
        let Self::Intact(heads) = self else { return None };
        Some(heads.iter().filter(|head| head.chain != REGISTRY).map(|head| head.seq).sum())
    }
}

/// Verifies the log in a store, also against what others know of it.
pub async fn verify(
    writer: Part,
    db: &Db,
    key: &AuditKey,
    known: &[Head],
) -> Result<Verdict, DbError> {
    Verifier::new(writer, key, None).go_on(db, known, u64::MAX).await
}

/// Verifies the log in a store; returns the heads that must be kept elsewhere, so that no end can
/// be cut off unseen: those that no opening in the log records.
pub async fn untold(
    writer: Part,
    db: &Db,
    key: &AuditKey,
) -> Result<Result<Vec<Head>, Fault>, DbError> {
    let mut verifier = Verifier::new(writer, key, None);
    let verdict = verifier.go_on(db, &[], u64::MAX).await?;
    Ok(match verdict {
        Verdict::Broken(fault) => Err(fault),
        _ => Ok(verifier.untold()),
    })
}

/// Verifies the copy of a part's log in auth's store: it is what auditors read.
pub async fn verify_copy(writer: Part, auth: &Db, key: &AuditKey) -> Result<Verdict, DbError> {
    Verifier::new(writer, key, Some(writer)).go_on(auth, &[], u64::MAX).await
}

/// The links of a part's log, for anyone who takes copies of it.
pub struct Links(Chain);

impl Links {
    /// Of this part.
    pub fn of(writer: Part, key: &AuditKey) -> Self {
        Self(Chain::new(writer, key))
    }

    /// The head of a chain after this entry was appended.
    pub fn next(&self, head: &Head, entry: &Entry) -> Head {
        self.0.next(head, entry)
    }

    /// Whether these entries, in their order, follow on this one.
    pub fn follow(&self, head: &Head, entries: &[Kept]) -> bool {
        let mut head = head.clone();
        entries.iter().all(|kept| {
            head = self.next(&head, &kept.entry);
            head == kept.head()
        })
    }
}

/// Verifies a log again and again: what is new each time, and some of what is old.
struct Watch {
    writer: Part,
    key: AuditKey,
    copy_of: Option<Part>,
    new: Verifier,
    /// None before the first look, which sees everything.
    old: Option<Verifier>,
}

impl Watch {
    fn new(writer: Part, key: AuditKey, copy_of: Option<Part>) -> Self {
        let new = Verifier::new(writer, &key, copy_of);
        Self { writer, key, copy_of, new, old: None }
    }

    async fn look(&mut self, db: &Db, known: &[Head]) -> Result<Verdict, DbError> {
        let begin = || Verifier::new(self.writer, &self.key, self.copy_of);
        let mut verdict = self.new.go_on(db, known, u64::MAX).await?;
        if let (Verdict::Intact(_), Some(old)) = (&verdict, &mut self.old) {
            verdict = old.go_on(db, &[], AGAIN_MAX).await?;
        }
        match verdict {
            // From the start: it may be closed meanwhile.
            Verdict::Broken(_) => (self.new, self.old) = (begin(), None),
            Verdict::Intact(_) => self.old = Some(begin()),
            Verdict::Unfinished => {}
        }
        Ok(verdict)
    }
}

/// The task that verifies a running service's own log, also against what auth has of it and what
/// this process has appended: at its start, every hour, and when one of them has something else.
pub fn task(audit_log: AuditLog) -> Task {
    Task::new("audit verification", move |stop| async move {
        let (db, ledger) = (&audit_log.0.db, &audit_log.0.ledger);
        let service = audit_log.writer();
        let mut watch = Watch::new(service, ledger.key.clone(), None);
        loop {
            let taken: Vec<_> = ledger.taken().values().cloned().collect();
            let known: Vec<_> = taken.into_iter().chain(db.appended()).collect();
            match watch.look(db, &known).await {
                Ok(Verdict::Broken(fault)) => {
                    INTACT.with_label_values(&[service.as_str()]).set(0);
                    tracing::error!(%service, "the audit log is broken: {fault}");
                }
                // The gauge is not there before it is known: it would be 0 until then.
                Ok(_) => INTACT.with_label_values(&[service.as_str()]).set(1),
                // Not known is no verdict: the last one stands.
                Err(error) => {
                    tracing::warn!(error = causes(&error), "the audit log is not verified")
                }
            }
            tokio::select! {
                () = sleep(VERIFIED_EVERY) => {}
                () = ledger.doubted.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    })
}

/// The task by which auth verifies the copies that it keeps: at its start, and every hour.
pub fn copies_task(auth: Db, key: AuditKey, writers: Vec<Part>) -> Task {
    Task::new("audit copies verification", move |stop| async move {
        let watch = |part: Part| (part, Watch::new(part, key.clone(), Some(part)));
        let mut watches: Vec<_> = writers.into_iter().map(watch).collect();
        loop {
            for (service, watch) in &mut watches {
                let intact = COPY_INTACT.with_label_values(&[service.as_str()]);
                match watch.look(&auth, &[]).await {
                    Ok(Verdict::Broken(fault)) => {
                        intact.set(0);
                        tracing::error!(%service, "the copy of the audit log is broken: {fault}");
                    }
                    Ok(_) => intact.set(1),
                    Err(error) => {
                        tracing::warn!(error = causes(&error), "a copy is not verified");
                    }
                }
            }
            tokio::select! {
                () = sleep(VERIFIED_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    })
}
