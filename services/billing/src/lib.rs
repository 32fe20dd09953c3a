//! The billing service: which account a patient's costs go to.
//!
//! A request passes through the modules in the order in which they are declared:
//!
//! - `api` decodes HTTP and gRPC, and encodes the answer.
//! - `store` keeps accounts. Only it knows SQL.
//!
//! Publishes nothing, consumes nothing, calls nobody.
//!
//! **Invariant:** a patient has one account, for ever, however often and by whom it is asked for.

mod api;
mod error;
mod store;

use std::sync::Arc;

use kit::{
    audit::{AuditKey, AuditLog},
    db::{Db, DbConfig},
    page::Cursors,
    service::{Kit, MachineClock, Service},
};
use shared_middleware::identity::Part;

use crate::{
    api::Api,
    store::{Store, migrations},
};
pub use crate::{
    api::{RULES, openapi},
    error::Error,
};

/// Every setting of this service.
#[derive(Clone)]
pub struct Config {
    /// Where accounts are kept.
    pub database: DbConfig,
}

/// Removes the accounts of the demo's patients; returns how many there were. For the command line,
/// beside a service that may run.
pub async fn remove_demo(
    database: &DbConfig,
    audit_key: &AuditKey,
    clock: &MachineClock,
) -> Result<u64, Error> {
    let db = Db::open(database, migrations()).await?;
    AuditLog::open(Part::Billing, db.clone(), audit_key, clock.of_store(&db)).await?;
    Ok(Store::new(db).remove_demo().await?)
}

/// Builds the service; the binary decides where to serve it.
pub async fn build(config: Config, kit: &Kit) -> Result<Service, Error> {
    let db = Db::open(&config.database, migrations()).await?;
    let cursors = Cursors::open(&db).await?;
    let audit_log = kit.audit_log(Part::Billing, &db).await?;
    let api = Arc::new(Api {
        store: Store::new(db.clone()).showing_demo(kit.demo),
        cursors,
        clock: kit.clock(&db),
        ids: kit.ids.clone(),
    });
    Ok(Service {
        part: Part::Billing,
        rest: api::rest(Arc::clone(&api)),
        grpc: Some(api::grpc(api)),
        rules: RULES,
        tasks: Vec::new(),
        db,
        audit_log,
    })
}
