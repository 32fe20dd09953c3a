//! One socket of a part, and its state, which decides whether requests are sent there.
//!
//! An endpoint to which a connection failed is *cooling down* for a moment, since the next health
//! check may be far away. One that fails health checks is *ejected* until a check succeeds.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// An endpoint that could not be connected to is passed over for so long while there are others.
const COOL_DOWN: Duration = Duration::from_secs(2);

/// This many checks without an answer, one after the other, eject an endpoint: one may be lost.
const FAILURES_MAX: u32 = 2;

/// One socket of a part.
pub(super) struct Endpoint {
    pub(super) tls: bool,
    pub(super) socket: SocketAddr,
    /// Checks that failed in a row.
    failures: AtomicU32,
    /// Milliseconds since `began`; 0 when it is not passed over.
    passed_over_until_ms: AtomicU64,
    began: Instant,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Ready,
    /// It says that requests should go elsewhere.
    NotReady,
    /// No answer, or none that says either.
    Failed,
}

/// How good an endpoint is: the better is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EndpointState {
    Ready,
    CoolingDown,
    Ejected,
}

// === impl Endpoint ===

impl Endpoint {
    /// An endpoint that is ready.
    pub(super) fn new(tls: bool, socket: SocketAddr) -> Self {
        Self {
            tls,
            socket,
            failures: AtomicU32::new(0),
            passed_over_until_ms: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    pub(super) fn state(&self) -> EndpointState {
        if self.failures.load(Ordering::Relaxed) >= FAILURES_MAX {
            return EndpointState::Ejected;
        }
        match self.passed_over_until_ms.load(Ordering::Relaxed) {
            until if self.now_ms() < until => EndpointState::CoolingDown,
            _ => EndpointState::Ready,
        }
    }

    /// There was no connection.
    pub(super) fn mark_connect_failure(&self) {
        let until = self.now_ms().saturating_add(millis(COOL_DOWN));
        self.passed_over_until_ms.store(until, Ordering::Relaxed);
    }

    /// Takes a check into account; returns whether the endpoint was ejected or readmitted by it.
    ///
    /// An endpoint is checked by one task, so nothing comes between the reading and the writing.
    pub(super) fn checked(&self, found: Check) -> bool {
        let before = self.failures.load(Ordering::Relaxed);
        let after = match found {
            Check::Ready => 0,
            Check::NotReady => FAILURES_MAX,
            Check::Failed => before.saturating_add(1).min(FAILURES_MAX),
        };
        self.failures.store(after, Ordering::Relaxed);
        if found == Check::Ready {
            self.passed_over_until_ms.store(0, Ordering::Relaxed);
        }
        (before >= FAILURES_MAX) != (after >= FAILURES_MAX)
    }

    fn now_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::new(false, ([127, 0, 0, 1], 1).into())
    }

    #[tokio::test]
    async fn whoever_says_that_it_is_not_ready_is_ejected_at_once() {
        let endpoint = endpoint();
        assert!(endpoint.checked(Check::NotReady));
        assert_eq!(endpoint.state(), EndpointState::Ejected);
        assert!(!endpoint.checked(Check::NotReady) && !endpoint.checked(Check::Failed));
        assert!(endpoint.checked(Check::Ready));
        assert_eq!(endpoint.state(), EndpointState::Ready);
        assert!(!endpoint.checked(Check::Ready));
    }

    #[tokio::test]
    async fn one_check_may_be_lost_but_not_two_in_a_row() {
        let endpoint = endpoint();
        for _ in 0..3 {
            assert!(!endpoint.checked(Check::Failed) && !endpoint.checked(Check::Ready));
        }
        assert!(!endpoint.checked(Check::Failed));
        assert_eq!(endpoint.state(), EndpointState::Ready);
        assert!(endpoint.checked(Check::Failed));
        assert_eq!(endpoint.state(), EndpointState::Ejected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_passed_over_for_a_moment_or_until_a_check_goes_well() {
        let endpoint = endpoint();
        advance(Duration::from_millis(1)).await;
        endpoint.mark_connect_failure();
        assert_eq!(endpoint.state(), EndpointState::CoolingDown);
        advance(COOL_DOWN).await;
        assert_eq!(endpoint.state(), EndpointState::Ready);
        endpoint.mark_connect_failure();
        endpoint.checked(Check::Failed);
        assert_eq!(endpoint.state(), EndpointState::CoolingDown);
        endpoint.checked(Check::Ready);
        assert_eq!(endpoint.state(), EndpointState::Ready);
    }
}
