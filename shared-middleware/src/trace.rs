//! One span per request, joined to the caller's trace, and one line in the log when it ends: at
//! level info, or debug for requests by which the mesh keeps itself going.
//!
//! Reads:   `traceparent`.
//! Writes:  the task's [`TraceContext`](crate::trace_context::TraceContext).
//! Rejects: nothing.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

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
    access::Rules,
    identity::Part,
    metrics::{UNMATCHED, method_label, rpc_method},
    spans::{self, Kind, Span, Value},
    trace_context::{TRACEPARENT, TraceContext},
};

/// Wraps a service in [`Trace`].
#[derive(Clone, Debug)]
pub struct TraceLayer {
    service: Part,
    rules: Arc<Rules>,
}

/// Opens a span around the inner service.
#[derive(Clone, Debug)]
pub struct Trace<S> {
    service: Part,
    rules: Arc<Rules>,
    inner: S,
}

/// What is asked for, as it is called in spans.
enum Asked {
    Http { method: &'static str, route: Option<MatchedPath> },
    Rpc(&'static str),
}

// === impl TraceLayer ===

impl TraceLayer {
    /// Around this service, whose gRPC methods are those of the rules.
    pub const fn new(service: Part, rules: Arc<Rules>) -> Self {
        Self { service, rules }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Trace { service: self.service, rules: Arc::clone(&self.rules), inner }
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
        let (service, asked) = (self.service, Asked::of(&request, &self.rules));
        let is_housekeeping = is_housekeeping(&request, &self.rules);
        let span = tracing::info_span!(
            "request",
            %service,
            http.method = method_label(request.method()),
            http.route = asked.route(),
            trace.id = trace.trace_id(),
        );
        // Layers that refuse do so here, not in the future: that is part of the trace, too.
        let answer = trace.scope_sync(|| span.in_scope(|| self.inner.call(request)));
        let traced = async move {
            let answer = answer.await;
            if let Ok(response) = &answer {
                let took = started.elapsed();
                let duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
                let status = response.status().as_u16();
                if is_housekeeping {
                    tracing::debug!(http.status = status, duration_ms, "request completed");
                } else {
                    tracing::info!(http.status = status, duration_ms, "request completed");
                }
                spans::ended(&trace, took, || asked.span(service, response));
            }
            answer
        };
        Box::pin(trace.scope(traced.instrument(span)))
    }
}

// === impl Asked ===

impl Asked {
    fn of(request: &Request, rules: &Rules) -> Self {
        if let Some(method) = rpc_method(request, rules) {
            return Self::Rpc(method);
        }
        let route = request.extensions().get::<MatchedPath>().cloned();
        Self::Http { method: method_label(request.method()), route }
    }

    fn route(&self) -> &str {
        match self {
            Self::Http { route, .. } => route.as_ref().map_or(UNMATCHED, MatchedPath::as_str),
            Self::Rpc(method) => method,
        }
    }

    /// The span of what was asked for and is answered.
    fn span(&self, service: Part, response: &Response) -> Span {
        let status = response.status();
        let name = match self {
            Self::Http { method, .. } => format!("{method} {}", self.route()),
            Self::Rpc(method) => (*method).to_owned(),
        };
        let attributes = match self {
            Self::Http { method, .. } => vec![
                ("http.request.method", Value::Text(method)),
                ("http.response.status_code", Value::Number(status.as_u16().into())),
            ],
            Self::Rpc(method) => {
                vec![("rpc.system", Value::Text("grpc")), ("rpc.method", Value::Text(method))]
            }
        };
        // A call that failed at once says so in its head.
        let code = response.headers().get("grpc-status").map(|code| code.as_bytes());
        let failed = status.is_server_error()
            || code.is_some_and(|code| {
                use tonic::Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unknown};
                let faults = [DataLoss, DeadlineExceeded, Internal, Unavailable, Unknown];
                faults.contains(&tonic::Code::from_bytes(code))
            });
        Span { service, name, kind: Kind::Server, failed, attributes }
    }
}

fn is_housekeeping(request: &Request, rules: &Rules) -> bool {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let rule = rules.find(request.method(), route, request.uri().path());
    rule.is_some_and(|rule| rule.is_housekeeping())
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
        let layer = TraceLayer::new(Part::Patient, Arc::new(Rules::new(&[])));
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
