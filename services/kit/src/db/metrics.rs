//! What is counted of a store: its transactions, and what failed in them.

use std::{sync::LazyLock, time::Duration};

use jiff::SignedDuration;
use prometheus::{GaugeVec, Histogram, HistogramVec, IntCounterVec, opts, register_gauge_vec};
use shared_middleware::metrics::{counter, histogram};

use super::DbError;

static TRANSACTIONS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let help = "Time of a transaction, from asking for a connection until it is committed.";
    histogram("db_transaction_duration_seconds", help, &["service", "mode"])
});
static ERRORS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "What failed in a store, other than what a constraint is there to refuse.";
    counter("db_errors_total", help, &["service", "kind"])
});

static CLOCK_SKEW: LazyLock<GaugeVec> = LazyLock::new(|| {
    let help = "How far this machine's clock is ahead of the store's, in seconds.";
    let options = opts!("store_clock_skew_seconds", help);
    register_gauge_vec!(options, &["service"]).expect("the name is registered once")
});

/// One store's.
pub(super) struct Metrics {
    owner: &'static str,
    reads: Histogram,
    writes: Histogram,
}

// === impl Metrics ===

impl Metrics {
    pub(super) fn of(owner: &'static str) -> Self {
        let mode = |mode| TRANSACTIONS.with_label_values(&[owner, mode]);
        for kind in ["unavailable", "statement"] {
            // There from the start, so that a dashboard finds it.
            ERRORS.with_label_values(&[owner, kind]);
        }
        Self { owner, reads: mode("read"), writes: mode("write") }
    }

    pub(super) fn read(&self, took: Duration) {
        self.reads.observe(took.as_secs_f64());
    }

    pub(super) fn write(&self, took: Duration) {
        self.writes.observe(took.as_secs_f64());
    }

    /// How far this machine's clock is ahead of the store's.
    pub(super) fn clock_skew(&self, skew: SignedDuration) {
        CLOCK_SKEW.with_label_values(&[self.owner]).set(skew.as_secs_f64());
    }

    /// Counts a failure, unless it is what a constraint is there for.
    pub(super) fn failed(&self, error: &DbError) {
        let kind = match error {
            DbError::Unique(_) => return,
            DbError::Unavailable(_) => "unavailable",
            DbError::Statement(_)
            | DbError::Column(_)
            | DbError::Corrupt(_)
            | DbError::AnotherAuditKey
            | DbError::Absent(_)
            | DbError::Migrate(_) => "statement",
        };
        ERRORS.with_label_values(&[self.owner, kind]).inc();
    }
}
