//! What all connections share.

use std::{sync::Arc, time::Duration};

use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use shared_middleware::clock::Ids;
use tokio_util::sync::CancellationToken;

use crate::{
    proxy::{Gateway, headers::Scheme},
    server::{certificate::PublicTls, request_head::HeadLimits},
};

/// A request, its answer included, takes no longer: anyone who takes an answer byte by byte is cut
/// off. Parts give up long before.
pub(crate) const REQUEST_WITHIN: Duration = Duration::from_secs(120);

/// What all connections share.
pub(crate) struct ServerContext {
    pub(crate) head_limits: HeadLimits,
    pub(crate) keep_alive_timeout: Duration,
    pub(crate) client_timeout: Duration,
    pub(crate) ids: Ids,
    /// None: clients speak plaintext.
    pub(crate) tls: Option<Arc<PublicTls>>,
    /// The gateway was asked to stop.
    pub(crate) stop: CancellationToken,
    /// It has been for long enough: connections without a request are closed.
    pub(crate) closing: CancellationToken,
}

/// Pingora, on one thread: what the connections of one thread share.
#[derive(Clone)]
pub(crate) struct Proxy {
    /// Keeps the connections to the parts.
    pub(crate) http: Arc<HttpProxy<Gateway>>,
    /// The same as `closing`, as pingora wants it.
    pub(crate) stopping: ShutdownWatch,
}

// === impl ServerContext ===

impl ServerContext {
    /// What clients speak.
    pub(crate) fn scheme(&self) -> Scheme {
        Scheme::of(self.tls.as_deref())
    }
}
