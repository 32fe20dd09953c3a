//! Events: both consumers read what anybody publishes.

use kit::{consumer::HandlerError, log::Record};

/// A record's value: counted and told of, or put aside for a reason that names nobody.
pub fn event(payload: &[u8]) {
    let record = Record { key: String::new(), headers: Vec::new(), payload: payload.to_vec() };
    match analytics::fuzzing::event(&record) {
        Ok((version, day)) => assert!(version >= 1 && (-9999..=9999).contains(&day.year())),
        Err(error) => for_ever(&error),
    }
    match notification::fuzzing::event(&record) {
        Ok(recipient) => assert!(recipient.is_some(), "there is nobody to be told"),
        Err(error) => for_ever(&error),
    }
}

/// What cannot be read will not be read later: to try again would hold up all that follows. Its
/// reason is one of ours, and quotes nothing.
fn for_ever(error: &HandlerError) {
    let HandlerError::Poison(reason) = error else { panic!("it would be tried again") };
    assert!(reason.starts_with("the event"), "{reason}");
}
