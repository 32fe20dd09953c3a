//! The public entry point: which requests go to which part, and on whose behalf.
//!
//! The only crate that knows pingora. It knows no database, and of the domain no more than the
//! route table. A request passes through the folders from top to bottom:
//!
//! ```text
//!  client
//!    │  server     before pingora:
//!    │    acceptor                    accepts within limits, deals out to threads, drains
//!    │    connection                  TLS handshake; one request after the other, or HTTP/2
//!    │    request_head                reads the head; an ambiguous one is refused     400, 405
//!    ▼  proxy      pingora's phases (proxy/phases.rs); policy decides in the second:
//!    │    1  early_request_filter     request_context: client address, request id, trace
//!    │    2  request_filter           rate_limit (client) → route, cors → rate_limit (sign-in)
//!    │                                                                       429, 404, 405
//!    │                                → token → rate_limit (user) → role → size
//!    │                                                                       401, 403, 429, 413
//!    │                                → the gateway's own pages (swagger)
//!    │    ── in_process               a part of this process is called, and answers; else:
//!    │    3  upstream_peer            upstream: a ready endpoint, client certificate
//!    │    3a fail_to_connect          ... another endpoint
//!    │    4  upstream_request_filter  path rewritten, headers sanitized
//!    │    5  request_body_filter      body_limits                                     413
//!    │    6  response_filter          response headers
//!    │    6a error_while_proxy        GET and HEAD are retried
//!    │    6b fail_to_proxy            error_response                                  503, 504
//!    │    7  logging                  metrics, one log line
//!    ▼
//!  part
//! ```
//!
//! **Invariant:** the path that is matched is, byte by byte, the path that is forwarded.
//!
//! **Invariant:** what is sent to a part as an identity (`X-Forwarded-For`, `X-Request-Id`,
//! `traceparent`, the certificate) comes from the gateway, never from the client.
//!
//! **Invariant:** a request that may have taken effect is never sent twice.

mod config;
mod metrics;
pub mod policy;
mod proxy;
mod server;
mod upstream;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt, sync::Arc};

use shared_middleware::{
    audit::denials::DenialQueue,
    clock::{Clock, Ids},
    identity::Part,
    in_process::InProcess,
    tls::MeshTls,
    token::Verifier,
};

pub use crate::{
    config::Config,
    policy::{
        client_ip::{InvalidNetwork, parse_network},
        origin::{InvalidOrigin, Origin, parse_origin},
    },
    server::{Bound, Running, StartError, bind, certificate::PublicTls, start},
};

/// What the gateway is given.
pub struct Deps {
    /// As whom it calls the parts.
    pub tls: Arc<MeshTls>,
    /// What its public port shows of itself; none: clients speak plaintext.
    pub public_tls: Option<Arc<PublicTls>>,
    /// Whose tokens it accepts.
    pub verifier: Arc<Verifier>,
    /// The parts that are in this process, as it calls them: none of them needs a port for that.
    pub in_process: HashMap<Part, InProcess>,
    /// Where it tells what it refused to users.
    pub refusals: DenialQueue,
    /// What time it is.
    pub clock: Clock,
    /// Names for requests.
    pub ids: Ids,
}

// === impl Deps ===

impl fmt::Debug for Deps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deps").field("tls", &self.tls).finish_non_exhaustive()
    }
}
