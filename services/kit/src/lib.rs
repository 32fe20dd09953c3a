//! What each service needs and none owns. Knows no domain.
//!
//! - [`service`]: what a service is made of, and what it is given.
//! - [`db`]: its store, on SQLite or PostgreSQL.
//! - [`files`]: how keys and other files of ours are written.
//! - [`batch`]: work that is done in groups, such as commits.
//! - [`lease`]: what one of several replicas does at a time.
//! - [`audit`]: who did what to which record, in a chain that shows what was changed.
//! - [`outbox`]: events that commit with the rows that cause them, and the relay that publishes
//!   them.
//! - [`log`]: where events are kept in order.
//! - [`consumer`] and [`position`]: how a service reads them, once in effect.
//! - [`dead_letter`]: what becomes of events that cannot be handled.
//! - [`http`], [`fields`] and [`page`]: what handlers read of a request, and how lists are paged.
//! - [`email`]: addresses, one type for all.
//! - [`client`] and [`breaker`]: how a service calls another.
//! - `testing`: stores for tests, on every engine, and what tests ask of documents.

pub mod service;

pub mod batch;
pub mod db;
pub mod files;
mod lag;
pub mod lease;

pub mod audit;

pub mod outbox;

pub mod log;

pub mod consumer;
pub mod dead_letter;
pub mod position;

pub mod task;

pub mod email;
pub mod fields;
pub mod http;
pub mod page;

pub mod breaker;
pub mod client;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

#[cfg(test)]
mod consumer_tests;
#[cfg(test)]
mod effect_tests;
#[cfg(test)]
mod outbox_tests;
