//! What a mesh is told by its environment.

use crate::processes::{PARTS, free_port};

pub(crate) const MTLS: &str = "MEDISYNC_MESH__MTLS";

/// A machine full of tests is slow, which is no fault of the mesh: what is given up in production
/// after so long, is waited for here. Stories about these bounds set their own.
pub(crate) const PATIENCE: [(&str, &str); 6] = [
    ("MEDISYNC_GATEWAY__CONNECT_MS", "10000"),
    ("MEDISYNC_GATEWAY__UPSTREAM_MS", "30000"),
    ("MEDISYNC_LIMITS__DEADLINE_MS", "30000"),
    ("MEDISYNC_LIMITS__ACQUIRE_MS", "15000"),
    ("MEDISYNC_PATIENT__BILLING_CALL_MS", "10000"),
    ("MEDISYNC_PATIENT__BILLING_TOTAL_MS", "20000"),
];

pub(crate) fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// What a mesh is told: no limits, patience, then how it runs, then what its story wants.
pub(crate) fn variables(
    given: &[(&str, &str)],
    ours: &[(String, String)],
) -> Vec<(String, String)> {
    let limits = ["GATEWAY__RATE_LIMIT__USER", "GATEWAY__RATE_LIMIT__CLIENT"];
    let of_sign_ins = ["GATEWAY__RATE_LIMIT__LOGIN", "AUTH__RATE_LIMIT__ACCOUNT"];
    let off = limits.into_iter().chain(of_sign_ins);
    let off = off.map(|limit| (format!("MEDISYNC_{limit}"), "off".to_owned()));
    let patience = PATIENCE.map(owned);
    let mut all: Vec<_> = off.chain(patience).chain(ours.iter().cloned()).collect();
    for variable in given.iter().copied().map(owned) {
        all.retain(|(name, _)| *name != variable.0);
        all.push(variable);
    }
    all
}

/// Where each part listens and is found: known before any of them starts.
pub(crate) fn addresses() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for part in PARTS {
        let (name, at) = (part.to_uppercase(), format!("127.0.0.1:{}", free_port()));
        if part != "gateway" {
            all.push((format!("MEDISYNC_{name}__URL"), format!("https://{at}")));
        }
        all.push((format!("MEDISYNC_{name}__LISTEN"), at));
    }
    let grpc = format!("127.0.0.1:{}", free_port());
    all.push(("MEDISYNC_BILLING__GRPC_URL".to_owned(), format!("https://{grpc}")));
    all.push(("MEDISYNC_BILLING__GRPC_LISTEN".to_owned(), grpc));
    all
}
