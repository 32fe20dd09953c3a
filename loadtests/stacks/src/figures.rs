//! What was measured, as the report's JSON has it.

use std::collections::BTreeMap;

use measure::{Machine, Memory, Spread};
use serde::Serialize;

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

/// From a registration's 201 until analytics has counted it.
#[derive(Serialize)]
pub(crate) struct Effect {
    pub(crate) registrations: usize,
    pub(crate) per_s: f64,
    pub(crate) took_ms: Spread,
    /// This many were counted before we looked first.
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
