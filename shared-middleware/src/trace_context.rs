//! W3C Trace Context: which trace a request belongs to (<https://www.w3.org/TR/trace-context/>).

use std::future::Future;

use crate::{clock::random_u128, hex::push_hex, spans};

/// The header, and the gRPC metadata and event header, that carries it.
pub const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// A trace and this process's span in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    /// The caller's span; 0 when there is none.
    parent_id: u64,
    sampled: bool,
}

// === impl TraceContext ===

impl TraceContext {
    /// A new trace.
    pub fn start() -> Self {
        let trace_id = random_u128();
        let sampled = spans::is_sampled(trace_id);
        Self { trace_id, span_id: new_span_id(), parent_id: 0, sampled }
    }

    /// The next span of the trace that the caller named, or of a new one. The caller is of the
    /// mesh: whether the trace is sampled has been decided.
    pub fn continued(traceparent: Option<&str>) -> Self {
        traceparent.and_then(Self::parse).map_or_else(Self::start, |parent| parent.child())
    }

    /// As [`Self::continued`], for a caller from outside: whether the trace is sampled is ours to
    /// say, or anybody could fill the place where traces are kept. So it is not decided by an id
    /// that the caller has chosen, but by lot.
    pub fn admitted(traceparent: Option<&str>) -> Self {
        Self::admitted_if(traceparent, || spans::is_sampled(random_u128()))
    }

    fn admitted_if(traceparent: Option<&str>, lot: impl FnOnce() -> bool) -> Self {
        match traceparent.and_then(Self::parse) {
            Some(parent) => Self { sampled: lot(), ..parent.child() },
            None => Self::start(),
        }
    }

    /// The next span of this trace, below this one.
    pub fn child(&self) -> Self {
        Self { span_id: new_span_id(), parent_id: self.span_id, ..*self }
    }

    /// Reads a `traceparent` of version 00 (or a later one, of which the first fields are the
    /// same).
    pub fn parse(header: &str) -> Option<Self> {
        let mut fields = header.split('-');
        let version = hex(fields.next()?, 2)?;
        let trace_id = hex(fields.next()?, 32)?;
        let span_id = hex(fields.next()?, 16)?;
        let flags = hex(fields.next()?, 2)?;
        let closed = version > 0 || fields.next().is_none();
        if version == 0xff || trace_id == 0 || span_id == 0 || !closed {
            return None;
        }
        let span_id = u64::try_from(span_id).ok()?;
        Some(Self { trace_id, span_id, parent_id: 0, sampled: flags & 1 == 1 })
    }

    /// As the header that a callee continues.
    pub fn traceparent(&self) -> String {
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        push_hex(&mut text, &self.trace_id.to_be_bytes());
        text.push('-');
        push_hex(&mut text, &self.span_id.to_be_bytes());
        text.push_str(if self.sampled { "-01" } else { "-00" });
        text
    }

    /// The trace's id, 32 hex digits: what an error and a log line name.
    pub fn trace_id(&self) -> String {
        let mut text = String::with_capacity(32);
        push_hex(&mut text, &self.trace_id.to_be_bytes());
        text
    }

    /// Whether its spans are kept.
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The ids of the trace, of this span and of the one above it (0: none).
    pub const fn ids(&self) -> (u128, u64, u64) {
        (self.trace_id, self.span_id, self.parent_id)
    }

    /// Runs the future as part of this span: [`current`] answers with it.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// The same for what is done before there is a future to run.
    pub fn scope_sync<R>(self, work: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self, work)
    }
}

/// The span that the running task is part of.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|trace| *trace).ok()
}

/// Runs the future as part of this span, if there is one.
pub async fn scope<F: Future>(trace: Option<TraceContext>, future: F) -> F::Output {
    match trace {
        Some(trace) => trace.scope(future).await,
        None => future.await,
    }
}

fn new_span_id() -> u64 {
    // Both halves of a random UUID, less its six fixed bits: never zero.
    let bits = random_u128();
    u64::try_from((bits >> 64) ^ (bits & u128::from(u64::MAX))).map_or(1, |id| id.max(1))
}

/// Lower-case hex digits, exactly this many, as the specification asks.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == digits && text.bytes().all(lower))
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_callers_trace_is_continued_under_a_new_span() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceContext::continued(Some(header));
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(!trace.traceparent().contains("00f067aa0ba902b7"));
        assert_eq!(trace.ids().2, 0x00f0_67aa_0ba9_02b7);
        assert!(trace.is_sampled());
        assert_eq!(trace.child().ids().2, trace.ids().1);
    }

    #[test]
    fn a_caller_from_outside_does_not_decide_that_its_trace_is_kept() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for drawn in [true, false] {
            // Neither the flag nor a small id decides.
            let trace = TraceContext::admitted_if(Some(header), || drawn);
            assert_eq!(trace.is_sampled(), drawn);
        }
        let trace = TraceContext::admitted(Some(header));
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(!trace.is_sampled() && trace.traceparent().ends_with("-00"));
    }

    #[test]
    fn what_is_no_traceparent_starts_a_new_trace() {
        for header in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(TraceContext::parse(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(trace_id in 1u128.., span_id in 1u64.., sampled: bool) {
            let trace = TraceContext { trace_id, span_id, parent_id: 0, sampled };
            prop_assert_eq!(TraceContext::parse(&trace.traceparent()), Some(trace));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = TraceContext::parse(&text);
        }
    }
}
