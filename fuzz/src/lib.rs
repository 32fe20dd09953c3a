//! What must hold of whatever bytes others send: one function for each reader of such bytes.
//!
//! A function takes the bytes and panics when something does not hold. `targets/` hands them what
//! libFuzzer makes up; `tests/corpus.rs` hands them what was found before, with every test run.

mod reads_cursor;
mod reads_event;
mod reads_request;
mod reads_settings;
mod reads_token;

pub use self::{
    reads_cursor::cursor,
    reads_event::event,
    reads_request::{head, path},
    reads_settings::settings,
    reads_token::token,
};

/// A target: its name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, by the name of its corpus.
pub const TARGETS: [Target; 6] = [
    ("cursor", cursor),
    ("event", event),
    ("head", head),
    ("path", path),
    ("settings", settings),
    ("token", token),
];
