//! How many requests of one client address, and of one user, are worked on at once.
//!
//! A rate does not bound that: requests whose bodies come slowly, or whose answers take long, pile
//! up, each with a connection to a part. What one client may hold is a share of all.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher as _, Hash, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shared_middleware::{
    error::{ErrorCode, Failure},
    rate_limit::client_network,
};

use crate::metrics;

/// Requests of different keys seldom wait for each other.
const SHARDS: usize = 16;

/// Who works at once, and how many may.
pub(crate) struct InFlightLimits {
    clients: Counts<IpAddr>,
    users: Counts<Arc<str>>,
}

/// A request's share, until it is dropped.
pub(crate) struct Permit<K: Eq + Hash + Clone> {
    shards: Arc<Shards<K>>,
    key: K,
}

struct Counts<K> {
    max: u32,
    shards: Arc<Shards<K>>,
}

struct Shards<K> {
    hasher: RandomState,
    counts: [Mutex<HashMap<K, NonZeroU32>>; SHARDS],
}

// === impl InFlightLimits ===

impl InFlightLimits {
    /// This many of each client address, and of each user.
    pub(crate) fn new(per_client_max: u32, per_user_max: u32) -> Self {
        Self { clients: Counts::new(per_client_max), users: Counts::new(per_user_max) }
    }

    /// A share for a request from an address.
    pub(crate) fn client(&self, address: IpAddr) -> Result<Permit<IpAddr>, Failure> {
        self.clients.take(&client_network(address))
    }

    /// A share for a request of a user.
    pub(crate) fn user(&self, subject: &Arc<str>) -> Result<Permit<Arc<str>>, Failure> {
        self.users.take(subject)
    }
}

// === impl Counts ===

impl<K: Eq + Hash + Clone> Counts<K> {
    fn new(max: u32) -> Self {
        let counts = std::array::from_fn(|_| Mutex::default());
        Self { max, shards: Arc::new(Shards { hasher: RandomState::new(), counts }) }
    }

    fn take(&self, key: &K) -> Result<Permit<K>, Failure> {
        let mut counts = self.shards.of(key);
        let count = counts.get(key).map_or(0, |count| count.get());
        if count >= self.max {
            metrics::RATE_LIMITED.with_label_values(&["in_flight"]).inc();
            let refused = Failure::new(ErrorCode::RateLimited, "too many requests at once");
            return Err(refused.retry_after_s(1));
        }
        counts.insert(key.clone(), NonZeroU32::MIN.saturating_add(count));
        drop(counts);
        Ok(Permit { shards: Arc::clone(&self.shards), key: key.clone() })
    }
}

// === impl Shards ===

impl<K: Eq + Hash> Shards<K> {
    fn of(&self, key: &K) -> MutexGuard<'_, HashMap<K, NonZeroU32>> {
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.counts[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Permit ===

impl<K: Eq + Hash + Clone> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut counts = self.shards.of(&self.key);
        if let Entry::Occupied(mut count) = counts.entry(self.key.clone()) {
            match NonZeroU32::new(count.get().get() - 1) {
                Some(left) => drop(count.insert(left)),
                None => drop(count.remove()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_share_and_gets_it_back() {
        let limits = InFlightLimits::new(2, 1);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|it| it.parse::<IpAddr>().unwrap());
        let held = [limits.client(one).unwrap(), limits.client(one).unwrap()];
        let refused = limits.client(one).err().unwrap();
        assert_eq!(refused.code(), ErrorCode::RateLimited);
        assert!(limits.client(other).is_ok());
        drop(held);
        assert!(limits.client(one).is_ok());
        let user: Arc<str> = "u1".into();
        let held = limits.user(&user).unwrap();
        assert!(limits.user(&user).is_err());
        drop(held);
        assert!(limits.user(&user).is_ok());
        let left = |shards: &Shards<IpAddr>| -> usize {
            shards.counts.iter().map(|counts| counts.lock().unwrap().len()).sum()
        };
        assert_eq!(left(&limits.clients.shards), 0, "nobody is remembered");
    }

    #[test]
    fn who_has_a_whole_network_has_one_share() {
        let limits = InFlightLimits::new(1, 1);
        let _held = limits.client("2001:db8::1".parse().unwrap()).unwrap();
        assert!(limits.client("2001:db8::2".parse().unwrap()).is_err());
        assert!(limits.client("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }
}
