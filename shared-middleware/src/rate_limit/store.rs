//! The state of a limit by key, in bounded memory.
//!
//! A key whose allowance is whole again is the same as one never seen and makes room for others.
//! When all of them are in use, newcomers share one allowance a shard: an attacker with a million
//! addresses slows down other newcomers, but neither those already known nor the machine.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::{
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};

/// This many locks, so that threads seldom wait for one another.
pub(super) const SHARDS: usize = 16;

/// The state by key.
#[derive(Debug)]
pub(super) struct Bounded<K> {
    hasher: RandomState,
    shards: Vec<Mutex<Shard<K>>>,
    keys_max: usize,
    /// The time that one request takes to be forgotten.
    period: Nanos,
    /// A shard is swept at most so often, since a sweep looks at every key of it.
    sweep_every: Nanos,
}

/// The keys of one shard, each with the time at which its allowance is whole again.
#[derive(Debug)]
struct Shard<K> {
    whole_at: HashMap<K, Nanos>,
    /// The same, of all the keys for which there was no room.
    overflow: Option<Nanos>,
    swept_at: Nanos,
}

// === impl Bounded ===

impl<K: Eq + Hash> Bounded<K> {
    pub(super) fn new(tracked_max: usize, period: Duration, sweep_every: Duration) -> Self {
        let shard = || Shard { whole_at: HashMap::new(), overflow: None, swept_at: Nanos::new(0) };
        // A bound too small to be shared out gets one shard for what it is.
        let shards = SHARDS.min(tracked_max).max(1);
        Self {
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| Mutex::new(shard())).collect(),
            keys_max: tracked_max / shards,
            period: period.into(),
            sweep_every: sweep_every.into(),
        }
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K>> {
        let shards = u64::try_from(self.shards.len()).unwrap_or(1);
        let at = usize::try_from(self.hasher.hash_one(key) % shards).unwrap_or(0);
        locked(&self.shards[at])
    }
}

impl<K: Eq + Hash + Clone> StateStore for Bounded<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self.shard(key);
        if let Some(whole_at) = shard.whole_at.get_mut(key) {
            let (verdict, next) = decide(Some(*whole_at))?;
            *whole_at = next;
            return Ok(verdict);
        }
        let (verdict, next) = decide(None)?;
        if shard.whole_at.len() >= self.keys_max {
            // For a key never seen, `next` is one period from now.
            shard.sweep(next.saturating_sub(self.period), self.sweep_every);
        }
        if shard.whole_at.len() < self.keys_max {
            shard.whole_at.insert(key.clone(), next);
            return Ok(verdict);
        }
        let (verdict, next) = decide(shard.overflow)?;
        shard.overflow = Some(next);
        Ok(verdict)
    }
}

impl<K: Eq + Hash + Clone> ShrinkableKeyedStateStore<K> for Bounded<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        for shard in &self.shards {
            locked(shard).whole_at.retain(|_, whole_at| *whole_at > drop_below);
        }
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).whole_at.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

// === impl Shard ===

impl<K: Eq + Hash> Shard<K> {
    fn sweep(&mut self, now: Nanos, every: Nanos) {
        if now >= self.swept_at + every || self.swept_at == Nanos::new(0) {
            self.swept_at = now;
            self.whole_at.retain(|_, whole_at| *whole_at > now);
        }
    }
}

/// A shard whose holder panicked is as good as before: every change of it is one assignment.
fn locked<K>(shard: &Mutex<Shard<K>>) -> MutexGuard<'_, Shard<K>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{mem::size_of, net::IpAddr};

    use super::*;

    impl<K> Bounded<K> {
        /// What the tables hold, used or not: a key, its time, and a byte that says whether it is
        /// there.
        fn bytes(&self) -> usize {
            let capacity = |shard: &Mutex<Shard<K>>| locked(shard).whole_at.capacity();
            let slots: usize = self.shards.iter().map(capacity).sum();
            slots * (size_of::<(K, Nanos)>() + 1)
        }
    }

    #[test]
    fn a_million_addresses_take_no_more_than_those_that_are_remembered() {
        const TRACKED_MAX: usize = 100_000;
        let (period, window) = (Duration::from_millis(5), Duration::from_secs(1));
        let store = Bounded::new(TRACKED_MAX, period, window);
        for n in 0..1_000_000_u32 {
            let address = IpAddr::V4(n.into());
            // All within one moment, so that nobody's allowance is whole again.
            let first =
                |seen: Option<Nanos>| Ok::<_, ()>(((), seen.unwrap_or(Nanos::new(1)) + period));
            store.measure_and_replace(&address, first).unwrap();
        }
        assert!(store.len() <= TRACKED_MAX, "{}", store.len());
        assert!(store.len() > TRACKED_MAX * 9 / 10, "{}", store.len());
        assert!(store.bytes() < 8 << 20, "{}", store.bytes());
    }
}
