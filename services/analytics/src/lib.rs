//! The analytics service: how many patients there are, how old they are, how it came about.
//!
//! An event passes through the modules in this order, a request from the last to the first:
//!
//! - `events` decodes what the topic says, and refuses what cannot be counted.
//! - `consumer` takes it into the transaction that also keeps the position in the topic.
//! - `domain` decides what an event changes, and which age band a year of birth is in; `unseen` is
//!   what of a patient may still come, `changes` what a batch comes to. They are pure.
//! - `store` keeps the counters. Only it knows SQL.
//! - `replay` builds the counters once more from the log, while the old ones are served.
//! - `api` answers with the summary. Only it knows a status code.
//!
//! Consumes the topic `patient` as the group `analytics-service`. Publishes nothing, calls nobody.
//!
//! Of a patient it keeps the id, the newest version, which older ones did not come yet, and the
//! year of birth: events carry no more than the year, which is the least that counts age bands. So
//! an age is the one that is reached in the calendar year of the question. A deleted patient's year
//! is erased; id and version stay as a tombstone.
//!
//! **Invariant:** one set of counters, a projection, is served; every event counts in it once, in
//! whatever order a patient's events come. A replay builds another and takes over in one
//! transaction with the group's positions, so that no event is missed and none counts twice. What
//! is not served any more, or never was, is swept: a year of birth is kept in it no longer than
//! that takes.
//!
//! **Invariant:** the patients in the age bands add up to the registered patients, since both are
//! counted from one table in one statement.

mod events;

mod consumer;

mod domain;

mod changes;

mod unseen;

mod store;

mod replay;

mod api;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(test)]
mod tests;

#[cfg(test)]
mod replay_tests;

use std::sync::Arc;

use kit::{
    consumer::Consumer,
    db::{DbConfig, DbError},
    dead_letter::DeadLetters,
    log::EventLog,
    service::{Kit, MachineClock, Service},
};
use proto::patient_events::TOPIC;
use shared_middleware::identity::Part;

pub use crate::{
    api::{RULES, openapi},
    consumer::GROUP,
    replay::{Replay, ReplayError, ReplayProgress, Replayed},
};
use crate::{consumer::Projection, store::Store};

/// Every setting of this service.
#[derive(Clone)]
pub struct Config {
    /// Where the counters are.
    pub database: DbConfig,
}

/// The events that this service gave up; for operators, also while it runs elsewhere.
///
/// # Errors
/// When the store cannot be opened or migrated.
pub async fn dead_letters(
    config: &Config,
    log: Arc<dyn EventLog>,
    clock: &MachineClock,
) -> Result<DeadLetters, DbError> {
    let store = Store::open(&config.database).await?;
    Ok(DeadLetters::new(GROUP, store.db(), log, Arc::new(Projection(clock.of_store(&store.db())))))
}

/// Builds the service; the binary decides where to serve it.
///
/// # Errors
/// When the store cannot be opened or migrated.
pub async fn build(config: Config, kit: &Kit) -> Result<Service, DbError> {
    let store = Store::open(&config.database).await?.counting_demo(kit.demo);
    let db = store.db();
    let (log, clock) = (Arc::clone(&kit.log), kit.clock(&db));
    let handler = Arc::new(Projection(clock.clone()));
    let consumer =
        Consumer::new(Part::Analytics, GROUP, TOPIC, db.clone(), log, handler, clock.clone());
    let audit_log = kit.audit_log(Part::Analytics, &db).await?;
    Ok(Service {
        part: Part::Analytics,
        rest: api::routes(store.clone(), clock.clone()),
        grpc: None,
        rules: RULES,
        tasks: vec![consumer.task(), replay::sweeper(store, clock)],
        db,
        audit_log,
    })
}
