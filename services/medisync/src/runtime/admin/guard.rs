//! Which requests the admin listener answers: no browser's that another page has sent here.
//!
//! A page may have the name of its own server lead to this address ("DNS rebinding"); what it asks
//! then is of its own origin, but names that server in `Host`. So `Host` must be an address, a name
//! that no public server has (without a dot, or of a cluster's or a private network's own domain),
//! or on the list of our own names (`admin.hosts`). And nothing is changed for a page at all: only
//! browsers send `Origin` (RFC 6454, 7).

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, Method, StatusCode,
        header::{HOST, ORIGIN},
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::time::timeout;

/// No answer takes longer, and no body.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// Domains that are nobody's in public: Kubernetes' own, and ICANN's for private networks.
const PRIVATE: [&str; 3] = [".svc", ".cluster.local", ".internal"];

/// Passes on what may be answered.
pub(super) async fn admit(
    State(hosts): State<Arc<[String]>>,
    request: Request,
    next: Next,
) -> Response {
    if !is_ours(request.headers(), &hosts) {
        let why = "this is not a name of the admin listener (admin.hosts)\n";
        return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && request.headers().contains_key(ORIGIN) {
        return (StatusCode::FORBIDDEN, "not for pages\n").into_response();
    }
    let late = |_| (StatusCode::REQUEST_TIMEOUT, "too late\n").into_response();
    timeout(ANSWERED_WITHIN, next.run(request)).await.unwrap_or_else(late)
}

fn is_ours(headers: &HeaderMap, hosts: &[String]) -> bool {
    let mut named = headers.get_all(HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.to_ascii_lowercase();
    let is_private = !name.contains('.') || PRIVATE.iter().any(|domain| name.ends_with(domain));
    let is_listed = || hosts.iter().any(|ours| ours.eq_ignore_ascii_case(&name));
    !name.is_empty() && (name.parse::<IpAddr>().is_ok() || is_private || is_listed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_somebody_else_is_not_ours() {
        let hosts = ["node-1.clinic.example".to_owned()];
        let judge = |hosts_told: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts_told {
                headers.append(HOST, host.parse().unwrap());
            }
            is_ours(&headers, &hosts)
        };
        for ours in [
            "localhost:4090",
            "localhost",
            "127.0.0.1:4090",
            "10.0.0.9",
            "[::1]:4090",
            "[2001:db8::1]",
            "patient:4090",
            "patient.medisync.svc:4090",
            "patient.mesh.internal:4090",
            "Node-1.clinic.example:4090",
        ] {
            assert!(judge(&[ours]), "{ours}");
        }
        for other in
            ["evil.example:4090", "127.0.0.1.evil.example", "", ":4090", "[", "node-1.clinic"]
        {
            assert!(!judge(&[other]), "{other}");
        }
        assert!(!judge(&[]) && !judge(&["localhost", "localhost"]));
    }
}
