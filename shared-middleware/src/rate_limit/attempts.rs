//! How many attempts somebody has left, of which those that fail count and those that succeed do
//! not, in bounded memory.
//!
//! An attempt under way holds one of the allowance until it has ended: many at once are no way to
//! fail more often. Anyone who has none left but those that others at the same key hold waits for
//! them, for a while: most of them succeed where people share an address.

use std::{
    collections::HashMap,
    hash::Hash,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::clock::{Clock, MonotonicClock, Reference as _};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{Count, RateLimit, seconds};

/// So long an attempt waits for others at the same key that are under way.
const WAITS_MAX: Duration = Duration::from_secs(5);

/// A limit of failures, by key.
pub struct Attempts<K: Eq + Hash + Clone, C: Clock = MonotonicClock>(Arc<Limit<K, C>>);

/// One that is under way. Dropped, it has failed.
pub struct Attempt<K: Eq + Hash + Clone, C: Clock = MonotonicClock> {
    limit: Arc<Limit<K, C>>,
    /// None of the keys for which there was no room.
    key: Option<K>,
    ended: bool,
}

struct Limit<K, C: Clock> {
    burst: u32,
    /// The time that one failure takes to be forgotten.
    period: Duration,
    /// The keys are swept at most so often, since a sweep looks at all of them.
    sweep_every: Duration,
    tracked_max: usize,
    clock: C,
    start: C::Instant,
    keys: Mutex<Keys<K>>,
    ended: Notify,
}

struct Keys<K> {
    states: HashMap<K, State>,
    /// Of all the keys for which there was no room.
    overflow: State,
    swept_at: Option<Duration>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// When every failure is forgotten.
    whole_at: Duration,
    under_way: u32,
}

// === impl Attempts ===

impl<K: Eq + Hash + Clone, C: Clock> Attempts<K, C> {
    /// This many failures for each key; this many keys are distinguished, and the rest share one
    /// allowance.
    pub fn new(limit: RateLimit, tracked_max: usize, clock: C) -> Self {
        let keys = Keys { states: HashMap::new(), overflow: State::default(), swept_at: None };
        Self(Arc::new(Limit {
            burst: limit.burst.get(),
            period: (limit.per / limit.requests.get()).max(Duration::from_nanos(1)),
            sweep_every: limit.per,
            tracked_max,
            start: clock.now(),
            clock,
            keys: Mutex::new(keys),
            ended: Notify::new(),
        }))
    }

    /// Begins an attempt, if there may be one.
    ///
    /// # Errors
    /// When to come back.
    pub async fn begin(&self, key: &K) -> Result<Attempt<K, C>, Count> {
        let until = Instant::now() + WAITS_MAX;
        let mut ended = pin!(self.0.ended.notified());
        loop {
            // Before the keys are looked at, so that no end is missed in between.
            ended.as_mut().enable();
            let refused = match self.0.take(key) {
                Ok(key) => {
                    return Ok(Attempt { limit: Arc::clone(&self.0), key, ended: false });
                }
                Err(refused) => refused,
            };
            let Taken::UnderWay(count) = refused else { return Err(refused.count()) };
            if timeout_at(until, ended.as_mut()).await.is_err() {
                return Err(count);
            }
            ended.set(self.0.ended.notified());
        }
    }
}

// === impl Attempt ===

impl<K: Eq + Hash + Clone, C: Clock> Attempt<K, C> {
    /// It succeeded, or nothing was found out: it does not count. What is left.
    pub fn uncounted(mut self) -> Count {
        self.ended = true;
        self.limit.end(self.key.as_ref(), false)
    }

    /// It failed. What is left.
    pub fn failed(mut self) -> Count {
        self.ended = true;
        self.limit.end(self.key.as_ref(), true)
    }
}

impl<K: Eq + Hash + Clone, C: Clock> Drop for Attempt<K, C> {
    fn drop(&mut self) {
        if !self.ended {
            self.limit.end(self.key.as_ref(), true);
        }
    }
}

// === impl Limit ===

/// Why there is none left.
enum Taken {
    /// By failures.
    Failed(Count),
    /// By attempts that have not ended.
    UnderWay(Count),
}

impl Taken {
    const fn count(&self) -> Count {
        match self {
            Self::Failed(count) | Self::UnderWay(count) => *count,
        }
    }
}

impl<K: Eq + Hash + Clone, C: Clock> Limit<K, C> {
    /// Holds one of the allowance; under which key, if there was room for it.
    fn take(&self, key: &K) -> Result<Option<K>, Taken> {
        let now = self.now();
        let mut keys = self.locked();
        if !keys.states.contains_key(key) && keys.states.len() >= self.tracked_max {
            keys.sweep(now, self.sweep_every);
        }
        let known = keys.states.contains_key(key) || keys.states.len() < self.tracked_max;
        let before = if known { keys.states.get(key).copied() } else { Some(keys.overflow) };
        let mut state = before.unwrap_or_default();
        let left = self.left(&state, now);
        if left <= state.under_way {
            let count = |reset_s| Count { remaining: 0, reset_s, allowed: false };
            return Err(match left {
                0 => Taken::Failed(count(self.until_next_s(&state, now))),
                _ => Taken::UnderWay(count(1)),
            });
        }
        state.under_way += 1;
        if known {
            keys.states.insert(key.clone(), state);
            return Ok(Some(key.clone()));
        }
        keys.overflow = state;
        Ok(None)
    }

    fn end(&self, key: Option<&K>, counts: bool) -> Count {
        let now = self.now();
        let mut keys = self.locked();
        let before = key.map_or(Some(keys.overflow), |key| keys.states.get(key).copied());
        let mut state = before.unwrap_or_default();
        state.under_way = state.under_way.saturating_sub(1);
        if counts {
            state.whole_at = state.whole_at.max(now).saturating_add(self.period);
        }
        match key {
            // As one that was never seen.
            Some(key) if state.under_way == 0 && state.whole_at <= now => {
                keys.states.remove(key);
            }
            Some(key) => drop(keys.states.insert(key.clone(), state)),
            None => keys.overflow = state,
        }
        drop(keys);
        self.ended.notify_waiters();
        Count {
            remaining: self.left(&state, now).saturating_sub(state.under_way),
            reset_s: seconds(state.whole_at.saturating_sub(now)),
            allowed: true,
        }
    }

    /// How many may fail from now on.
    fn left(&self, state: &State, now: Duration) -> u32 {
        let used = state.whole_at.saturating_sub(now).as_nanos();
        let used = used.div_ceil(self.period.as_nanos().max(1));
        self.burst.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX))
    }

    fn until_next_s(&self, state: &State, now: Duration) -> u64 {
        let others = self.period.saturating_mul(self.burst - 1);
        seconds(state.whole_at.saturating_sub(now).saturating_sub(others))
    }

    fn now(&self) -> Duration {
        self.clock.now().duration_since(self.start).into()
    }

    /// Keys whose holder panicked are as good as before: every change of one is one assignment.
    fn locked(&self) -> MutexGuard<'_, Keys<K>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Keys ===

impl<K: Eq + Hash> Keys<K> {
    fn sweep(&mut self, now: Duration, every: Duration) {
        if self.swept_at.is_none_or(|at| now >= at.saturating_add(every)) {
            self.swept_at = Some(now);
            self.states.retain(|_, state| state.under_way > 0 || state.whole_at > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::*;

    type Few = Attempts<u32, FakeRelativeClock>;

    fn attempts_of(limit: RateLimit, tracked_max: usize) -> (Few, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Attempts::new(limit, tracked_max, clock.clone()), clock)
    }

    /// This many failures, one after the other, before one is refused.
    async fn failures(attempts: &Few, key: u32) -> usize {
        let mut failed = 0;
        while let Ok(attempt) = attempts.begin(&key).await {
            attempt.failed();
            failed += 1;
        }
        failed
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_succeed_cost_nothing_and_those_that_fail_do() {
        let (attempts, clock) = attempts_of(RateLimit::every(10, 60), 10);
        for _ in 0..100 {
            let count = attempts.begin(&1).await.ok().unwrap().uncounted();
            assert_eq!((count.remaining, count.reset_s), (10, 1));
        }
        let count = attempts.begin(&1).await.ok().unwrap().failed();
        assert_eq!((count.remaining, count.reset_s), (9, 6));
        assert_eq!(failures(&attempts, 1).await, 9);
        let refused = attempts.begin(&1).await.err().unwrap();
        assert_eq!((refused.allowed, refused.reset_s), (false, 6));
        attempts.begin(&2).await.ok().unwrap().uncounted();
        clock.advance(Duration::from_secs(6));
        assert_eq!(failures(&attempts, 1).await, 1);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(failures(&attempts, 1).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn success_gives_back_no_failure() {
        let (attempts, _) = attempts_of(RateLimit::every(3, 3600), 10);
        let mut failed = 0;
        while let Ok(attempt) = attempts.begin(&1).await {
            attempt.failed();
            failed += 1;
            if let Ok(attempt) = attempts.begin(&1).await {
                attempt.uncounted();
            }
        }
        assert_eq!(failed, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn many_at_once_fail_no_more_often() {
        let (attempts, _) = attempts_of(RateLimit::every(10, 3600), 10);
        let mut under_way = Vec::new();
        while let Ok(attempt) = attempts.begin(&1).await {
            under_way.push(attempt);
        }
        assert_eq!(under_way.len(), 10);
        drop(under_way);
        assert_eq!(failures(&attempts, 1).await, 0, "what was dropped has failed");
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_all_of_them_under_way_waits_and_passes_when_one_succeeds() {
        let (attempts, _) = attempts_of(RateLimit::every(2, 60), 10);
        let mut under_way = Vec::new();
        for _ in 0..2 {
            under_way.push(attempts.begin(&1).await.ok().unwrap());
        }
        let since = Instant::now();
        let refused = attempts.begin(&1).await.err().unwrap();
        assert_eq!((refused.reset_s, since.elapsed()), (1, WAITS_MAX));
        let later = attempts.begin(&1);
        let first = async { assert!(under_way.pop().unwrap().uncounted().allowed) };
        let (later, ()) = tokio::join!(later, first);
        assert!(later.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_remembered_while_they_matter_and_no_more_than_allowed() {
        let (attempts, clock) = attempts_of(RateLimit::every(3, 60), 64);
        for key in 0..1000 {
            attempts.begin(&key).await.ok().unwrap().uncounted();
        }
        assert_eq!(attempts.0.locked().states.len(), 0);
        let mut failed = 0;
        for key in 0..1000 {
            failed += usize::from(attempts.begin(&key).await.map(Attempt::failed).is_ok());
        }
        assert_eq!(failed, 64 + 3, "those for which there is no room share one allowance");
        assert_eq!(attempts.0.locked().states.len(), 64);
        clock.advance(Duration::from_secs(61));
        assert_eq!(failures(&attempts, 5000).await, 3);
        assert_eq!(attempts.0.locked().states.len(), 1);
    }

    proptest! {
        #[test]
        fn the_largest_limits_are_computed_without_overflow(
            requests in 1u32..,
            s in 1u64..=86_400,
            burst in 1u32..,
        ) {
            let burst = std::num::NonZeroU32::new(burst).unwrap();
            let limit = RateLimit::every(requests, s).with_burst(burst);
            let (attempts, clock) = attempts_of(limit, 10);
            for _ in 0..3 {
                let key = attempts.0.take(&1).ok();
                prop_assume!(key.is_some());
                let count = attempts.0.end(Some(&1), true);
                prop_assert!(count.reset_s >= 1);
                clock.advance(Duration::from_secs(3600));
            }
        }
    }
}
