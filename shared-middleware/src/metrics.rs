//! The names of the metrics that every service has, and the layer that counts requests.
//!
//! Labels are closed sets: routes as they are declared, never paths; parts, never addresses.
//!
//! Reads:   the matched route, method and answer; for gRPC the trailers.
//! Writes:  nothing.
//! Rejects: nothing.

use std::{
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    response::Response,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use prometheus::{
    HistogramVec, IntCounterVec, IntGaugeVec, histogram_opts, opts, register_histogram_vec,
    register_int_counter_vec, register_int_gauge_vec,
};
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::{access::Rules, error::is_grpc, identity::Part};

/// Buckets in seconds, fine around the milliseconds where requests live.
pub const BUCKETS_S: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The route of a request that no route matched.
pub const UNMATCHED: &str = "unmatched";

static HTTP_SERVER: LazyLock<HistogramVec> = LazyLock::new(|| {
    histogram(
        "http_server_request_duration_seconds",
        "Time to the head of the answer, by route.",
        &["service", "method", "route", "status"],
    )
});
static RPC_SERVER: LazyLock<HistogramVec> = LazyLock::new(|| {
    histogram(
        "rpc_server_duration_seconds",
        "Time to the end of the answer, by gRPC method.",
        &["service", "method", "code"],
    )
});
/// Handshakes of a service's listener, by outcome.
pub static HANDSHAKES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "mesh_handshakes_total",
        "TLS handshakes at a service's listener.",
        &["service", "outcome"],
    )
});
/// Connections that were closed because their peers were not trusted any more.
pub static CONNECTIONS_CLOSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "mesh_connections_closed_total",
        "Connections closed because their peers were not trusted any more.",
        &["service", "reason"],
    )
});
/// Requests that the mesh policy refused, by who asked.
pub static PEER_DENIED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "mesh_peer_denied_total",
        "Requests refused because of who called.",
        &["service", "peer"],
    )
});
/// Requests whose handler panicked.
pub static PANICS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter("http_server_panics_total", "Requests whose handler panicked.", &["service"])
});
/// Seconds until a part's certificate ends.
pub static CERTIFICATE_EXPIRY: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("mesh_certificate_expiry_seconds", "Seconds until the certificate ends.");
    register_int_gauge_vec!(options, &["part"]).expect("the name is registered once")
});
/// Certificate files that could not be read again.
pub static CERTIFICATE_RELOAD_FAILURES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "mesh_certificate_reload_failures_total",
        "Certificate files that changed and could not be read.",
        &["part"],
    )
});

/// Wraps a service in [`Metrics`].
#[derive(Clone, Debug)]
pub struct MetricsLayer {
    service: Part,
    rules: Arc<Rules>,
}

/// Counts and times every request by route and outcome.
#[derive(Clone, Debug)]
pub struct Metrics<S> {
    service: Part,
    rules: Arc<Rules>,
    inner: S,
}

/// A gRPC answer's body: its last frame says how the call ended.
struct TimedBody {
    inner: Body,
    call: Option<Call>,
}

/// A gRPC call being timed.
struct Call {
    service: Part,
    method: &'static str,
    started: Instant,
}

/// A histogram in the process's registry.
///
/// # Panics
/// When the name is taken: each is registered in one place.
pub fn histogram(name: &str, help: &str, labels: &[&str]) -> HistogramVec {
    register_histogram_vec!(histogram_opts!(name, help, BUCKETS_S.to_vec()), labels)
        .expect("the name is registered once")
}

/// A counter in the process's registry.
///
/// # Panics
/// When the name is taken: each is registered in one place.
pub fn counter(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register_int_counter_vec!(opts!(name, help), labels).expect("the name is registered once")
}

/// The label of a method: a client may invent methods, but not labels.
pub fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

/// A gRPC call's method as the rules have it; none when it is no gRPC call.
pub(crate) fn rpc_method(request: &Request, rules: &Rules) -> Option<&'static str> {
    is_grpc(request.headers()).then(|| {
        let rule = rules.find(request.method(), None, request.uri().path());
        rule.and_then(|rule| rule.path.rsplit('/').next()).unwrap_or(UNMATCHED)
    })
}

// === impl MetricsLayer ===

impl MetricsLayer {
    /// For this service, whose gRPC methods are those of the rules.
    pub const fn new(service: Part, rules: Arc<Rules>) -> Self {
        Self { service, rules }
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Metrics { service: self.service, rules: Arc::clone(&self.rules), inner }
    }
}

// === impl Metrics ===

impl<S> Service<Request> for Metrics<S>
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
        let service = self.service;
        let method = method_label(request.method());
        let matched = request.extensions().get::<MatchedPath>().cloned();
        let rpc = rpc_method(&request, &self.rules);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            if let Some(method) = rpc {
                let call = Call { service, method, started };
                return Ok(call.follow(response));
            }
            let route = matched.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
            HTTP_SERVER
                .with_label_values(&[service.as_str(), method, route, response.status().as_str()])
                .observe(started.elapsed().as_secs_f64());
            Ok(response)
        })
    }
}

// === impl Call ===

impl Call {
    /// Times an answer to its end; one that failed at once has its code in the headers.
    fn follow(self, response: Response) -> Response {
        if response.headers().contains_key("grpc-status") {
            self.end(response.headers());
            return response;
        }
        response.map(|inner| Body::new(TimedBody { inner, call: Some(self) }))
    }

    fn end(self, trailers: &HeaderMap) {
        let code = trailers
            .get("grpc-status")
            .map_or(tonic::Code::Unknown, |code| tonic::Code::from_bytes(code.as_bytes()));
        RPC_SERVER
            .with_label_values(&[self.service.as_str(), self.method, code_label(code)])
            .observe(self.started.elapsed().as_secs_f64());
    }
}

// === impl TimedBody ===

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let next = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &next
            && let Some(trailers) = frame.trailers_ref()
            && let Some(call) = self.call.take()
        {
            call.end(trailers);
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A gRPC code's name in metrics, as the specification spells it.
pub const fn code_label(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
