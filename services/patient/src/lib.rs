//! The patient service: who our patients are.
//!
//! A request passes through the modules in the order in which they are declared:
//!
//! - `api` decodes HTTP and encodes the answer. Only it knows a status code.
//! - `app` holds the verbs: it asks `domain`, commits through `store`, then calls `billing`.
//! - `domain` decides. It does no I/O and asks nobody for the time. `names` says how names compare.
//! - `store` commits rows and the events that they cause in one transaction. Only it knows SQL.
//! - `events` are the facts that we publish; `billing` is whom we call.
//! - `in_progress` knows the idempotency keys that are worked on.
//! - `reconcile` finishes what billing did not answer in time.
//! - `fill` makes stores that measurements need.
//!
//! Publishes `PATIENT_CREATED`, `PATIENT_UPDATED`, `PATIENT_DELETED` on topic `patient`. Consumes
//! nothing. Calls billing.
//!
//! **Invariant:** a patient that was acknowledged is there, gets one account and causes one event,
//! whatever breaks after.

mod api;
mod app;
mod billing;
mod demo;
pub mod domain;
mod error;
mod events;
pub mod fill;
mod in_progress;
mod names;
mod reconcile;
mod store;

#[cfg(test)]
mod app_tests;
#[cfg(test)]
mod testing;

use std::{sync::Arc, time::Duration};

use http::Uri;
use kit::{
    audit::{AuditKey, AuditLog},
    db::{Db, DbConfig},
    outbox::Outbox,
    page::Cursors,
    service::{Kit, MachineClock, Service},
};
use shared_middleware::{clock::Ids, identity::Part};

pub use crate::{
    api::{RULES, openapi},
    app::App,
    error::Error,
    events::TOPIC,
};
use crate::{
    billing::{BillingConfig, RetryPolicy},
    in_progress::InProgress,
    store::{Store, migrations},
};

/// Every setting of this service.
#[derive(Clone)]
pub struct Config {
    /// Where patients are kept.
    pub database: DbConfig,
    /// Where billing's gRPC is.
    pub billing_urls: Vec<Uri>,
    /// One call to billing may take so long.
    pub billing_call: Duration,
    /// All tries of one registration together may take so long; then the account is pending.
    pub billing_total: Duration,
    /// This many tries at most.
    pub billing_tries_max: u32,
}

/// The service, built: what is served, and the verbs for anyone who seeds it.
pub struct Patient {
    /// What is served.
    pub service: Service,
    /// The verbs.
    pub app: Arc<App>,
}

/// Removes the demo's patients, with an event for each; returns how many there were. For the
/// command line, beside a service that may run.
pub async fn remove_demo(
    database: &DbConfig,
    audit_key: &AuditKey,
    clock: &MachineClock,
    ids: Ids,
) -> Result<u64, Error> {
    let db = Db::open(database, migrations()).await?;
    let clock = clock.of_store(&db);
    AuditLog::open(Part::Patient, db.clone(), audit_key, clock.clone()).await?;
    demo::remove(&Store::new(db), &clock, &ids).await
}

/// Builds the service; the binary decides where to serve it.
pub async fn build(config: Config, kit: &Kit) -> Result<Patient, Error> {
    let db = Db::open(&config.database, migrations()).await?;
    let clock = kit.clock(&db);
    let store = Store::new(db.clone());
    store.prepare().await?;
    store.rewrite_email_domains().await?;
    let cursors = Cursors::open(&db).await?;
    let audit_log = kit.audit_log(Part::Patient, &db).await?;
    let retry_policy = RetryPolicy {
        call: config.billing_call,
        total: config.billing_total,
        tries_max: config.billing_tries_max,
    };
    let billing = BillingConfig { urls: config.billing_urls, retry_policy };
    let outbox = Outbox::new(Part::Patient, db.clone(), Arc::clone(&kit.log), clock.clone());
    let app = Arc::new(App {
        demo: kit.demo,
        store,
        outbox: outbox.clone(),
        billing: Arc::new(billing::billing(billing, kit)),
        reconcile: Arc::default(),
        in_progress: InProgress::default(),
        clock,
        ids: kit.ids.clone(),
    });
    let tasks = vec![outbox.relay(), outbox.gauge(), reconcile::task(Arc::clone(&app))];
    let rest = api::rest(Arc::clone(&app), cursors);
    let service =
        Service { part: Part::Patient, rest, grpc: None, rules: RULES, tasks, db, audit_log };
    Ok(Patient { service, app })
}
