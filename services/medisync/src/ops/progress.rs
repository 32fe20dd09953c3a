//! How far a long command is: a bar on a terminal, elsewhere a line now and then. All of it on
//! standard error.

use std::{
    io::{IsTerminal as _, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

const TOLD_EVERY: Duration = Duration::from_secs(3);
const BAR: &str = "{msg} [{wide_bar}] {percent}% {eta}";

/// Shows how far a command is, until it is dropped.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    unit: &'static str,
    told: Instant,
}

// === impl Progress ===

impl Progress {
    pub(crate) fn new(unit: &'static str) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(BAR);
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, unit, told: Instant::now() }
    }

    /// What is being done.
    pub(crate) fn begin(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    #[expect(clippy::print_stderr, reason = "standard output is the command's result")]
    pub(crate) fn show(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        } else if self.told.elapsed() >= TOLD_EVERY {
            eprintln!("{done} of {total} {}", self.unit);
            self.told = Instant::now();
        }
    }

    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
