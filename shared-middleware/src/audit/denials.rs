//! How the gateway forwards its denials, and changes of its log level: it has no
//! store, so auth records it.
//!
//! What was refused had no effect, so a request does not wait for this: entries are gathered, and
//! sent every few moments. While auth is away they wait, as many as the queue holds; what is more
//! is counted and lost.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::Uri;
use prometheus::IntCounterVec;
use tokio::{sync::mpsc, time::sleep};

use super::{AuditSink, Entry, Outcome};
use crate::{
    back_off::BackOff,
    client,
    error::{Failure, causes},
    identity::Part,
    metrics::counter,
    tls::MeshTls,
};

/// Where auth takes them.
pub const PATH: &str = "/.well-known/audit/refusals";
/// What an operator does to a process, and the only thing that is forwarded and is no denial.
pub const LOG_LEVEL_CHANGE: &str = "log_level.change";
/// This many are forwarded at once.
pub const BATCH_MAX: usize = 256;

const QUEUE_MAX: usize = 4096;
const TOLD_EVERY: Duration = Duration::from_millis(200);
const BACK_OFF: BackOff = BackOff::new(TOLD_EVERY, Duration::from_secs(5));

static LOST: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Refusals of the gateway that the audit log does not have: the queue was full.";
    counter("audit_refusals_lost_total", help, &["service"])
});

/// Takes refusals, and forgets none as long as there is room.
#[derive(Clone, Debug)]
pub struct DenialQueue(mpsc::Sender<Entry>);

/// What was taken and is not forwarded yet.
#[derive(Debug)]
pub struct DenialForwarder(mpsc::Receiver<Entry>);

/// A queue for refusals.
pub fn queue() -> (DenialQueue, DenialForwarder) {
    // There from the start, so that an alert finds it.
    LOST.with_label_values(&[Part::Gateway.as_str()]);
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    (DenialQueue(sender), DenialForwarder(receiver))
}

// === impl DenialQueue ===

impl DenialQueue {
    /// Takes one; does not wait.
    pub fn tell(&self, entry: Entry) {
        if self.0.try_send(entry).is_err() {
            LOST.with_label_values(&[Part::Gateway.as_str()]).inc();
        }
    }
}

/// For a process without a store: forwarded soon, as denials are.
impl AuditSink for DenialQueue {
    fn record(&self, entry: Entry) -> BoxFuture<'_, Result<(), Failure>> {
        self.tell(entry);
        Box::pin(async { Ok(()) })
    }
}

/// Whether the gateway may forward it.
pub fn is_told(entry: &Entry) -> bool {
    entry.outcome == Outcome::Refused || entry.action == LOG_LEVEL_CHANGE
}

// === impl DenialForwarder ===

impl DenialForwarder {
    /// Forwards them to auth, until nobody can refuse any more and all are forwarded.
    pub async fn tell(mut self, auth_urls: Vec<Uri>, tls: Arc<MeshTls>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while self.0.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let body = serde_json::to_vec(&batch).expect("entries are JSON");
            let mut back_off = BACK_OFF;
            for url in auth_urls.iter().cycle() {
                match client::post(url, PATH, Part::Auth, &tls, body.clone()).await {
                    Ok(_) => break,
                    Err(error) => {
                        tracing::debug!(
                            error = causes(&error),
                            "cannot forward denials to auth, retrying"
                        );
                        sleep(back_off.next_pause()).await;
                    }
                }
            }
            batch.clear();
            sleep(TOLD_EVERY).await;
        }
    }
}
