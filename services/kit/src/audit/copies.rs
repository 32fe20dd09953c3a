//! Every service hands its entries on to auth, which keeps a copy of all trails in one store: there
//! they are searched, and a trail that was cut off is known.
//!
//! Entries are handed on in their order, again and again until auth says that it has them; it knows
//! those it has by their numbers. Replicas may do so at the same time.

use std::{
    future::Future,
    mem,
    sync::{Arc, LazyLock, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{StatusCode, Uri};
use prometheus::{IntGaugeVec, opts, register_int_gauge_vec};
use serde::{Deserialize, Serialize};
use shared_middleware::{
    client::{self, ClientError},
    error::causes,
    identity::Part,
    tls::MeshTls,
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Kept, Trail, rows, verify::Known};
use crate::{db::DbError, task::Task};

/// Where auth takes them.
pub const PATH: &str = "/.well-known/audit/entries";
/// So many are handed on at once.
pub const PAGE_MAX: u32 = 500;

/// Entries are gathered for so long, and looked for so often: another replica may have written.
const GATHERED_FOR: Duration = Duration::from_millis(100);
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const BACK_OFF_LAST: Duration = Duration::from_secs(5);

static WAITING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "Entries of the audit trail that auth has no copy of yet.";
    let options = opts!("audit_entries_waiting", help);
    register_int_gauge_vec!(options, &["service"]).expect("the name is registered once")
});

/// A piece of a trail, on its way.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Entries, in their order; none to ask what is wanted.
    pub entries: Vec<Kept>,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// Everything up to this number is there.
    pub up_to: i64,
    /// The link of the entry with this number; empty before the first.
    pub link: Vec<u8>,
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
    /// Auth keeps other entries under our numbers: one of the two trails was changed.
    #[error("the copy holds other entries than the trail: one of them was changed")]
    Differs,
}

/// Who keeps the copies.
pub trait Copies: Send + Sync + 'static {
    /// Takes a page of this part's trail.
    fn take(&self, writer: Part, page: Page) -> BoxFuture<'_, Result<Taken, CopyError>>;
}

/// Auth, from another service.
pub struct AtAuth {
    /// Where it is; several addresses are tried in turn.
    pub urls: Vec<Uri>,
    /// As whom to call it: its certificate says whose trail it is.
    pub tls: Arc<MeshTls>,
}

impl Copies for AtAuth {
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

/// The task that hands a trail on.
pub fn task(trail: Trail, copies: Arc<dyn Copies>) -> Task {
    Task::new("audit copies", move |stop| async move {
        HandingOn { trail, copies, stop, up_to: None, known: 0 }.run().await;
    })
}

struct HandingOn {
    trail: Trail,
    copies: Arc<dyn Copies>,
    stop: CancellationToken,
    /// What auth has; none until it was asked, or when it was not heard.
    up_to: Option<i64>,
    /// The same as it was last heard of.
    known: i64,
}

impl HandingOn {
    async fn run(mut self) {
        let (mut back_off, mut failing) = (GATHERED_FOR, false);
        loop {
            let pause = match self.hand_on().await {
                Ok(more) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("auth takes the audit trail again");
                    }
                    back_off = GATHERED_FOR;
                    if more { Duration::ZERO } else { LOOKED_AT_EVERY }
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(error = causes(&error), "auth has no copy of the trail yet");
                    }
                    self.up_to = None;
                    back_off = (back_off * 2).min(BACK_OFF_LAST);
                    back_off
                }
            };
            let grown = self.trail.0.ledger.grown.notified();
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

    /// Hands on a page, and tells whether there are more.
    async fn hand_on(&mut self) -> Result<bool, CopyError> {
        let db = &self.trail.0.db;
        let last = db.look_up(|tx| Box::pin(rows::head(tx))).await?.map_or(0, |(last, _)| last);
        self.show(last);
        let up_to = match self.up_to {
            Some(up_to) => up_to,
            None => self.take(Vec::new()).await?,
        };
        if up_to > last {
            // Auth has entries that the trail has no more.
            self.trail.0.ledger.doubted.notify_one();
            return Err(CopyError::Differs);
        }
        let entries =
            self.trail.0.db.read(move |tx| Box::pin(rows::after(tx, up_to, PAGE_MAX))).await?;
        let up_to = if entries.is_empty() { up_to } else { self.take(entries).await? };
        self.show(last);
        Ok(up_to < last)
    }

    /// Has auth take entries; tells up to which it has all.
    async fn take(&mut self, entries: Vec<Kept>) -> Result<i64, CopyError> {
        let ledger = Arc::clone(&self.trail.0.ledger);
        let taken = self.copies.take(self.trail.writer(), Page { entries }).await;
        if let Err(CopyError::Differs) = &taken {
            ledger.doubted.notify_one();
        }
        let Taken { up_to, link } = taken?;
        (self.up_to, self.known) = (Some(up_to), up_to);
        let known = (up_to > 0).then_some(Known { seq: up_to, link });
        let before = mem::replace(
            &mut *ledger.taken.lock().unwrap_or_else(PoisonError::into_inner),
            known.clone(),
        );
        if before.is_none() && known.is_some() {
            // Heard of for the first time: the trail has not been compared with it.
            ledger.doubted.notify_one();
        }
        Ok(up_to)
    }

    fn show(&self, last: i64) {
        let waiting = WAITING.with_label_values(&[self.trail.writer().as_str()]);
        waiting.set((last - self.known).max(0));
    }
}

/// Whether the task was stopped before the work ended.
async fn stopped(stop: &CancellationToken, work: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = work => false,
        () = stop.cancelled() => true,
    }
}
