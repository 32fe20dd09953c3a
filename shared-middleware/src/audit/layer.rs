//! Records what a service was asked for.
//!
//! Reads:   the [`Rule`], the [`Connection`], the client's address as the gateway names it, the
//!          answer and whose data it shows ([`Shown`]).
//! Writes:  the [`AuditContext`] extension, into which the layers below put the actor, and the
//! task's. Rejects: `Unavailable` when the entry cannot be kept: what leaves no trace is not shown.
//!
//! What a handler recorded in the transaction of its effect is not recorded again. Neither is what
//! names nobody (no valid token, no account whose password was tried): anybody could fill the
//! audit log. Metrics count that.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use axum::{extract::Request, response::Response};
use futures_util::future::BoxFuture;
use http::StatusCode;
use tower::{Layer, Service};
use uuid::Uuid;

use super::{AuditContext, AuditSink, Entry, Outcome, Shown};
use crate::{
    access::Rule,
    client_address::ClientAddress,
    clock::Clock,
    error::{ErrorCode, Failure, is_grpc},
    listen::Connection,
    trace_context,
};

/// Actions on a patient: their record is the patient.
const ON_PATIENTS: &str = "patient.";

/// Wraps a service in [`Audit`].
#[derive(Clone)]
pub struct AuditLayer {
    audit_log: Arc<dyn AuditSink>,
    clock: Clock,
}

/// Records what the inner service is asked for.
#[derive(Clone)]
pub struct Audit<S> {
    audit_log: Arc<dyn AuditSink>,
    clock: Clock,
    inner: S,
}

// === impl AuditLayer ===

impl AuditLayer {
    /// Into this audit log.
    pub const fn new(audit_log: Arc<dyn AuditSink>, clock: Clock) -> Self {
        Self { audit_log, clock }
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = Audit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Audit { audit_log: Arc::clone(&self.audit_log), clock: self.clock.clone(), inner }
    }
}

// === impl Audit ===

impl<S> Service<Request> for Audit<S>
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

    fn call(&mut self, mut request: Request) -> Self::Future {
        let Some(rule) = request.extensions().get::<Rule>().copied() else {
            return Box::pin(self.inner.call(request));
        };
        let asked = asked(&rule, &request);
        request.extensions_mut().insert(asked.clone());
        let speaks_grpc = is_grpc(request.headers());
        let answer = asked.clone().scope_sync(|| self.inner.call(request));
        let (audit_log, clock) = (Arc::clone(&self.audit_log), self.clock.clone());
        let within = asked.clone();
        Box::pin(within.scope(async move {
            let response = answer.await?;
            let Some(entry) = entry(&rule, &asked, &response, &clock) else { return Ok(response) };
            match audit_log.record(entry).await {
                Ok(()) => Ok(response),
                Err(failure) => Ok(failure.answer_as(speaks_grpc)),
            }
        }))
    }
}

fn asked(rule: &Rule, request: &Request) -> AuditContext {
    let last = request.uri().path().rsplit('/').next();
    let id = last.filter(|_| rule.path.ends_with("{id}"));
    // One that is no id names nothing, and is the client's text.
    let record = id.and_then(|id| id.parse::<Uuid>().ok()).map(|id| id.to_string());
    let trace = trace_context::current().map(|trace| trace.trace_id());
    let connection = request.extensions().get::<Connection>();
    let source = connection.map(|it| ClientAddress::of(it, request.headers()).0);
    AuditContext::new(rule.action.unwrap_or(rule.path), record, source, trace)
}

/// What is kept of a request, if anything is.
fn entry(rule: &Rule, asked: &AuditContext, response: &Response, clock: &Clock) -> Option<Entry> {
    let outcome = outcome(response);
    // Public documents, and what every request does: only who may not is worth a line.
    let wanted = rule.action.is_some() || outcome == Outcome::Refused;
    if !wanted || !asked.is_known() || asked.is_noted_as(outcome) {
        return None;
    }
    let shown = response.extensions().get::<Shown>().map(|shown| shown.0.clone());
    let on_patient = rule.action.is_some_and(|action| action.starts_with(ON_PATIENTS));
    let patient = || asked.record().filter(|_| on_patient).and_then(|id| id.parse().ok());
    let patients = shown.unwrap_or_else(|| patient().into_iter().collect());
    Some(asked.entry(clock.now(), outcome, None, patients))
}

fn outcome(response: &Response) -> Outcome {
    // A call of gRPC that failed at once says so in its head.
    if let Some(code) = response.headers().get("grpc-status") {
        use tonic::Code::{Ok, PermissionDenied, ResourceExhausted, Unauthenticated};
        let code = tonic::Code::from_bytes(code.as_bytes());
        return match code {
            Ok => Outcome::Allowed,
            PermissionDenied | Unauthenticated | ResourceExhausted => Outcome::Refused,
            _ => Outcome::Failed,
        };
    }
    match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
            Outcome::Refused
        }
        status if status.is_client_error() || status.is_server_error() => Outcome::Failed,
        _ => Outcome::Allowed,
    }
}

/// The error when the audit log cannot be written.
pub fn not_recorded() -> Failure {
    Failure::new(ErrorCode::Unavailable, "the request cannot be recorded")
}
