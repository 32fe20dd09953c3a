//! What was acknowledged: the measure of everything else.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::Value;
use tokio::sync::watch;

/// Patients that are there from the beginning, each with the event of its registration.
pub(crate) const DEMO_PATIENTS: u64 = 15;

/// A patient, as its writer knows it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// What it was registered or changed to.
    pub(crate) fields: Value,
    pub(crate) version: i64,
    pub(crate) removed: bool,
}

/// What was acknowledged so far.
#[derive(Default)]
pub(crate) struct Journal {
    patients: Mutex<BTreeMap<String, Known>>,
    /// Ids that were touched since the judge looked last.
    touched: Mutex<Vec<String>>,
    acknowledged: watch::Sender<u64>,
    refused: AtomicU64,
    poison: AtomicU64,
}

/// Writes that were answered, one way or the other.
#[derive(Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) acknowledged: u64,
    /// Answers that were no acknowledgement, and connections that broke.
    pub(crate) refused: u64,
}

/// What there must be, as everybody counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) created: u64,
    pub(crate) updated: u64,
    pub(crate) deleted: u64,
}

// === impl Expected ===

impl Expected {
    pub(crate) const fn events(self) -> u64 {
        self.created + self.updated + self.deleted
    }
}

// === impl Journal ===

impl Journal {
    fn patients(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.patients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write was acknowledged: so it is with this patient now.
    pub(crate) fn acknowledge(&self, id: &str, known: Known) {
        self.acknowledged.send_modify(|count| *count += 1);
        self.patients().insert(id.to_owned(), known);
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).push(id.to_owned());
    }

    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::SeqCst);
    }

    /// Something that no consumer can read was published.
    pub(crate) fn poisoned(&self) {
        self.poison.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn poison(&self) -> u64 {
        self.poison.load(Ordering::SeqCst)
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            acknowledged: *self.acknowledged.borrow(),
            refused: self.refused.load(Ordering::SeqCst),
        }
    }

    /// Waits until this many more writes are acknowledged.
    pub(crate) async fn go_on_for(&self, writes: u64) {
        let mut acknowledged = self.acknowledged.subscribe();
        let enough = *acknowledged.borrow() + writes;
        // It fails only when the journal is gone, and we hold it.
        let _ = acknowledged.wait_for(|count| *count >= enough).await;
    }

    pub(crate) fn expected(&self) -> Expected {
        let (mut created, mut updated, mut deleted) = (DEMO_PATIENTS, 0, 0);
        for known in self.patients().values() {
            created += 1;
            deleted += u64::from(known.removed);
            // A removal has a version of its own.
            let changes = known.version - 1 - i64::from(known.removed);
            updated += u64::try_from(changes).unwrap_or(0);
        }
        Expected { created, updated, deleted }
    }

    pub(crate) fn versions(&self) -> BTreeMap<String, i64> {
        self.patients().iter().map(|(id, known)| (id.clone(), known.version)).collect()
    }

    /// Patients that were touched since this was asked last.
    pub(crate) fn take_touched(&self) -> Vec<(String, Known)> {
        let mut ids =
            std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner));
        ids.sort();
        ids.dedup();
        let patients = self.patients();
        ids.into_iter().map(|id| (id.clone(), patients[&id].clone())).collect()
    }
}
