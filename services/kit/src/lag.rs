//! How far a consumer group is behind, for the metrics.

use std::{collections::BTreeSet, sync::LazyLock};

use prometheus::{IntGaugeVec, opts, register_int_gauge_vec};

use crate::log::Progress;

static LAG: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("event_consumer_lag", "Events published and not yet consumed.");
    register_int_gauge_vec!(options, &["group", "topic", "partition"])
        .expect("the name is registered once")
});

/// The partitions whose lag is shown: those that this member has.
#[derive(Default)]
pub(crate) struct Lags(BTreeSet<i64>);

// === impl Lags ===

impl Lags {
    pub(crate) fn show(&mut self, group: &str, topic: &str, progress: &[Progress]) {
        let here: BTreeSet<i64> = progress.iter().map(|of| of.partition).collect();
        for gone in self.0.difference(&here) {
            // Another member shows it from now on.
            let _ = LAG.remove_label_values(&[group, topic, &gone.to_string()]);
        }
        for of in progress {
            LAG.with_label_values(&[group, topic, &of.partition.to_string()]).set(of.lag());
        }
        self.0 = here;
    }
}
