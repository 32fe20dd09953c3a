//! What every request of a thread is served by.

use std::sync::Arc;

use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use shared_middleware::{
    audit::denials::DenialQueue,
    clock::{Clock, Ids},
    rate_limit::Limiter,
    token::Verifier,
};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics,
    policy::{
        client_ip::TrustedProxies, cors::Origins, in_flight::InFlightLimits, rate_limit::Limits,
    },
    proxy::{
        body_limits::BodyBounds,
        forward::upstream,
        headers::{self, Scheme},
        in_process::InProcessParts,
        request_context::RequestContext,
        swagger::Swagger,
    },
    upstream::Upstreams,
};

/// The gateway, as pingora calls it: one for each thread, which share what they know.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) limits: Arc<Limits>,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) in_process: Arc<InProcessParts>,
    pub(crate) swagger: Arc<Swagger>,
    pub(crate) ids: Ids,
    pub(crate) proxies: Arc<TrustedProxies>,
    pub(crate) origins: Arc<Origins>,
    pub(crate) scheme: Scheme,
    pub(crate) uri_bytes_max: usize,
    pub(crate) headers_max: usize,
    pub(crate) body: BodyBounds,
    pub(crate) upstream_retries_max: usize,
    pub(crate) in_flight: Arc<InFlightLimits>,
    /// The first refusal of a user in a minute is audited: a limit must not fill the audit log.
    pub(crate) audited_limits: Arc<Limiter<Arc<str>>>,
    pub(crate) refusals: DenialQueue,
    pub(crate) clock: Clock,
    pub(crate) stop: CancellationToken,
}

// === impl Gateway ===

impl Gateway {
    /// While the gateway drains, the response says so, so that the client does not send another
    /// request down here.
    pub(crate) fn close_if_draining(&self, session: &mut Session) {
        if self.stop.is_cancelled() {
            session.set_keepalive(None);
        }
    }

    /// Makes the head of a part's answer that of the gateway's.
    pub(crate) fn finish_head(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        self.close_if_draining(session);
        if let Some((part, prefix, rewrite_to)) = upstream(ctx.row) {
            if let Some(asked) = ctx.upstream_started_at {
                metrics::observe_upstream(part, asked.elapsed());
            }
            headers::rewrite_location(answer, prefix, rewrite_to)?;
        }
        ctx.finish_sign_in(answer.status);
        headers::set_response_headers(answer, &ctx.response_context())
    }
}
