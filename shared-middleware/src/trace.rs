//! One span per request, joined to the caller's trace, and one line in the log when it ends.
//!
//! Reads:   `traceparent`.
//! Writes:  the task's [`TraceContext`](crate::trace_context::TraceContext).
//! Rejects: nothing.

use std::task::{Context, Poll};

use axum::{
    extract::{MatchedPath, Request},
    response::Response,
};
use futures_util::future::BoxFuture;
use http::HeaderMap;
use tokio::time::Instant;
use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::{
    identity::Part,
    metrics::{UNMATCHED, method_label},
    trace_context::{TRACEPARENT, TraceContext},
};

/// Wraps a service in [`Trace`].
#[derive(Clone, Copy, Debug)]
pub struct TraceLayer {
    service: Part,
}

/// Opens a span around the inner service.
#[derive(Clone, Debug)]
pub struct Trace<S> {
    service: Part,
    inner: S,
}

// === impl TraceLayer ===

impl TraceLayer {
    /// Around this service.
    pub const fn new(service: Part) -> Self {
        Self { service }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Trace { service: self.service, inner }
    }
}

// === impl Trace ===

impl<S> Service<Request> for Trace<S>
where
    S: Service<Request, Response = Response> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let started = Instant::now();
        let trace = TraceContext::continued(header(request.headers(), TRACEPARENT));
        let route = request.extensions().get::<MatchedPath>().cloned();
        let route = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
        let span = tracing::info_span!(
            "request",
            service = %self.service,
            http.method = method_label(request.method()),
            http.route = route,
            trace.id = trace.trace_id(),
        );
        let answer = self.inner.call(request);
        let traced = async move {
            let answer = answer.await;
            if let Ok(response) = &answer {
                let duration_ms = started.elapsed().as_secs_f64() * 1000.0;
                tracing::info!(http.status = response.status().as_u16(), duration_ms, "answered");
            }
            answer
        };
        Box::pin(trace.scope(traced.instrument(span)))
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
