//! Builds the counters once more from the log, while the old ones are served and events go on.
//!
//! The replay reads the topic by itself, as a member of no group. When it has all that the group
//! has read, it takes over: the same transaction moves the group's positions on to what is counted
//! here, and the group's members pass over what they find applied. One that ends before leaves the
//! served counters as they are, and begins from its start when it is run again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kit::{
    db::DbError,
    log::{Batch, EventLog, LogError, Start},
    task::Task,
};
use proto::patient_events::TOPIC;
use shared_middleware::{clock::Clock, error::causes};
use tokio::time::sleep;

use crate::{
    Config,
    consumer::GROUP,
    domain::Event,
    events,
    store::{
        Store,
        replay::{ClaimError, Switch},
    },
};

/// This many events share a transaction at most, and are in memory at once.
const BATCH_MAX: u32 = 1000;
/// So often the log has nothing new before a group that is further is not waited for any more.
const IDLE_MAX: u32 = 40;
const SWEPT_EVERY: Duration = Duration::from_secs(60);

/// A replay that has its claim: nobody else replays meanwhile.
pub struct Replay {
    store: Store,
    log: Arc<dyn EventLog>,
    clock: Clock,
    start: Start,
    projection: i64,
    progress: ReplayProgress,
    partitions: BTreeMap<i64, Partition>,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayProgress {
    /// Events that were read.
    pub events: u64,
    /// Those of them that cannot be counted.
    pub passed_over: u64,
    /// Offsets that were passed.
    pub done: u64,
    /// Offsets there are, as far as is known.
    pub total: u64,
}

/// What a replay came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The projection that was served before.
    pub from: i64,
    /// The one that is served now.
    pub to: i64,
    /// What was read for it.
    pub progress: ReplayProgress,
}

/// Why there was no replay. The served counters are as they were.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Another one has begun.
    #[error("{0}")]
    Claimed(String),
    /// The log ends before the group's position, or has partitions that it had not.
    #[error(
        "{GROUP} has read further than the log goes: was the log replaced, or did the topic get \
         another partition meanwhile?"
    )]
    Behind,
    /// The store failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Where a replay is in one partition.
#[derive(Clone, Copy)]
struct Partition {
    first: i64,
    next: i64,
    end: i64,
}

// === impl Replay ===

impl Replay {
    /// Claims the replay, and removes what earlier ones left behind.
    ///
    /// # Errors
    /// When another one is running, or was killed just now; when the store is away.
    pub async fn claim(
        config: &Config,
        log: Arc<dyn EventLog>,
        clock: Clock,
        start: Start,
    ) -> Result<Self, ReplayError> {
        let store = Store::open(&config.database).await?;
        Self::of(store, log, clock, start).await
    }

    pub(crate) async fn of(
        store: Store,
        log: Arc<dyn EventLog>,
        clock: Clock,
        start: Start,
    ) -> Result<Self, ReplayError> {
        sweep(&store, &clock).await?;
        let projection = store.claim(clock.now()).await?;
        let (progress, partitions) = (ReplayProgress::default(), BTreeMap::new());
        Ok(Self { store, log, clock, start, projection, progress, partitions })
    }

    /// Builds, takes over and removes the old projection. `watch` is called for every batch.
    ///
    /// # Errors
    /// When it could not take over; then nothing has changed.
    pub async fn run(
        &mut self,
        mut watch: impl FnMut(ReplayProgress) + Send,
    ) -> Result<Replayed, ReplayError> {
        let from = match self.build(&mut watch).await {
            Ok(from) => from,
            Err(error) => {
                // What is left behind otherwise is swept later.
                let _ = self.abandon().await;
                return Err(error);
            }
        };
        let replayed = Replayed { from, to: self.projection, progress: self.progress };
        self.store.release(self.projection).await?;
        sweep(&self.store, &self.clock).await?;
        Ok(replayed)
    }

    /// Gives up; returns whether it had taken over before.
    ///
    /// # Errors
    /// When the store is away: then the claim runs out by itself.
    pub async fn abandon(&self) -> Result<bool, DbError> {
        self.store.release(self.projection).await?;
        sweep(&self.store, &self.clock).await?;
        Ok(self.store.served().await? == self.projection)
    }

    /// The number of the projection that was served until this one took over.
    async fn build(
        &mut self,
        watch: &mut (impl FnMut(ReplayProgress) + Send),
    ) -> Result<i64, ReplayError> {
        let mut reader = self.log.read(TOPIC, self.start).await?;
        let mut idle = 0;
        loop {
            let batch = reader.next(BATCH_MAX).await?;
            idle = if batch.records.is_empty() { idle + 1 } else { 0 };
            self.follow(&batch);
            self.count(batch).await?;
            watch(self.progress);
            if !self.at_end() {
                continue;
            }
            let built = self.partitions.iter().map(|(id, of)| (*id, of.next)).collect();
            let now = self.clock.now();
            let switch = self.store.switch(self.projection, GROUP, TOPIC, built, now);
            match switch.await? {
                Switch::Done(from) => return Ok(from),
                Switch::Behind if idle > IDLE_MAX => return Err(ReplayError::Behind),
                Switch::Behind => {}
            }
        }
    }

    fn follow(&mut self, batch: &Batch) {
        for of in &batch.progress {
            let begins = || {
                let first = batch.records.iter().find(|record| record.partition == of.partition);
                let first = first.map_or(of.next, |record| record.position);
                Partition { first, next: first, end: first }
            };
            let known = self.partitions.entry(of.partition).or_insert_with(begins);
            known.next = of.next;
            known.end = of.end.max(of.next);
        }
        let sum = |length: fn(&Partition) -> i64| {
            let lengths = self.partitions.values().map(length);
            lengths.map(|length| u64::try_from(length).unwrap_or(0)).sum()
        };
        self.progress.done = sum(|of| of.next - of.first);
        self.progress.total = sum(|of| of.end - of.first);
    }

    fn at_end(&self) -> bool {
        !self.partitions.is_empty() && self.partitions.values().all(|of| of.next >= of.end)
    }

    /// All in one transaction; when that fails, one by one, so that what is to blame is passed
    /// over.
    async fn count(&mut self, batch: Batch) -> Result<(), ReplayError> {
        let read = batch.records.len();
        let decoded = batch.records.iter().map(|of| events::decode(&of.record, &self.clock));
        let events: Vec<Event> = decoded.filter_map(Result::ok).collect();
        self.progress.events += read as u64;
        self.progress.passed_over += (read - events.len()) as u64;
        match self.add(events.clone()).await {
            Err(ReplayError::Db(error)) if is_of_the_event(&error) => {}
            done => return done,
        }
        for event in events {
            match self.add(vec![event]).await {
                Err(ReplayError::Db(error)) if is_of_the_event(&error) => {
                    self.progress.passed_over += 1;
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// None of them still renews the claim.
    async fn add(&self, events: Vec<Event>) -> Result<(), ReplayError> {
        Ok(self.store.build(self.projection, events, self.clock.now()).await?)
    }
}

// === impl ReplayError ===

impl From<ClaimError> for ReplayError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Db(error) => Self::Db(error),
            refused => Self::Claimed(refused.to_string()),
        }
    }
}

/// Whether the store works, and refused this event.
const fn is_of_the_event(error: &DbError) -> bool {
    !matches!(error, DbError::Unavailable(_))
}

/// Removes projections that nobody serves or builds, a bounded piece at a time.
async fn sweep(store: &Store, clock: &Clock) -> Result<(), DbError> {
    while store.sweep(clock.now()).await? {}
    Ok(())
}

/// The task that removes what a replay that was killed has left behind.
pub(crate) fn sweeper(store: Store, clock: Clock) -> Task {
    Task::new("projection sweeper", move |stop| async move {
        loop {
            if let Err(error) = sweep(&store, &clock).await {
                tracing::warn!(error = causes(&error), "cannot remove old projections");
            }
            tokio::select! {
                () = sleep(SWEPT_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    })
}
