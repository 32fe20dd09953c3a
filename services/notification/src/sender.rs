//! Delivers pending notifications.
//!
//! A batch is claimed, rendered, delivered, and its outcome kept. A crash before the last step
//! delivers again: to the same file, or by SMTP with the same Message-ID. What can never be
//! delivered goes to the dead letters before it is marked, so that a crash between loses nothing.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kit::{
    consumer::dead_letters_of,
    db::DbError,
    lease::{Held, LeasedTask},
    log::{
        EVENT_ID, EventLog, Record, SOURCE_GROUP, SOURCE_OFFSET, SOURCE_PARTITION, SOURCE_TOPIC,
    },
    task::Task,
};
use lettre::message::Mailbox;
use prometheus::IntCounterVec;
use proto::patient_events::TOPIC;
use shared_middleware::{clock::Clock, error::causes, metrics::counter};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    channel::Channel,
    consumer::GROUP,
    domain::{Refusal, Verdict},
    events,
    limits::Limits,
    message::{Letter, Rendered},
    store::{Claim, Pending, Source, Store},
};

/// The lease of the sender that delivers.
const LEASE: &str = "sender";
/// A sender that was not woken looks anyway: a try may be due, or another process have written.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// A claim outlasts the batch by so much.
const CLAIM_SLACK_S: u64 = 30;
/// A batch that is being delivered when the service stops is given so long.
const STOP_GRACE: Duration = Duration::from_secs(5);

static NOTIFICATIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let labels = &["channel", "type", "outcome"];
    counter("notifications_total", "Tries to deliver a notification, by outcome.", labels)
});

/// Who delivers.
pub(crate) struct Sender {
    pub(crate) store: Store,
    pub(crate) channel: Channel,
    pub(crate) from: Mailbox,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) clock: Clock,
    pub(crate) wake: Arc<Notify>,
    /// Of a patient's changes one message is sent in this time.
    pub(crate) update_interval: Duration,
    pub(crate) limits: Limits,
}

// === impl Sender ===

impl Sender {
    /// The task that delivers.
    pub(crate) fn task(self) -> Task {
        Task::new("notification sender", move |stop| async move {
            let stopped = async {
                stop.cancelled().await;
                sleep(STOP_GRACE).await;
            };
            tokio::select! {
                () = self.run(&stop) => {}
                // What is not finished by then is delivered again after the next start.
                () = stopped => {}
            }
        })
    }

    /// Of several replicas one delivers at a time.
    async fn run(&self, stop: &CancellationToken) {
        let lease = LeasedTask::new(self.store.db(), LEASE, Arc::clone(&self.wake));
        lease.run(stop, |held| self.deliver_while_held(held, stop)).await;
    }

    async fn deliver_while_held(&self, lease: Held, stop: &CancellationToken) {
        // Nobody else delivers now: what the one before had claimed is due at once.
        if let Err(error) = self.store.release(self.clock.now()).await {
            tracing::warn!(error = causes(&error), "cannot release notifications");
            sleep(LOOKED_AT_EVERY).await;
            return;
        }
        while lease.is_held() && !stop.is_cancelled() {
            match self.deliver_some().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(error = causes(&error), "cannot deliver notifications");
                }
            }
            tokio::select! {
                () = lease.woken() => {}
                () = sleep(LOOKED_AT_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Delivers what is due, at most a batch; returns whether it is worth to go on at once. It is
    /// not when everything was refused: then the way out is closed, and knocking faster opens
    /// nothing.
    pub(crate) async fn deliver_some(&self) -> Result<bool, DbError> {
        let now = self.clock.now();
        let until = now + seconds(self.channel.batch_s_max() + CLAIM_SLACK_S);
        let interval = seconds(self.update_interval.as_secs());
        let claim = Claim { now, until, count_max: self.channel.batch_max(), interval };
        let claimed = self.store.claim(claim).await?;
        if claimed.is_empty() {
            return Ok(false);
        }
        let outcomes = self.deliver(&claimed).await;
        let now = self.clock.now();
        let mut verdicts: Vec<_> = claimed
            .iter()
            .zip(outcomes)
            .map(|(pending, outcome)| Verdict::of(outcome, pending.tried, now))
            .collect();
        self.insert_dead_letter(&claimed, &mut verdicts, now).await;
        for (pending, verdict) in claimed.iter().zip(&verdicts) {
            self.tell(pending, verdict);
        }
        let moved = verdicts
            .iter()
            .any(|verdict| matches!(verdict, Verdict::Sent | Verdict::Failed { .. }));
        let kept = claimed.into_iter().zip(verdicts).collect();
        self.store.keep(self.channel.medium(), now, kept).await?;
        Ok(moved)
    }

    /// What became of each, in the same order.
    async fn deliver(&self, claimed: &[Pending]) -> Vec<Result<(), Refusal>> {
        let (mut messages, mut outcomes) = (Vec::new(), Vec::new());
        for pending in claimed {
            match self.render(pending) {
                Ok(message) => {
                    messages.push(message);
                    outcomes.push(None);
                }
                Err(refusal) => outcomes.push(Some(Err(refusal))),
            }
        }
        let mut delivered = self.channel.deliver(messages).await.into_iter();
        let unanswered = || Err(Refusal::Passing("the channel did not answer".to_owned()));
        outcomes
            .into_iter()
            .map(|outcome| outcome.or_else(|| delivered.next()).unwrap_or_else(unanswered))
            .collect()
    }

    fn render(&self, pending: &Pending) -> Result<Rendered, Refusal> {
        let recipient = events::recipient(&pending.event)
            .ok_or_else(|| Refusal::Permanent("the event cannot be read".to_owned()))?;
        if pending.tried == 1 {
            self.limits.count(&recipient.email)?;
        }
        let (event_id, kind, at) = (pending.event_id, pending.kind, pending.created_at);
        Letter { event_id, kind, recipient: &recipient, at }.render(&self.from)
    }

    /// Publishes the events of what is given up; when that fails nothing is given up yet.
    async fn insert_dead_letter(
        &self,
        claimed: &[Pending],
        verdicts: &mut [Verdict],
        now: Timestamp,
    ) {
        let dead = claimed.iter().zip(verdicts.iter()).filter_map(|(pending, verdict)| {
            let Verdict::Failed { reason } = verdict else { return None };
            Some(dead_letter(pending, reason))
        });
        let dead: Vec<_> = dead.collect();
        if dead.is_empty() {
            return;
        }
        let Err(error) = self.log.publish(&dead_letters_of(TOPIC), dead).await else { return };
        tracing::warn!(error = causes(&error), "cannot publish dead letters");
        for (pending, verdict) in claimed.iter().zip(verdicts) {
            if let Verdict::Failed { reason } = verdict {
                let again = Err(Refusal::Passing(std::mem::take(reason)));
                *verdict = Verdict::of(again, pending.tried, now);
            }
        }
    }

    fn tell(&self, pending: &Pending, verdict: &Verdict) {
        let (channel, kind) = (self.channel.medium().as_str(), pending.kind.as_str());
        NOTIFICATIONS.with_label_values(&[channel, kind, verdict.outcome()]).inc();
        let (event, tried) = (pending.event_id, pending.tried);
        match verdict {
            Verdict::Sent => {
                tracing::debug!(event.id = %event, channel, kind, "notification sent");
            }
            Verdict::Retry { reason, .. } => tracing::warn!(
                event.id = %event, channel, kind, tried, reason, "notification not sent yet"
            ),
            Verdict::Postponed { reason, .. } => tracing::info!(
                event.id = %event, channel, kind, reason, "notification postponed"
            ),
            Verdict::Failed { reason } => tracing::error!(
                event.id = %event, channel, kind, tried, reason,
                "notification moved to the dead letters"
            ),
        }
    }
}

/// The event as it was read, with where that was and why it is here. Its source makes it the same
/// letter when it is published again, and another than those of other groups.
fn dead_letter(pending: &Pending, reason: &str) -> Record {
    let mut headers = pending.headers.clone();
    if !headers.iter().any(|(name, _)| name == EVENT_ID) {
        headers.push((EVENT_ID.to_owned(), pending.event_id.to_string()));
    }
    headers.push(("error".to_owned(), reason.to_owned()));
    headers.push((SOURCE_TOPIC.to_owned(), TOPIC.to_owned()));
    headers.push((SOURCE_GROUP.to_owned(), GROUP.to_owned()));
    let Source { partition, offset } = pending.source;
    for (name, place) in [(SOURCE_PARTITION, partition), (SOURCE_OFFSET, offset)] {
        headers.extend(place.map(|place| (name.to_owned(), place.to_string())));
    }
    Record { key: pending.patient.to_string(), headers, payload: pending.event.clone() }
}

fn seconds(count: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(count.min(3600)).unwrap_or(3600))
}
