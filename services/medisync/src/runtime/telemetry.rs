//! The log: text for people, JSON for machines; on standard error, so that standard output is free.

use std::{
    panic,
    sync::{Mutex, OnceLock, PoisonError},
};

use shared_middleware::log_lines::{self, LogLines};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, filter::filter_fn, fmt, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

use crate::config::{LogFormat, log_filter};

/// The proxy logs what we log by ourselves, and calls a client that goes away an error: only
/// who names one of these hears it.
const QUIET: &str = "pingora_core=off,pingora_proxy=off";
/// What no filter turns off: that the filter was changed.
pub(crate) const CHANGES: &str = "medisync::log_level";
/// The crates whose own lines are written so that no person and no token is in them. Of others we
/// log warnings and errors only, whatever is asked for: at lower levels they log what passes
/// through them.
const OURS: [&str; 10] = [
    "analytics",
    "auth",
    "billing",
    "gateway",
    "kit",
    "medisync",
    "notification",
    "patient",
    "proto",
    "shared_middleware",
];

/// What is logged, and how that is changed.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
static ASKED: Mutex<String> = Mutex::new(String::new());

/// What is logged now, as it was asked for.
pub(crate) fn log_level() -> String {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn filter(level: &str) -> EnvFilter {
    level.clone_into(&mut ASKED.lock().unwrap_or_else(PoisonError::into_inner));
    EnvFilter::new(format!("{QUIET},{level},{CHANGES}=info"))
}

/// Whether a line may be written at all.
fn may_be_told(line: &Metadata<'_>) -> bool {
    let of = line.target().split("::").next().unwrap_or_default();
    OURS.contains(&of) || *line.level() <= Level::WARN
}

/// Logs this from now on.
///
/// # Errors
/// When it is no filter.
pub(crate) fn set_log_level(level: &str) -> Result<(), String> {
    log_filter(level)?;
    if let Some(handle) = FILTER.get() {
        // It fails only when the log is gone.
        let _ = handle.reload(filter(level));
    }
    tracing::info!(target: CHANGES, filter = level, "log level changed");
    Ok(())
}

/// Logs from now on what the setting says, or `RUST_LOG` as it was at the start.
///
/// # Errors
/// When it is no filter.
pub(crate) fn set_asked(level: &str, by_flag: bool) -> Result<(), String> {
    set_log_level(&asked(level, by_flag))
}

/// `RUST_LOG` is stronger than the setting, unless that was given by a flag; empty it is none.
fn asked(level: &str, by_flag: bool) -> String {
    let variable = std::env::var_os(EnvFilter::DEFAULT_ENV).filter(|_| !by_flag);
    let variable = variable.and_then(|asked| asked.into_string().ok());
    variable.filter(|asked| !asked.is_empty()).unwrap_or_else(|| level.to_owned())
}

/// Starts the log.
pub(crate) fn init(format: LogFormat, level: &str, by_flag: bool) {
    // The configuration has been read: both are filters.
    let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt::layer().with_writer(LogLines::default);
    let lines = match format {
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
        LogFormat::Text => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(color && terminal).boxed()
        }
    };
    let (filter, handle) = reload::Layer::new(filter(&asked(level, by_flag)));
    let _ = FILTER.set(handle);
    tracing_subscriber::registry().with(filter).with(filter_fn(may_be_told)).with(lines).init();
    panic::set_hook(Box::new(|panic| {
        // Where, and not what: a panic's text may quote a value, which may be somebody's name.
        let at = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!(at, "a thread panicked");
        log_lines::flush();
    }));
}
