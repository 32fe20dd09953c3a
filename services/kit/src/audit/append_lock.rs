//! The append lock: one transaction at a time appends to the chain of its process, whose head is in
//! memory. It is taken last in a transaction, and held for its commit only.
//!
//! A transaction whose commit failed, or whose outcome is unknown, ends the chain: its entries may
//! be there or not, and both are good chains as long as nothing follows. The next transaction opens
//! another.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::rows::Head;

/// Guards the head of a process's chain.
#[derive(Default)]
pub(crate) struct AppendLock {
    /// None while no chain is open.
    head: Arc<Mutex<Option<Head>>>,
    /// The last head whose commit was acknowledged, for anyone who does not append.
    committed: StdMutex<Option<Head>>,
}

/// The right to append.
pub(crate) struct Appending {
    lock: Arc<AppendLock>,
    head: OwnedMutexGuard<Option<Head>>,
    /// The head with what is not committed yet.
    uncommitted: Option<Head>,
}

// === impl AppendLock ===

impl AppendLock {
    /// Waits until nobody else appends.
    pub(crate) async fn take(self: &Arc<Self>) -> Appending {
        let head = Arc::clone(&self.head).lock_owned().await;
        Appending { lock: Arc::clone(self), head, uncommitted: None }
    }

    /// The same, on a thread that may block.
    pub(crate) fn take_blocking(self: &Arc<Self>) -> Appending {
        let head = Arc::clone(&self.head).blocking_lock_owned();
        Appending { lock: Arc::clone(self), head, uncommitted: None }
    }

    /// The last entry of this process that is known to be committed.
    pub(crate) fn committed(&self) -> Option<Head> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

// === impl Appending ===

impl Appending {
    /// What the next entry follows; none where a chain must be opened.
    pub(crate) fn head(&self) -> Option<Head> {
        self.uncommitted.as_ref().or(self.head.as_ref()).cloned()
    }

    /// Entries up to this one were appended, and are not committed yet.
    pub(crate) fn append(&mut self, head: Head) {
        self.uncommitted = Some(head);
    }

    /// How far the open transaction has appended.
    pub(crate) fn uncommitted(&self) -> Option<Head> {
        self.uncommitted.clone()
    }

    /// What was appended since is taken back, certainly: back to this.
    pub(crate) fn roll_back_to(&mut self, uncommitted: Option<Head>) {
        self.uncommitted = uncommitted;
    }

    /// What was appended is on disk.
    pub(crate) fn commit(&mut self) {
        if let Some(head) = self.uncommitted.take() {
            let mut committed = self.lock.committed.lock().unwrap_or_else(PoisonError::into_inner);
            *committed = Some(head.clone());
            *self.head = Some(head);
        }
    }

    /// Whether what was appended is on disk is not known.
    pub(crate) fn end_chain(&mut self) {
        if self.uncommitted.take().is_some() {
            *self.head = None;
        }
    }
}

impl Drop for Appending {
    /// Anyone who was to commit went away meanwhile.
    fn drop(&mut self) {
        self.end_chain();
    }
}
