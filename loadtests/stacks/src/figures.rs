//! What was measured, as the report's JSON has it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{machine::Machine, usage::Memory};

/// A whole run.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) connections: usize,
    pub(crate) round_s: u64,
    pub(crate) took_s: f64,
    pub(crate) stacks: Vec<Stack>,
}

/// All of one stack.
#[derive(Serialize)]
pub(crate) struct Stack {
    pub(crate) kind: String,
    /// Of the machine, before the stack was started.
    pub(crate) load_average: String,
    /// Of what it runs on.
    pub(crate) versions: Vec<String>,
    /// From nothing to ready, servers included.
    pub(crate) ready_s: f64,
    #[serde(flatten)]
    pub(crate) measured: Measured,
    pub(crate) effect: Effect,
    pub(crate) relay: Relay,
}

/// What the rounds told.
#[derive(Serialize)]
pub(crate) struct Measured {
    pub(crate) memory_idle: Vec<Memory>,
    pub(crate) memory_loaded: Vec<Memory>,
    pub(crate) reads: Vec<Round>,
    pub(crate) pages: Vec<Round>,
    pub(crate) registrations: Vec<Round>,
}

/// Requests of one kind, for some seconds.
#[derive(Serialize)]
pub(crate) struct Round {
    pub(crate) requests: u64,
    pub(crate) per_s: f64,
    pub(crate) took_ms: Spread,
    /// Processor time per request in microseconds, by member: what followed on it included.
    pub(crate) cpu_us: BTreeMap<String, f64>,
    /// The same by member and name of thread, `member/thread`.
    pub(crate) cpu_us_of_threads: BTreeMap<String, f64>,
    /// The same of what sent the requests.
    pub(crate) cpu_us_of_load: f64,
    /// Processors that others kept busy meanwhile.
    pub(crate) others_busy: f64,
    /// What a request made the stores do.
    pub(crate) per_request: BTreeMap<String, f64>,
    /// From the last answer until all that followed had been done.
    pub(crate) quiet_after_s: f64,
}

/// How long something took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// From a registration's 201 until analytics has counted it.
#[derive(Serialize)]
pub(crate) struct Effect {
    pub(crate) registrations: usize,
    pub(crate) per_s: f64,
    pub(crate) took_ms: Spread,
    /// So many were counted before we looked first.
    pub(crate) at_once: usize,
    /// We looked so often, on the average.
    pub(crate) looked_every_ms: f64,
}

/// Events that waited in the outbox, published.
#[derive(Serialize)]
pub(crate) struct Relay {
    pub(crate) events: u64,
    /// From the start of patient's process until the outbox was empty.
    pub(crate) took_s: f64,
    /// While it published.
    pub(crate) per_s: f64,
    /// Processor time per event in microseconds, by member.
    pub(crate) cpu_us: BTreeMap<String, f64>,
    pub(crate) others_busy: f64,
}

// === impl Spread ===

impl Spread {
    /// Of times in microseconds.
    pub(crate) fn of(mut all_us: Vec<u64>) -> Self {
        all_us.sort_unstable();
        let at = |percent: usize| {
            let place = (all_us.len() * percent).div_ceil(100).saturating_sub(1);
            all_us.get(place).map_or(0.0, |us| *us as f64 / 1000.0)
        };
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// The one in the middle.
pub(crate) fn median(all: impl IntoIterator<Item = f64>) -> f64 {
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_times_that_were_measured() {
        let spread = Spread::of((1..=1000).rev().map(|ms| ms * 1000).collect());
        assert_eq!((spread.p50, spread.p99, spread.max), (500.0, 990.0, 1000.0));
        let one = Spread::of(vec![7000]);
        assert_eq!((one.p50, one.p99, one.max), (7.0, 7.0, 7.0));
        assert_eq!(Spread::of(Vec::new()).max, 0.0);
    }

    #[test]
    fn the_median_is_a_value_that_was_measured() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.0);
        assert_eq!(median([]), 0.0);
    }
}
