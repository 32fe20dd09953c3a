//! Walks a trail from its first entry to its last, and finds where it is not what was written.

use std::{fmt, time::Duration};

use prometheus::{IntGaugeVec, opts, register_int_gauge_vec};
use shared_middleware::{audit::Entry, error::causes, identity::Part};
use std::sync::LazyLock;
use tokio::time::sleep;

use super::{
    Trail,
    chain::{AuditKey, Chain},
    rows::{self, Kept},
};
use crate::{
    db::{Db, DbError},
    task::Task,
};

/// So many entries are read at once.
const PAGE: u32 = 1000;
/// A running service verifies its own trail so often.
const VERIFIED_EVERY: Duration = Duration::from_secs(3600);

static INTACT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("audit_trail_intact", "1 when the trail verified last; 0 when it did not.");
    register_int_gauge_vec!(options, &["service"]).expect("the name is registered once")
});

static COPY_INTACT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "1 when auth's copy of a part's trail verified last; 0 when it did not.";
    register_int_gauge_vec!(opts!("audit_copy_intact", help), &["service"])
        .expect("the name is registered once")
});

/// How far a trail had come, as somebody else knows: a checkpoint, or auth's copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The number of the last entry then.
    pub seq: i64,
    /// Its link.
    pub link: Vec<u8>,
}

/// What a walk came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every entry is what was written, up to this one.
    Intact(Option<Known>),
    /// Not so, and this is the first place.
    Broken(Fault),
}

/// The first place where a trail is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This entry says something else, or stood in another place.
    Changed(i64),
    /// This entry is not there, and later ones are.
    Removed(i64),
    /// This entry was never written.
    Inserted(i64),
    /// This entry and all after it are not there.
    CutOff(i64),
    /// The trail fits together, but this entry is another one than somebody else knows.
    Rewritten(i64),
}

// === impl Fault ===

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(seq) => write!(f, "entry {seq} was changed or moved"),
            Self::Removed(seq) => write!(f, "entry {seq} was removed"),
            Self::Inserted(seq) => write!(f, "entry {seq} was inserted"),
            Self::CutOff(seq) => write!(f, "entry {seq} and all after it were cut off"),
            Self::Rewritten(seq) => {
                write!(f, "entry {seq} is not the one that was there before")
            }
        }
    }
}

/// Verifies the trail in a store, also against what others know of it.
pub async fn verify(
    writer: Part,
    db: &Db,
    key: &AuditKey,
    known: &[Known],
) -> Result<Verdict, DbError> {
    walk(db, &Chain::new(writer, key), None, known).await
}

/// Verifies the copy of a part's trail in auth's store: it is what auditors read.
pub async fn verify_copy(writer: Part, auth: &Db, key: &AuditKey) -> Result<Verdict, DbError> {
    walk(auth, &Chain::new(writer, key), Some(writer), &[]).await
}

/// The links of a part's trail, for whoever takes copies of it.
pub struct Links(Chain);

impl Links {
    /// Of this part.
    pub fn of(writer: Part, key: &AuditKey) -> Self {
        Self(Chain::new(writer, key))
    }

    /// The link of the entry with this number, after the one with this link.
    pub fn next(&self, before: &[u8], seq: i64, entry: &Entry) -> Vec<u8> {
        self.0.link(before, seq, entry)
    }

    /// Whether these entries, in their order, follow on the one with this link.
    pub fn follow(&self, before: &[u8], entries: &[Kept]) -> bool {
        let mut before = before;
        entries.iter().all(|kept| {
            let is_next = self.next(before, kept.seq, &kept.entry) == kept.link;
            before = &kept.link;
            is_next
        })
    }
}

async fn walk(
    db: &Db,
    chain: &Chain,
    copy_of: Option<Part>,
    known: &[Known],
) -> Result<Verdict, DbError> {
    let (mut seq, mut link) = (0, Vec::new());
    let mut after = i64::MIN;
    loop {
        let page = db.read(move |tx| Box::pin(rows::read(tx, copy_of, after, PAGE))).await?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (found, kept) in page {
            if found < 1 {
                return Ok(Verdict::Broken(Fault::Inserted(found)));
            }
            if found != seq + 1 {
                return Ok(Verdict::Broken(Fault::Removed(seq + 1)));
            }
            let right = kept.ok().filter(|kept| chain.link(&link, found, &kept.entry) == kept.link);
            let Some(kept) = right else { return Ok(Verdict::Broken(Fault::Changed(found))) };
            (seq, link) = (found, kept.link);
            if known.iter().any(|known| known.seq == seq && known.link != link) {
                return Ok(Verdict::Broken(Fault::Rewritten(seq)));
            }
        }
    }
    if known.iter().any(|known| known.seq > seq) {
        return Ok(Verdict::Broken(Fault::CutOff(seq + 1)));
    }
    Ok(Verdict::Intact((seq > 0).then_some(Known { seq, link })))
}

/// The task that verifies a running service's own trail, also against what auth has of it: at its
/// start, every hour, and when auth has something else.
pub fn task(trail: Trail) -> Task {
    // Not there before it is known: it would be 0 until then.
    let intact = |writer: Part| INTACT.with_label_values(&[writer.as_str()]);
    Task::new("audit verification", move |stop| async move {
        let ledger = &trail.0.ledger;
        loop {
            let known: Vec<_> = ledger.taken().into_iter().collect();
            match walk(&trail.0.db, &ledger.chain, None, &known).await {
                Ok(Verdict::Intact(_)) => intact(trail.writer()).set(1),
                Ok(Verdict::Broken(fault)) => {
                    intact(trail.writer()).set(0);
                    let service = trail.writer();
                    tracing::error!(%service, "the audit trail is broken: {fault}");
                }
                // Not known is no verdict: the last one stands.
                Err(error) => tracing::warn!(error = causes(&error), "the trail is not verified"),
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
        loop {
            for writer in &writers {
                let intact = COPY_INTACT.with_label_values(&[writer.as_str()]);
                match verify_copy(*writer, &auth, &key).await {
                    Ok(Verdict::Intact(_)) => intact.set(1),
                    Ok(Verdict::Broken(fault)) => {
                        intact.set(0);
                        let service = writer;
                        tracing::error!(%service, "the copy of the audit trail is broken: {fault}");
                    }
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
