//! How billing is asked: REST for people, gRPC for the patient service.

mod grpc;
mod http;

use kit::{page::Cursors, service::DOCUMENT_RULE};
use shared_middleware::{
    access::{Access, Rule},
    clock::{Clock, Ids},
    peers,
    permission::Permission,
};

pub use self::http::openapi;
pub(crate) use self::{grpc::grpc, http::rest};
use crate::store::Store;

const READ: Access = Access::User(Permission::ReadBilling);
const PATIENT_SERVICE: Access = Access::Parts(peers::ACCOUNTS);

/// Who may call what.
pub const RULES: &[Rule] = &[
    DOCUMENT_RULE,
    Rule::new("GET", "/accounts", READ).audited("account.list"),
    Rule::new("GET", "/accounts/{id}", READ).audited("account.read"),
    Rule::new("POST", "/medisync.billing.v1.BillingService/CreateBillingAccount", PATIENT_SERVICE)
        .audited("account.open"),
    Rule::new("POST", "/medisync.billing.v1.BillingService/CreateBillingAccounts", PATIENT_SERVICE)
        .audited("account.open"),
    Rule::new("POST", "/medisync.billing.v1.BillingService/GetBillingAccount", PATIENT_SERVICE)
        .audited("account.read"),
    Rule::new("POST", "/grpc.health.v1.Health/Check", PATIENT_SERVICE),
    Rule::new("POST", "/grpc.health.v1.Health/Watch", PATIENT_SERVICE),
    Rule::new("POST", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", PATIENT_SERVICE),
    Rule::new(
        "POST",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        PATIENT_SERVICE,
    ),
];

/// What every handler needs.
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) cursors: Cursors,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
}

#[cfg(test)]
mod tests;
