//! The log: text for people, JSON for machines; on standard error, so that standard output is free.

use std::{panic, sync::OnceLock};

use shared_middleware::log_lines::{self, LogLines};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, fmt, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

use crate::config::{LogFormat, log_filter};

/// The proxy tells us what we log by ourselves, and calls a client that goes away an error; of the
/// others we want to hear what is wrong only. At lower levels they tell what passes through them,
/// people and tokens: so `RUST_LOG=trace` is about our own crates, too, and only who names one of
/// these hears it.
const QUIET: &str =
    "pingora_core=off,pingora_proxy=off,h2=warn,hyper=warn,rustls=warn,refinery_core=warn";

/// What is logged, and how that is changed.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// What is logged now, as it was asked for.
pub(crate) fn log_level() -> String {
    let told = FILTER.get().and_then(|filter| filter.with_current(ToString::to_string).ok());
    told.unwrap_or_default()
}

/// Logs this from now on.
///
/// # Errors
/// When it is no filter.
pub(crate) fn set_log_level(level: &str) -> Result<(), String> {
    log_filter(level)?;
    let filter = EnvFilter::new(format!("{QUIET},{level}"));
    if let Some(handle) = FILTER.get() {
        // It fails only when the log is gone.
        let _ = handle.reload(filter);
    }
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
    let filter = EnvFilter::new(format!("{QUIET},{}", asked(level, by_flag)));
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
    let (filter, handle) = reload::Layer::new(filter);
    let _ = FILTER.set(handle);
    tracing_subscriber::registry().with(filter).with(lines).init();
    panic::set_hook(Box::new(|panic| {
        // Where, and not what: a panic's text may quote a value, which may be somebody's name.
        let at = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!(at, "a thread panicked");
        log_lines::flush();
    }));
}
