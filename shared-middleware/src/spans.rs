//! Spans that have ended: what was done for a request, and how long it took, for anyone who follows
//! its trace through the mesh.
//!
//! A hop emits its span when it ends, and only when the trace is sampled; who keeps them is the
//! process's business ([`send_to`]). With nobody to keep them no trace is sampled, and a span
//! costs a comparison.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{identity::Part, trace_context::TraceContext};

/// What a hop was to the one before it (OpenTelemetry's span kinds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Server,
    Client,
    Producer,
    Consumer,
}

/// The value of an attribute. No person's name, address or id is one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Value {
    Text(&'static str),
    Number(i64),
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct Span {
    /// Whose work it was.
    pub service: Part,
    /// By route or method, never by path: `GET /patients/{id}`.
    pub name: String,
    /// What it was to the hop before it.
    pub kind: Kind,
    /// Whether it failed by our fault.
    pub failed: bool,
    /// What else is known, by the names of OpenTelemetry's semantic conventions.
    pub attributes: Vec<(&'static str, Value)>,
}

/// Keeps spans. It must neither block nor fail.
pub trait Sink: Send + Sync + 'static {
    /// Takes a span that ended just now and took so long.
    fn take(&self, trace: TraceContext, took: Duration, span: Span);
}

static SINK: OnceLock<Box<dyn Sink>> = OnceLock::new();
/// Of a trace's id the lower 63 bits, when sampled, are below this.
static SAMPLED_BELOW: AtomicU64 = AtomicU64::new(0);

/// Sends this process's spans there, of so great a share of the traces that begin here (0 to 1).
/// To be called once; a further sink is not used.
pub fn send_to(sink: impl Sink, share: f64) {
    if SINK.set(Box::new(sink)).is_ok() {
        // As OpenTelemetry's TraceIdRatioBased: all who sample by the same share agree.
        let below = share.clamp(0.0, 1.0) * (1u64 << 63) as f64;
        SAMPLED_BELOW.store(below as u64, Ordering::Relaxed);
    }
}

/// Whether a trace that begins here is one of those that are kept.
pub(crate) fn is_sampled(trace_id: u128) -> bool {
    let bits = u64::try_from(trace_id & u128::from(u64::MAX >> 1)).unwrap_or(u64::MAX);
    bits < SAMPLED_BELOW.load(Ordering::Relaxed)
}

/// Emits a span that has just ended, if its trace is kept; else nothing is described.
pub fn ended(trace: &TraceContext, took: Duration, describe: impl FnOnce() -> Span) {
    if trace.is_sampled()
        && let Some(sink) = SINK.get()
    {
        sink.take(*trace, took, describe());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_anybody_to_keep_spans_no_trace_is_sampled() {
        assert!(!is_sampled(0) && !is_sampled(u128::MAX));
        assert!(!TraceContext::start().is_sampled());
    }
}
