//! How patients are asked for: REST.

mod etag;
mod http;
mod query;
mod wire;

use kit::service::DOCUMENT_RULE;
use shared_middleware::{
    access::{Access, Rule},
    permission::Permission,
};

pub use self::http::openapi;
pub(crate) use self::http::rest;

const READ: Access = Access::User(Permission::ReadPatients);
const WRITE: Access = Access::User(Permission::WritePatients);
const DELETE: Access = Access::User(Permission::DeletePatients);

/// Who may call what.
pub const RULES: &[Rule] = &[
    DOCUMENT_RULE,
    Rule::new("GET", "/patients", READ).audited("patient.list"),
    Rule::new("POST", "/patients", WRITE).audited("patient.create"),
    Rule::new("POST", "/patients/search", READ).audited("patient.search"),
    Rule::new("GET", "/patients/{id}", READ).audited("patient.read"),
    Rule::new("PUT", "/patients/{id}", WRITE).audited("patient.update"),
    Rule::new("DELETE", "/patients/{id}", DELETE).audited("patient.delete"),
];

#[cfg(test)]
mod tests;
