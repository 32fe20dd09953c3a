//! The idempotency keys that this process is working on.
//!
//! A registration commits before billing is asked, so a key's answer may be in the store and not be
//! final. Whether somebody is about to finish it is known here, and nowhere else: a key that is
//! unfinished in the store and not in this set was left by a process that is gone, or is being
//! worked on by another replica. Anyone who comes with it then finishes it, which is safe to do
//! twice.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::store::IdempotencyKey;

/// Callers and their keys.
type Keys = HashSet<(String, String)>;

/// The keys.
#[derive(Clone, Default)]
pub(crate) struct InProgress(Arc<Mutex<Keys>>);

/// A key, until the work on it ends, however it does.
pub(crate) struct Working {
    all: InProgress,
    key: (String, String),
}

// === impl InProgress ===

impl InProgress {
    /// Begins to work on a key, unless somebody does.
    pub(crate) fn begin(&self, key: &IdempotencyKey) -> Option<Working> {
        let key = (key.caller.clone(), key.key.clone());
        let is_new = self.keys().insert(key.clone());
        is_new.then(|| Working { all: self.clone(), key })
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Working ===

impl Drop for Working {
    fn drop(&mut self) {
        self.all.keys().remove(&self.key);
    }
}
