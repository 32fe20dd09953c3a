//! The front door: which requests go to which part, and on whose behalf.
//!
//! The only crate that knows pingora. It knows no database, and of the domain no more than the
//! route table. A request passes through the files in the order in which they are declared below:
//!
//! ```text
//!  client
//!    │  door         accepts, counts connections (room), deals them out to threads, drains;
//!    │               plaintext on a port of its own is sent to https (redirect)
//!    │  connection   shakes hands (certificate); waits for a request; hands it to pingora and
//!    │               takes the connection back. With HTTP/2, many at once (http2)
//!    │  head         reads the head; what could be read in two ways ends here       400, 405
//!    │  path         ... the target above all                                       400
//!    ▼  proxy        pingora's phases:
//!    │    1  early_request_filter     context: who asks, request id, trace
//!    │    2  request_filter           limit (client) → route, cors → limit (login)  429, 404, 405
//!    │                                → token → limit (user) → role → size     401, 403, 429, 413
//!    │                                → the gateway's own pages (swagger)
//!    │    ── in_process               a part of this process is called, and answers; else:
//!    │    3  upstream_peer            upstream: a place that is ready, certificate
//!    │    3a fail_to_connect          ... another address
//!    │    4  upstream_request_filter  path rewritten, headers cleaned
//!    │    5  request_body_filter      chunked bodies counted                        413
//!    │    6  response_filter          headers stamped
//!    │    6a error_while_proxy        GET and HEAD once more
//!    │    6b fail_to_proxy            refuse                                        503, 504
//!    │    7  logging                  metrics, one line
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

mod serve;
mod threads;

mod door;
mod room;

mod certificate;
mod client;
mod connection;
mod downstream;
mod forward;
mod host;
mod http2;
mod in_flight;
mod in_process;
mod redirect;
mod toll;
mod wire;

mod head;
mod path;

mod proxy;

mod context;

pub mod route;

mod limit;
mod token;

mod upstream;

mod cors;
mod headers;

mod answer;
mod body;
mod refuse;
mod swagger;

mod metrics;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt, sync::Arc};

use shared_middleware::{
    audit::refusals::Refusals,
    clock::{Clock, Ids},
    identity::Part,
    in_process::InProcess,
    tls::MeshTls,
    token::Verifier,
};

pub use crate::{
    certificate::PublicTls,
    client::{NoNetwork, parse_network},
    config::Config,
    cors::{NoOrigin, Origin, parse_origin},
    serve::{Bound, Running, StartError, bind, start},
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
    pub refusals: Refusals,
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
