//! What this process takes of its machine. It is exported as metrics, by the names that the client
//! libraries of Prometheus give them, so that dashboards made for others fit.
//!
//! Linux has all of it: processor time by the process's own clock, which counts nanoseconds, the
//! rest in `/proc/self`. What cannot be read keeps the value that it had.

use std::{
    fs, io,
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use prometheus::{Counter, Gauge, IntGauge, register_counter, register_gauge, register_int_gauge};
use rustix::time::{ClockId, clock_gettime};
use shared_middleware::{clock::Clock, descriptors};

/// All parts together hold some 130 before the first client comes.
const DESCRIPTORS_LEAST: u64 = 256;

/// The metrics, registered.
pub(crate) struct ProcessMetrics {
    cpu_seconds: Counter,
    open_fds: IntGauge,
    max_fds: IntGauge,
    virtual_bytes: IntGauge,
    resident_bytes: IntGauge,
    threads: IntGauge,
    /// One looks at a time, or what was used between two would be added twice.
    look: Mutex<()>,
}

// === impl ProcessMetrics ===

impl ProcessMetrics {
    /// Registers them, once in the life of the process; it begins now.
    pub(crate) fn register(clock: &Clock) -> Self {
        let gauge = |name: &str, help: &str| {
            register_int_gauge!(name, help).expect("the name is registered once")
        };
        let started: Gauge = register_gauge!(
            "process_start_time_seconds",
            "When this process started, in seconds since 1970."
        )
        .expect("the name is registered once");
        started.set(clock.now().as_millisecond() as f64 / 1000.0);
        Self {
            cpu_seconds: register_counter!(
                "process_cpu_seconds_total",
                "Processor time, user and system, of all threads."
            )
            .expect("the name is registered once"),
            open_fds: gauge("process_open_fds", "File descriptors that are open."),
            max_fds: gauge("process_max_fds", "File descriptors that may be open at once."),
            virtual_bytes: gauge("process_virtual_memory_bytes", "Addresses that are mapped."),
            resident_bytes: gauge("process_resident_memory_bytes", "Memory that is held."),
            threads: gauge("process_threads", "Threads."),
            look: Mutex::default(),
        }
    }

    /// Brings them up to now.
    pub(crate) fn show(&self) {
        let _look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        self.cpu_seconds.inc_by((cpu_seconds() - self.cpu_seconds.get()).max(0.0));
        let most = i64::try_from(descriptors::limit()).unwrap_or(i64::MAX);
        self.max_fds.set(most);
        match open_fds() {
            Ok(open) => self.open_fds.set(open),
            // To count them takes one.
            Err(error) if descriptors::is_exhausted(&error) => self.open_fds.set(most),
            Err(_) => {}
        }
        let Ok(status) = fs::read_to_string("/proc/self/status") else { return };
        let shown = [("VmSize", &self.virtual_bytes, 1024), ("VmRSS", &self.resident_bytes, 1024)];
        for (name, gauge, unit) in shown.into_iter().chain([("Threads", &self.threads, 1)]) {
            if let Some(number) = field(&status, name) {
                gauge.set(number.saturating_mul(unit));
            }
        }
    }
}

/// Raises the limit of open files as far as the system allows.
pub(crate) fn enough_descriptors() -> anyhow::Result<()> {
    let limit = descriptors::raise_limit().context("cannot raise the limit of open files")?;
    if limit < DESCRIPTORS_LEAST {
        anyhow::bail!(
            "only {limit} files may be open at once, and {DESCRIPTORS_LEAST} are needed at least: \
             raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit of docker)"
        );
    }
    Ok(())
}

/// The processor time of all threads so far, those that have ended included.
fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// The one by which they are counted is closed again.
fn open_fds() -> io::Result<i64> {
    let open = fs::read_dir("/proc/self/fd")?.count().saturating_sub(1);
    Ok(i64::try_from(open).unwrap_or(i64::MAX))
}

/// A number of `/proc/self/status`, whose lines are `Name:   number` and perhaps ` kB`.
fn field(status: &str, name: &str) -> Option<i64> {
    let mut values = status.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    values.next()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_has_fractions_and_grows_while_something_is_done() {
        let before = cpu_seconds();
        let mut n = 0_u64;
        while cpu_seconds() - before < 0.002 {
            n = std::hint::black_box(n.wrapping_mul(31).wrapping_add(7));
        }
        let used = cpu_seconds() - before;
        assert!((0.002..1.0).contains(&used), "{used}");
    }

    #[test]
    fn fields_of_the_status_are_found_by_their_whole_name() {
        let status = "Name:\tx\nVmSizeX:\t9 kB\nVmSize:\t  1234 kB\nThreads:\t8\nVmRSS:\tnone\n";
        assert_eq!(field(status, "VmSize"), Some(1234));
        assert_eq!(field(status, "Threads"), Some(8));
        assert_eq!((field(status, "VmRSS"), field(status, "Vm")), (None, None));
    }

    #[test]
    fn descriptors_that_are_open_are_counted() {
        const OPENED: usize = 200;
        let open = |_| fs::File::open("/proc/self/status").unwrap();
        let files: Vec<_> = (0..OPENED).map(open).collect();
        assert!(open_fds().unwrap() >= i64::try_from(files.len()).unwrap());
    }
}
