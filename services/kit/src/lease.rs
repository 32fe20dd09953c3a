//! Work that one of several replicas does at a time: anyone who holds the store's lease of its
//! name.
//!
//! The lease goes on to the next one as soon as its holder ends, or within seconds when the store
//! does not hear of it any more. A holder stops to believe in it before that, but may be in the
//! middle of something: what it does must bear that another one does it too.

use std::{sync::Arc, time::Duration};

use shared_middleware::{back_off::BackOff, error::causes};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::db::{Db, Lease};

const BACK_OFF: BackOff = BackOff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Work that is done by its lease's holder.
#[derive(Clone)]
pub struct LeasedTask {
    db: Db,
    name: &'static str,
    /// This process has something to do for the holder.
    wake: Arc<Notify>,
}

/// The lease, while it lasts.
pub struct Held {
    lease: Arc<Lease>,
    wake: Arc<Notify>,
}

// === impl LeasedTask ===

impl LeasedTask {
    /// Work of this name, among the replicas that share this store. It may be woken by this.
    pub const fn new(db: Db, name: &'static str, wake: Arc<Notify>) -> Self {
        Self { db, name, wake }
    }

    /// Does the work whenever this process holds the lease, until it is stopped. The work ends when
    /// the lease does, or when it is stopped itself.
    pub async fn run<F: Future<Output = ()>>(
        &self,
        stop: &CancellationToken,
        work: impl Fn(Held) -> F,
    ) {
        let mut back_off = BACK_OFF;
        while !stop.is_cancelled() {
            let lease = tokio::select! {
                lease = self.db.lease(self.name) => lease,
                () = self.pass_on() => continue,
                // Anyone who has the lease does what is left.
                () = stop.cancelled() => return,
            };
            match lease {
                Ok(lease) => {
                    back_off.reset();
                    let lease = Arc::new(lease);
                    let wake = Arc::clone(&self.wake);
                    work(Held { lease: Arc::clone(&lease), wake }).await;
                    self.release(lease).await;
                }
                Err(error) => {
                    let (name, error) = (self.name, causes(&error));
                    tracing::warn!(name, error, "cannot acquire the lease");
                    sleep(back_off.next_pause()).await;
                }
            }
        }
    }

    async fn release(&self, lease: Arc<Lease>) {
        let Ok(lease) = Arc::try_unwrap(lease) else { return };
        if lease.is_held()
            && let Err(error) = lease.release().await
        {
            // Its session is at its end, too.
            tracing::debug!(name = self.name, error = causes(&error), "not released");
        }
    }

    /// Notifies the holder, which is another process, that there is something to do; for ever.
    async fn pass_on(&self) {
        loop {
            self.wake.notified().await;
            if let Err(error) = self.db.notify(self.name).await {
                // It looks anyway, only later.
                tracing::debug!(
                    name = self.name,
                    error = causes(&error),
                    "cannot notify the lease holder"
                );
            }
        }
    }
}

// === impl Held ===

impl Held {
    /// Whether it still is, as far as is known.
    pub fn is_held(&self) -> bool {
        self.lease.is_held()
    }

    /// Waits until this process or another has something to do, or the lease is gone.
    pub async fn woken(&self) {
        tokio::select! {
            () = self.wake.notified() => {}
            () = self.lease.woken() => {}
        }
    }
}
