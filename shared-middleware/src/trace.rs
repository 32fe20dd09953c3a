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
        // Layers that refuse do so here, not in the future: that is part of the trace, too.
        let answer = trace.scope_sync(|| span.in_scope(|| self.inner.call(request)));
        let traced = async move {
            let answer = answer.await;
            if let Ok(response) = &answer {
                let duration_ms = (started.elapsed().as_secs_f64() * 1e6).round() / 1e3;
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

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::ready};

    use axum::response::IntoResponse as _;
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::error::{ErrorCode, Failure};

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[tokio::test]
    async fn a_refusal_names_its_trace_whenever_it_is_made() {
        let refuse = || Failure::new(ErrorCode::Forbidden, "no").into_response();
        let at_once = service_fn(move |_: Request| ready(Ok::<_, Infallible>(refuse())));
        let later = service_fn(move |_: Request| async move { Ok::<_, Infallible>(refuse()) });
        let layer = TraceLayer::new(Part::Patient);
        let request = || {
            let request =
                Request::builder().header(TRACEPARENT, format!("00-{TRACE}-{:016x}-01", 7));
            request.body(axum::body::Body::empty()).unwrap()
        };
        let at_once = layer.layer(at_once).oneshot(request()).await.unwrap();
        let later = layer.layer(later).oneshot(request()).await.unwrap();
        for response in [at_once, later] {
            let body = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
            assert!(String::from_utf8(body.to_vec()).unwrap().contains(TRACE));
        }
    }
}
