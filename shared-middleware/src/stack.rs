//! The mesh policy: every layer, in the order in which a request meets them.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, response::Response};
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, CACHE_CONTROL},
};
use tower::ServiceBuilder;
use tower_http::{
    sensitive_headers::SetSensitiveRequestHeadersLayer, set_header::SetResponseHeaderLayer,
};

use crate::{
    access::{Rule, Rules},
    audit::{AuditSink, layer::AuditLayer},
    catch_panic::CatchPanicLayer,
    clock::Clock,
    deadline::DeadlineLayer,
    error::{ErrorCode, Failure, is_grpc},
    find_rule::FindRuleLayer,
    gather_body::GatherBodyLayer,
    identity::Part,
    load_shed::LoadShedLayer,
    metrics::MetricsLayer,
    ready::{Readiness, ReadyLayer},
    require_peer::RequirePeerLayer,
    require_token::RequireTokenLayer,
    token::Verifier,
    trace::TraceLayer,
};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What the policy needs to know about the service that it protects.
#[derive(Clone)]
pub struct Mesh {
    /// Which service.
    pub service: Part,
    /// Who may call which of its routes.
    pub rules: &'static [Rule],
    /// Whose tokens are accepted.
    pub verifier: Arc<Verifier>,
    /// Where it is recorded who asked for what.
    pub audit_log: Arc<dyn AuditSink>,
    /// What time it is.
    pub clock: Clock,
    /// Whether requests should come here.
    pub readiness: Arc<dyn Readiness>,
    /// This many requests are worked on at once; a further one is refused.
    pub in_flight_max: usize,
    /// Nothing takes longer.
    pub deadline: Duration,
    /// A longer body is refused.
    pub body_bytes_max: usize,
}

/// Wraps a service's routes, HTTP and gRPC alike, in every layer of the mesh.
///
/// Read it top to bottom: the first layer meets the request first and the answer last.
#[expect(clippy::disallowed_methods, reason = "the one place where layers are stacked")]
pub fn wrap(routes: Router, mesh: &Mesh) -> Router {
    let rules = Arc::new(Rules::new(mesh.rules));
    let layers = ServiceBuilder::new()
        // 1. May requests come here? Asked by every gateway, all the time: not traced, not
        //    counted, and answered also when full.
        .layer(ReadyLayer::new(mesh.service, Arc::clone(&mesh.readiness)))
        // 2. Anyone who prints a request's headers below prints no token.
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION]))
        // 3. One span per request, so that whatever happens below is traced, refusals included.
        .layer(TraceLayer::new(mesh.service, Arc::clone(&rules)))
        // 4. Counted and timed with the status that the caller gets, anyone who below decided it.
        .layer(MetricsLayer::new(mesh.service, Arc::clone(&rules)))
        // 5. A panic below becomes a 500 that the layers above still see.
        .layer(CatchPanicLayer::new(mesh.service))
        // 6. Answers are about people: nobody keeps a copy, unless the handler says otherwise.
        .layer(SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, NO_STORE))
        // 7. A body that comes slowly is waited for before anything is held for its request.
        .layer(GatherBodyLayer::new(mesh.body_bytes_max, bodies_max(mesh), mesh.deadline))
        // 8. Refuse when full, before anything is spent on the caller.
        .layer(LoadShedLayer::new(mesh.in_flight_max))
        // 9. Which rule is this? A route without one goes no further.
        .layer(FindRuleLayer::new(rules))
        // 10. Who asked for what, and what came of it, refusals below included: kept before the
        //    answer goes out.
        .layer(AuditLayer::new(Arc::clone(&mesh.audit_log), mesh.clock.clone()))
        // 11. mTLS policy: may this part call this route?
        .layer(RequirePeerLayer::new(mesh.service))
        // 12. The user behind the call: verified here again, for the gateway is not the only lock.
        .layer(RequireTokenLayer::new(Arc::clone(&mesh.verifier)))
        // 13. Nothing takes longer than the deadline, the caller's own (gRPC) or ours.
        .layer(DeadlineLayer::new(mesh.deadline))
        // 14. Extractors read no more than this of a body.
        .layer(DefaultBodyLimit::max(mesh.body_bytes_max));
    routes.fallback(nothing_here).layer(layers)
}

/// Bodies that may be waited for at once: many more than requests may be worked on, for they cost
/// memory only (64 KiB each, when `limits.body_bytes_max` is as by default).
const fn bodies_max(mesh: &Mesh) -> usize {
    mesh.in_flight_max.saturating_mul(8)
}

async fn nothing_here(headers: HeaderMap) -> Response {
    let code = if is_grpc(&headers) { ErrorCode::MethodNotAllowed } else { ErrorCode::NotFound };
    Failure::new(code, "there is nothing at this path").answer(&headers)
}
