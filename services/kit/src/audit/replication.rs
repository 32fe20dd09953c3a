//! Every service hands its entries on to auth, which keeps a copy of all audit logs in one store:
//! there they are searched, and an audit log that was cut off is known.
//!
//! Entries are handed on in the order of their chain, again and again until auth says that it has
//! them; it knows those it has by their numbers. Replicas may do so at the same time: each hands on
//! its own chain, and those of processes that are gone.

use std::{
    collections::BTreeMap,
    future::Future,
    mem,
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{StatusCode, Uri};
use prometheus::{IntGaugeVec, opts, register_int_gauge_vec};
use serde::{Deserialize, Serialize};
use shared_middleware::{
    back_off::BackOff,
    client::{self, ClientError},
    error::causes,
    identity::Part,
    tls::MeshTls,
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    AuditLog,
    registry::{self, Closing, REGISTRY},
    rows::{self, Head, Kept},
};
use crate::{db::DbError, task::Task};

/// Where auth takes them.
pub const PATH: &str = "/.well-known/audit/entries";
/// This many are handed on at once.
pub const PAGE_MAX: u32 = 500;

/// Openings record many chains: this many of them are handed on at once.
const OPENINGS_MAX: u32 = 50;

/// Entries are gathered for so long, and looked for so often.
const GATHERED_FOR: Duration = Duration::from_millis(100);
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// Other processes hand on their own entries, as long as they live.
const OTHERS_LOOKED_AT_EVERY: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const BACK_OFF: BackOff = BackOff::new(GATHERED_FOR, Duration::from_secs(5));

static WAITING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "Entries of the audit log that auth has no copy of yet.";
    let options = opts!("audit_entries_waiting", help);
    register_int_gauge_vec!(options, &["service"]).expect("the name is registered once")
});

/// Entries on their way.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// How far these chains have come is wanted, too.
    pub heads_of: Vec<i64>,
    /// Entries of one chain or several, each chain's in their order; the registry's first.
    pub entries: Vec<Kept>,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// Up to where the copies are, of each chain that was asked for or sent of. A chain that is not
    /// known has none.
    pub heads: Vec<Head>,
}

/// Why a page was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Auth does not answer as it should.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its answer is not what was expected.
    #[error("the answer is not what was expected")]
    Json(#[from] serde_json::Error),
    /// It took too long.
    #[error("the answer took too long")]
    TooLate,
    /// The store.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Auth keeps other entries under our numbers: one of the two audit logs was changed.
    #[error("the copy holds other entries than the audit log: one of them was changed")]
    Differs,
}

/// Who keeps the copies.
pub trait AuditReplica: Send + Sync + 'static {
    /// Takes a page of this part's audit log.
    fn take(&self, writer: Part, page: Page) -> BoxFuture<'_, Result<Taken, CopyError>>;
}

/// Auth, from another service.
pub struct AuthReplica {
    /// Where it is; several addresses are tried in turn.
    pub urls: Vec<Uri>,
    /// As whom to call it: its certificate says whose audit log it is.
    pub tls: Arc<MeshTls>,
}

impl AuditReplica for AuthReplica {
    fn take(&self, _: Part, page: Page) -> BoxFuture<'_, Result<Taken, CopyError>> {
        Box::pin(async move {
            let json = serde_json::to_vec(&page)?;
            let mut failed = CopyError::TooLate;
            for url in &self.urls {
                let sent = client::post(url, PATH, Part::Auth, &self.tls, json.clone());
                match timeout(ANSWER_WITHIN, sent).await {
                    Ok(Ok(answer)) => return Ok(serde_json::from_slice(&answer)?),
                    // What auth says when it has other entries under these numbers.
                    Ok(Err(ClientError::Status(StatusCode::CONFLICT))) => {
                        return Err(CopyError::Differs);
                    }
                    Ok(Err(error)) => failed = error.into(),
                    Err(_) => failed = CopyError::TooLate,
                }
            }
            Err(failed)
        })
    }
}

/// The task that hands an audit log on.
pub fn task(audit_log: AuditLog, replica: Arc<dyn AuditReplica>) -> Task {
    Task::new("audit copies", move |stop| async move {
        let (heads, copied) = (BTreeMap::new(), BTreeMap::new());
        let on =
            Replicator { audit_log, replica, stop, heads, copied, closing: None, others: None };
        on.run().await;
    })
}

struct Replicator {
    audit_log: AuditLog,
    replica: Arc<dyn AuditReplica>,
    stop: CancellationToken,
    /// How far the chains have come, as far as was looked.
    heads: BTreeMap<i64, i64>,
    /// How far auth's copies of them have come, as far as it was asked.
    copied: BTreeMap<i64, i64>,
    /// From where on chains count, where the log was closed.
    closing: Option<Closing>,
    /// When the chains of other processes were looked at last.
    others: Option<Instant>,
}

impl Replicator {
    async fn run(mut self) {
        let (mut back_off, mut failing) = (BACK_OFF, false);
        loop {
            let pause = match self.hand_on().await {
                Ok(more) => {
                    if mem::take(&mut failing) {
                        tracing::info!("audit replication to auth recovered");
                    }
                    back_off.reset();
                    if more { Duration::ZERO } else { LOOKED_AT_EVERY }
                }
                Err(error) => {
                    if !mem::replace(&mut failing, true) {
                        tracing::warn!(
                            error = causes(&error),
                            "audit replication to auth failed, retrying"
                        );
                    }
                    (self.copied, self.others) = (BTreeMap::new(), None);
                    back_off.next_pause()
                }
            };
            let grown = self.audit_log.0.ledger.grown.notified();
            let gathered = async {
                tokio::select! {
                    () = sleep(pause) => {}
                    () = grown, if !failing => sleep(GATHERED_FOR.min(pause)).await,
                }
            };
            if stopped(&self.stop, gathered).await {
                return;
            }
        }
    }

    /// Hands on a page, and returns whether there are more.
    async fn hand_on(&mut self) -> Result<bool, CopyError> {
        self.look().await?;
        self.ask().await?;
        if self.is_behind_its_copy() {
            // Others have written and handed on since: looked at again, their chains have it.
            self.others = None;
            self.look().await?;
        }
        if self.is_behind_its_copy() {
            // Auth has entries that the audit log has no more.
            self.audit_log.0.ledger.doubted.notify_one();
            return Err(CopyError::Differs);
        }
        let (mut page, mut more) = (Page::default(), false);
        // The registry comes first.
        for (&chain, &head) in &self.heads {
            let copied = self.copied_up_to(chain);
            let Some(from) = self.from(chain, copied) else { continue };
            let most = if chain == REGISTRY { OPENINGS_MAX } else { PAGE_MAX };
            let room = PAGE_MAX.saturating_sub(u32::try_from(page.entries.len()).unwrap_or(0));
            let count = room.min(most);
            more |= head - from > i64::from(count);
            if from < head && count > 0 {
                let db = &self.audit_log.0.db;
                let entries =
                    db.read(move |tx| Box::pin(rows::after(tx, None, (chain, from), count)));
                page.entries.extend(entries.await?);
            }
        }
        self.show();
        if !page.entries.is_empty() {
            self.take(page).await?;
            self.show();
        }
        Ok(more)
    }

    /// Looks how far the chains have come: this process's own each time, others every few seconds
    /// and when there is a new one. Those of processes that are gone are handed on by who is there.
    async fn look(&mut self) -> Result<(), CopyError> {
        let db = &self.audit_log.0.db;
        let appended = db.appended();
        let own = appended.as_ref().map_or(REGISTRY, |own| own.chain);
        let heads = db.read(move |tx| {
            Box::pin(async move {
                let own = rows::head(tx, None, own).await?;
                let registry = rows::head(tx, None, REGISTRY).await?;
                Ok::<_, DbError>(registry.into_iter().chain(own).collect::<Vec<_>>())
            })
        });
        let mut heads = heads.await?;
        if let Some(appended) = appended
            && !heads.iter().any(|it| it.chain == own && it.seq >= appended.seq)
        {
            // Somebody has taken it away.
            self.audit_log.0.ledger.doubted.notify_one();
        }
        let opened = heads.first().map_or(0, |registry| registry.seq);
        let is_due = self.others.is_none_or(|last| last.elapsed() >= OTHERS_LOOKED_AT_EVERY);
        if is_due || self.heads.get(&REGISTRY).is_none_or(|known| *known < opened) {
            let all = db.read(|tx| {
                Box::pin(async move {
                    Ok::<_, DbError>((
                        rows::heads(tx, None).await?,
                        registry::closing(tx, None).await?,
                    ))
                })
            });
            let (all, closing) = all.await?;
            heads = all;
            self.closed(closing.map(|(_, closing)| closing));
            self.others = Some(Instant::now());
        }
        self.heads.extend(heads.into_iter().map(|head| (head.chain, head.seq)));
        Ok(())
    }

    /// Whether auth has more of a chain than was seen of it.
    fn is_behind_its_copy(&self) -> bool {
        self.heads.iter().any(|(chain, head)| {
            let copied = self.copied_up_to(*chain);
            self.from(*chain, copied).is_some_and(|from| from > *head)
        })
    }

    /// Asks auth for the chains of which it is not known how far it has them.
    async fn ask(&mut self) -> Result<(), CopyError> {
        let unknown = |chain: &i64| !self.copied.contains_key(chain);
        let chains: Vec<_> = self.heads.keys().copied().filter(unknown).collect();
        for chains in chains.chunks(PAGE_MAX as usize) {
            self.take(Page { heads_of: chains.to_vec(), entries: Vec::new() }).await?;
            for chain in chains {
                self.copied.entry(*chain).or_insert(0);
            }
        }
        Ok(())
    }

    /// Has auth take entries, and keeps up to where it has all.
    async fn take(&mut self, page: Page) -> Result<(), CopyError> {
        let ledger = Arc::clone(&self.audit_log.0.ledger);
        let taken = self.replica.take(self.audit_log.writer(), page).await;
        if let Err(CopyError::Differs) = &taken {
            ledger.doubted.notify_one();
        }
        let mut known = ledger.taken();
        for head in taken?.heads {
            self.copied.insert(head.chain, head.seq);
            if known.insert(head.chain, head).is_none() {
                // Heard of for the first time: the audit log has not been compared with it.
                ledger.doubted.notify_one();
            }
        }
        Ok(())
    }

    /// After which entry a chain is handed on, of which this many are copied; none where it is
    /// closed and nobody asks for it any more.
    fn from(&self, chain: i64, copied: i64) -> Option<i64> {
        let closing = self.closing.as_ref().filter(|closing| closing.covers(chain, copied));
        match closing {
            None => Some(copied),
            Some(closing) => {
                let from = closing.from.get(&chain).map(|head| head.seq);
                from.filter(|from| self.heads.get(&chain).is_some_and(|head| head > from))
            }
        }
    }

    fn closed(&mut self, closing: Option<Closing>) {
        let chain = |closing: &Option<Closing>| closing.as_ref().map(|it| it.chain);
        if chain(&self.closing) != chain(&closing) {
            self.audit_log.0.ledger.doubted.notify_one();
        }
        self.closing = closing;
    }

    fn copied_up_to(&self, chain: i64) -> i64 {
        self.copied.get(&chain).copied().unwrap_or(0)
    }

    fn show(&self) {
        let waiting = |(chain, head): (&i64, &i64)| {
            let from = self.from(*chain, self.copied_up_to(*chain));
            from.map_or(0, |from| (head - from).max(0))
        };
        let waiting = self.heads.iter().map(waiting).sum();
        WAITING.with_label_values(&[self.audit_log.writer().as_str()]).set(waiting);
    }
}

/// Whether the task was stopped before the work ended.
async fn stopped(stop: &CancellationToken, work: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = work => false,
        () = stop.cancelled() => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{
        audit::tests::entry,
        db::Migrations,
        testing::{TestStore, engines},
    };

    /// Keeps how far it has come, and may have heard of more from another replica.
    #[derive(Default)]
    struct Auth(Mutex<BTreeMap<i64, Head>>);

    impl AuditReplica for Auth {
        fn take(&self, _: Part, page: Page) -> BoxFuture<'_, Result<Taken, CopyError>> {
            let mut kept = self.0.lock().unwrap();
            for entry in &page.entries {
                let head = kept.entry(entry.chain).or_insert_with(|| entry.head());
                *head = head.clone().max(entry.head());
            }
            let sent = page.entries.iter().map(|entry| entry.chain);
            let chains: Vec<_> = page.heads_of.into_iter().chain(sent).collect();
            let heads = chains.iter().filter_map(|chain| kept.get(chain).cloned()).collect();
            Box::pin(async move { Ok(Taken { heads }) })
        }
    }

    fn handing_on(audit_log: &AuditLog, auth: &Arc<Auth>) -> Replicator {
        Replicator {
            audit_log: audit_log.clone(),
            replica: Arc::clone(auth) as Arc<dyn AuditReplica>,
            stop: CancellationToken::new(),
            heads: BTreeMap::new(),
            copied: BTreeMap::new(),
            closing: None,
            others: None,
        }
    }

    #[tokio::test]
    async fn what_another_replica_has_handed_on_meanwhile_is_no_difference() {
        for engine in engines() {
            let store = TestStore::on(engine).await;
            let (ours, theirs) =
                (store.open(Migrations::none()).await, store.open(Migrations::none()).await);
            let (ours, theirs) = (store.audit_log(&ours).await, store.audit_log(&theirs).await);
            let auth = Arc::<Auth>::default();
            let (mut our_task, mut their_task) =
                (handing_on(&ours, &auth), handing_on(&theirs, &auth));
            for n in 0..20 {
                theirs.keep(entry(2 * n)).await.unwrap();
                ours.keep(entry(2 * n + 1)).await.unwrap();
                our_task.look().await.unwrap();
                theirs.keep(entry(2 * n)).await.unwrap();
                their_task.hand_on().await.unwrap();
                // It asks how far all chains are.
                our_task.copied = BTreeMap::new();
                our_task.hand_on().await.unwrap();
            }
            assert_eq!(auth.0.lock().unwrap().values().map(|head| head.seq).sum::<i64>(), 62);
        }
    }

    #[tokio::test]
    async fn entries_that_auth_has_and_the_trail_has_not_are_a_difference() {
        for engine in engines() {
            let store = TestStore::on(engine).await;
            let db = store.open(Migrations::none()).await;
            let audit_log = store.audit_log(&db).await;
            audit_log.keep(entry(1)).await.unwrap();
            let auth = Arc::<Auth>::default();
            let ahead = Head { chain: 1, seq: 2, link: vec![1] };
            auth.0.lock().unwrap().insert(1, ahead);
            let handed_on = handing_on(&audit_log, &auth).hand_on().await;
            assert!(matches!(handed_on, Err(CopyError::Differs)), "{handed_on:?}");
        }
    }
}
