//! Finishes what billing did not answer in time: every registered patient gets an account.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kit::task::Task;
use prometheus::{IntGauge, register_int_gauge};
use shared_middleware::error::causes;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{app::App, error::Error};

/// This many patients are worked on in one round.
const BATCH_MAX: u32 = 50;
/// A registration younger than this is still asking by itself.
const LEFT_ALONE: SignedDuration = SignedDuration::from_secs(3);
/// How often it looks while accounts are pending.
const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// How often it looks when it knows of none: a crash leaves nobody to wake it.
const LOOKS_ANYWAY_EVERY: Duration = Duration::from_secs(10);
/// How long old answers by idempotency key are kept.
const ANSWERS_KEPT: SignedDuration = SignedDuration::from_hours(24);

static PENDING: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("billing_accounts_pending", "Patients whose account is not open yet.")
        .expect("the name is registered once")
});
static OLDEST_AGE: LazyLock<IntGauge> = LazyLock::new(|| {
    let help = "Since when the first patient without an account has none; 0 when all have one.";
    register_int_gauge!("billing_oldest_pending_age_seconds", help)
        .expect("the name is registered once")
});

/// Where the rounds have come to. Each goes on after the one before, so that patients whom billing
/// will not have do not keep it from the others.
#[derive(Default)]
pub(crate) struct Rounds {
    after: Option<(Timestamp, Uuid)>,
}

/// The task.
pub(crate) fn task(app: Arc<App>) -> Task {
    Task::new("billing reconciler", move |stop| async move {
        tokio::select! {
            () = run(&app) => {}
            () = stop.cancelled() => {}
        }
    })
}

async fn run(app: &App) {
    let mut rounds = Rounds::default();
    loop {
        let pending = rounds.round(app).await.unwrap_or_else(|error| {
            tracing::warn!(error = causes(&error), "cannot reconcile with billing");
            1
        });
        let pause = if pending > 0 { LOOKS_EVERY } else { LOOKS_ANYWAY_EVERY };
        tokio::select! {
            () = sleep(pause) => {}
            () = app.reconcile.notified(), if pending == 0 => {}
        }
    }
}

// === impl Rounds ===

impl Rounds {
    /// One round; returns how many accounts are still pending.
    pub(crate) async fn round(&mut self, app: &App) -> Result<i64, Error> {
        let now = app.clock.now();
        app.store.forget_answers(now - ANSWERS_KEPT).await?;
        let (before, after) = (now - LEFT_ALONE, self.after.take());
        let batch = app.store.without_account(before, after, BATCH_MAX).await?;
        if batch.len() >= BATCH_MAX as usize {
            self.after = batch.last().map(|patient| (patient.created_at, patient.id));
        }
        for patient in batch {
            app.open_account(patient, None).await;
        }
        let (pending, oldest) = app.store.waiting_for_account(app.clock.now()).await?;
        PENDING.set(pending);
        let age = oldest.map_or(0, |at| app.clock.now().duration_since(at).as_secs());
        OLDEST_AGE.set(age.max(0));
        Ok(pending)
    }
}
