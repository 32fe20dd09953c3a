//! What is known of one request on its way through the phases.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use http::{HeaderMap, HeaderValue, StatusCode};
use pingora_proxy::Session;
use shared_middleware::{
    clock::Ids,
    error::Failure,
    identity::{Caller, Part},
    metrics::method_label,
    spans::{self, Kind, Span, Value},
    trace_context::TraceContext,
};
use tokio::time::Instant;

use crate::{
    metrics::{self, InFlight},
    policy::{
        client_ip::TrustedProxies,
        cors::{Cors, Origins},
        in_flight::Permit,
        rate_limit::{Decision, Limits, SignIn},
        route::{RateClass, Route, Row},
    },
    proxy::headers::{self, ResponseContext, Scheme},
    upstream::Attempts,
};

/// The answer's status when the client went away before there was one.
pub(crate) const CLIENT_GONE: u16 = 499;

/// What is known of one request.
pub(crate) struct RequestContext {
    pub(crate) started: Instant,
    pub(crate) client: IpAddr,
    /// What the client speaks.
    pub(crate) scheme: Scheme,
    /// Whose page asks, where that matters.
    pub(crate) cors: Cors,
    pub(crate) request_id: HeaderValue,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) route: Option<&'static Route>,
    pub(crate) row: Option<&'static Row>,
    /// Of the most specific limit that counted it.
    pub(crate) decision: Option<Decision>,
    /// The user behind it, whose token was verified.
    pub(crate) caller: Option<Caller>,
    /// A sign-in that is not answered yet.
    pub(crate) sign_in: Option<SignIn>,
    pub(crate) body_bytes: usize,
    pub(crate) attempts: Attempts,
    /// When the part was last asked.
    pub(crate) upstream_started_at: Option<Instant>,
    /// What it holds of its client's share, and of its user's.
    pub(crate) in_flight_permits: (Option<Permit<IpAddr>>, Option<Permit<Arc<str>>>),
    _in_flight: InFlight,
}

// === impl RequestContext ===

impl RequestContext {
    pub(crate) fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            started: Instant::now(),
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            cors: Cors::Off,
            request_id: HeaderValue::from_static("-"),
            trace: None,
            route: None,
            row: None,
            decision: None,
            caller: None,
            sign_in: None,
            body_bytes: 0,
            attempts: Attempts::default(),
            upstream_started_at: None,
            in_flight_permits: (None, None),
            _in_flight: InFlight::begin(),
        }
    }

    /// Notes who asks, and joins the request to its trace.
    pub(crate) fn begin(
        &mut self,
        session: &Session,
        proxies: &TrustedProxies,
        origins: &Origins,
        ids: &Ids,
    ) {
        let headers = &session.req_header().headers;
        self.cors = origins.judge(headers);
        let address = session.client_addr().and_then(|address| address.as_inet());
        if let Some(address) = address {
            self.client = proxies.client(address.ip(), headers);
        }
        self.name(headers, ids);
    }

    /// Names the request and joins it to its trace.
    pub(crate) fn name(&mut self, headers: &HeaderMap, ids: &Ids) {
        self.request_id = headers::request_id(headers, ids);
        self.trace = Some(headers::trace(headers));
    }

    /// A sign-in begins, if it is one, unless too many from its address have failed.
    pub(crate) async fn begin_sign_in(&mut self, limits: &Limits) -> Result<(), Failure> {
        let begun = match self.row.map(|row| row.rate) {
            Some(RateClass::Login) => limits.login(self.client).await,
            Some(RateClass::Refresh) => limits.refresh(self.client).await,
            _ => return Ok(()),
        };
        match begun {
            None => Ok(()),
            Some(Ok(sign_in)) => {
                self.sign_in = Some(sign_in);
                Ok(())
            }
            Some(Err(refused)) => self.decision.insert(refused).admit(),
        }
    }

    /// What becomes of a sign-in with this answer.
    pub(crate) fn finish_sign_in(&mut self, status: StatusCode) {
        if let Some(sign_in) = self.sign_in.take() {
            self.decision = Some(sign_in.answered(status));
        }
    }

    /// The request's trace.
    pub(crate) fn trace(&mut self) -> TraceContext {
        *self.trace.get_or_insert_with(TraceContext::start)
    }

    /// What its answer is marked with.
    pub(crate) fn response_context(&self) -> ResponseContext<'_> {
        ResponseContext {
            request_id: &self.request_id,
            decision: self.decision.as_ref(),
            scheme: self.scheme,
            cors: &self.cors,
        }
    }

    /// Counts the request and writes its line in the log: neither its path nor who asked.
    pub(crate) fn log_and_count(&mut self, method: &http::Method, status: Option<StatusCode>) {
        let took = self.started.elapsed();
        let gone = StatusCode::from_u16(CLIENT_GONE).unwrap_or(StatusCode::BAD_REQUEST);
        let status = status.unwrap_or(gone);
        metrics::count(self.route, status, took);
        tracing::info!(
            http.route = metrics::label(self.route),
            http.method = method_label(method),
            http.status = status.as_u16(),
            duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3,
            trace.id = self.trace().trace_id(),
            "request completed"
        );
        let route = self.route;
        spans::ended(&self.trace(), took, || span(route, method, status));
    }
}

fn span(route: Option<&'static Route>, method: &http::Method, status: StatusCode) -> Span {
    let method = method_label(method);
    Span {
        service: Part::Gateway,
        name: format!("{method} {}", metrics::label(route)),
        kind: Kind::Server,
        failed: status.is_server_error(),
        attributes: vec![
            ("http.request.method", Value::Text(method)),
            ("http.route", Value::Text(metrics::label(route))),
            ("http.response.status_code", Value::Number(status.as_u16().into())),
        ],
    }
}
