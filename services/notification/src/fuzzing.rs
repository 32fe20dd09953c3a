//! What `fuzz` calls: how an event is read.

use kit::{consumer::HandlerError, log::Record};

use crate::events;

/// Whether the record has a recipient: name and email.
///
/// # Errors
/// Why nobody can.
pub fn event(record: &Record) -> Result<Option<(String, String)>, HandlerError> {
    events::decode(record)?;
    Ok(events::recipient(&record.payload).map(|to| (to.name, to.email)))
}
