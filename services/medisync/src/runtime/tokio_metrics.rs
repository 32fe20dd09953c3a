//! What the asynchronous runtimes of this process do, as metrics: a runtime that is always busy is
//! the first thing to look for when everything is slow and nothing fails.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use prometheus::{CounterVec, IntGaugeVec, opts, register_counter_vec, register_int_gauge_vec};
use tokio::runtime::Handle;

static WORKERS: LazyLock<IntGaugeVec> =
    LazyLock::new(|| gauge("tokio_workers", "Threads that run tasks."));
static TASKS: LazyLock<IntGaugeVec> =
    LazyLock::new(|| gauge("tokio_tasks", "Tasks that have begun and not ended."));
static WAITING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge("tokio_global_queue_depth", "Tasks that could run and that no thread has taken yet.")
});
static BUSY: LazyLock<CounterVec> = LazyLock::new(|| {
    let options =
        opts!("tokio_busy_seconds_total", "Time in which threads ran tasks, all together.");
    register_counter_vec!(options, &["runtime"]).expect("the name is registered once")
});

/// The runtimes of this process, by name; of one name there may be several.
#[derive(Default)]
pub(crate) struct Runtimes(Mutex<Vec<(&'static str, Vec<Handle>)>>);

// === impl Runtimes ===

impl Runtimes {
    /// Adds those of one name.
    pub(crate) fn add(&self, name: &'static str, runtimes: Vec<Handle>) {
        self.all().push((name, runtimes));
    }

    /// Brings the metrics up to now.
    pub(crate) fn show(&self) {
        for (name, runtimes) in &*self.all() {
            let metrics = || runtimes.iter().map(Handle::metrics);
            let sum = |of: fn(&tokio::runtime::RuntimeMetrics) -> usize| {
                metrics().map(|runtime| i64::try_from(of(&runtime)).unwrap_or(i64::MAX)).sum()
            };
            WORKERS.with_label_values(&[name]).set(sum(|it| it.num_workers()));
            TASKS.with_label_values(&[name]).set(sum(|it| it.num_alive_tasks()));
            WAITING.with_label_values(&[name]).set(sum(|it| it.global_queue_depth()));
            let busy = |runtime: tokio::runtime::RuntimeMetrics| {
                let workers = 0..runtime.num_workers();
                workers.map(|at| runtime.worker_total_busy_duration(at).as_secs_f64()).sum::<f64>()
            };
            let (shown, now) = (BUSY.with_label_values(&[name]), metrics().map(busy).sum::<f64>());
            shown.inc_by((now - shown.get()).max(0.0));
        }
    }

    /// One looks at a time, or what was between two would be added twice.
    fn all(&self) -> MutexGuard<'_, Vec<(&'static str, Vec<Handle>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gauge(name: &str, help: &str) -> IntGaugeVec {
    register_int_gauge_vec!(opts!(name, help), &["runtime"]).expect("the name is registered once")
}
