//! Who the members of a group are to its coordinator, while this process lives.
//!
//! A member that was silent for the length of a session joins again as a new one. The group
//! would wait for the old one, which will never come, before anybody reads on: after a broker's
//! absence all members of all groups are such. With a name of its own (static membership, KIP-345)
//! a member that joins again takes the place of what it was at once. So does a reader that follows
//! on one that failed and could not leave.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use shared_middleware::clock::Ids;

/// The names that are free, by group.
#[derive(Clone)]
pub(super) struct Instances {
    ids: Ids,
    free: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

/// A name that nobody else has; it is free again when this is dropped.
pub(super) struct Instance {
    of: Instances,
    group: String,
    name: String,
}

// === impl Instances ===

impl Instances {
    pub(super) fn new(ids: Ids) -> Self {
        Self { ids, free: Arc::default() }
    }

    /// The name that the group knows best, or a new one.
    pub(super) fn take(&self, group: &str) -> Instance {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let name = free.get_mut(group).and_then(Vec::pop);
        let name = name.unwrap_or_else(|| self.ids.next().to_string());
        Instance { of: self.clone(), group: group.to_owned(), name }
    }
}

// === impl Instance ===

impl Instance {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let (group, name) = (std::mem::take(&mut self.group), std::mem::take(&mut self.name));
        let mut free = self.of.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.entry(group).or_default().push(name);
    }
}
