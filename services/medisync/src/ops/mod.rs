//! What operators do to an installation: certificates, backups, status.

pub(crate) mod audit_key;
pub(crate) mod backup;
pub(crate) mod openapi;
pub(crate) mod pki;
pub(crate) mod progress;
pub(crate) mod status;
