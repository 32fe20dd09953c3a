//! What `fuzz` calls: how an event is read.

use kit::{consumer::HandlerError, log::Record};
use shared_middleware::clock::Clock;

use crate::events;

/// Whether the record can be counted: the version and the day that it would be counted with.
///
/// # Errors
/// Why it cannot.
pub fn event(record: &Record) -> Result<(i64, jiff::civil::Date), HandlerError> {
    events::decode(record, &Clock::system()).map(|event| (event.version, event.day))
}
