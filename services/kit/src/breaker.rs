//! A circuit breaker: a peer that keeps failing is left alone for a while.
//!
//! Closed, calls pass; after this many failures in a row it opens and calls fail at once; after a
//! pause one call is let through (half open), which closes or opens it again.

use std::{
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use prometheus::{IntGaugeVec, opts, register_int_gauge_vec};
use tokio::time::Instant;

static STATE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("circuit_breaker_state", "0 closed, 1 half open, 2 open.");
    register_int_gauge_vec!(options, &["peer"]).expect("the name is registered once")
});

/// When to leave a peer alone.
#[derive(Clone, Copy, Debug)]
pub struct BreakerConfig {
    /// This many failures in a row open it.
    pub failures_max: u32,
    /// So long it stays open before one call is let through.
    pub open_for: Duration,
}

/// A breaker before one peer.
pub struct Breaker {
    peer: &'static str,
    config: BreakerConfig,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        failures: u32,
    },
    /// One call is under way since then; it may have been dropped without a verdict.
    HalfOpen {
        since: Instant,
    },
    Open {
        since: Instant,
    },
}

/// The breaker is open: the peer was not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is left alone for a moment, for it keeps failing")]
pub struct Open(pub &'static str);

// === impl Breaker ===

impl Breaker {
    /// A closed breaker.
    pub fn new(peer: &'static str, config: BreakerConfig) -> Self {
        STATE.with_label_values(&[peer]).set(0);
        Self { peer, config, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// May the peer be called? Anyone who is let through says how it went: [`Self::succeeded`] or
    /// [`Self::failed`].
    pub fn admit(&self) -> Result<(), Open> {
        self.change(|state| match state {
            State::Closed { .. } => (state, Ok(())),
            State::Open { since } | State::HalfOpen { since }
                if since.elapsed() >= self.config.open_for =>
            {
                (State::HalfOpen { since: Instant::now() }, Ok(()))
            }
            State::Open { .. } | State::HalfOpen { .. } => (state, Err(Open(self.peer))),
        })
    }

    /// The peer answered.
    pub fn succeeded(&self) {
        self.change(|_| (State::Closed { failures: 0 }, ()));
    }

    /// The peer did not answer.
    pub fn failed(&self) {
        self.change(|state| {
            let open = State::Open { since: Instant::now() };
            let next = match state {
                State::Closed { failures } if failures + 1 < self.config.failures_max => {
                    State::Closed { failures: failures + 1 }
                }
                // It has been open since; a late failure does not prolong that.
                State::Open { since } => State::Open { since },
                State::Closed { .. } | State::HalfOpen { .. } => open,
            };
            (next, ())
        });
    }

    fn change<T>(&self, next: impl FnOnce(State) -> (State, T)) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (changed, told) = next(*state);
        *state = changed;
        STATE.with_label_values(&[self.peer]).set(match changed {
            State::Closed { .. } => 0,
            State::HalfOpen { .. } => 1,
            State::Open { .. } => 2,
        });
        told
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const CONFIG: BreakerConfig =
        BreakerConfig { failures_max: 3, open_for: Duration::from_secs(2) };

    fn opened() -> Breaker {
        let breaker = Breaker::new("test", CONFIG);
        for _ in 0..3 {
            breaker.admit().unwrap();
            breaker.failed();
        }
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it() {
        assert_eq!(opened().admit(), Err(Open("test")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_between_keeps_it_closed() {
        let breaker = Breaker::new("test", CONFIG);
        for _ in 0..10 {
            breaker.failed();
            breaker.failed();
            breaker.succeeded();
        }
        breaker.admit().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_one_call_decides() {
        let breaker = opened();
        advance(CONFIG.open_for).await;
        breaker.admit().unwrap();
        assert!(breaker.admit().is_err(), "only one");
        breaker.failed();
        assert!(breaker.admit().is_err());

        advance(CONFIG.open_for).await;
        breaker.admit().unwrap();
        breaker.succeeded();
        breaker.admit().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_was_dropped_does_not_lock_it() {
        let breaker = opened();
        advance(CONFIG.open_for).await;
        breaker.admit().unwrap();
        advance(CONFIG.open_for).await;
        breaker.admit().unwrap();
    }
}
