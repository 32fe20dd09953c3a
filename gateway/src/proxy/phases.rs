//! The phases of a request, in their order. What they pass on to one
//! another is in the [`RequestContext`].

use std::os::fd::RawFd;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode, header::CONTENT_LENGTH};
use pingora_core::{
    Error, ErrorSource, ErrorType, Result, modules::http::HttpModules, protocols::Digest,
    upstreams::peer::HttpPeer,
};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use shared_middleware::{
    audit::{AuditContext, Outcome},
    error::{ErrorCode, Failure},
    identity::Caller,
};
use uuid::Uuid;

use crate::{
    policy::{
        path,
        rate_limit::Limits,
        route::{self, RateClass, RouteMatch, Row, Target},
        token,
    },
    proxy::{
        error_response,
        forward::{prepare, upstream},
        gateway::Gateway,
        in_process,
        local_response::LocalResponse,
        request_context::RequestContext,
        swagger,
    },
    server::request_head,
};

/// Who answers a request that may be answered.
enum Next {
    Part,
    Gateway(LocalResponse),
}

// === impl Gateway ===

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::new(self.scheme)
    }

    /// No module runs over bodies: they are passed on as they are.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    /// 1. Who asks, and under which name.
    async fn early_request_filter(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        ctx.begin(session, &self.proxies, &self.origins, &self.ids);
        self.close_if_draining(session);
        Ok(())
    }

    /// 2. Limits, route, token, role, size: refuse, answer, or go on.
    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<bool> {
        let admitted = match self.admit(session, ctx) {
            Ok(Next::Part) => ctx.begin_sign_in(&self.limits).await.map(|()| Next::Part),
            other => other,
        };
        match admitted {
            // A part of this process is called here; the other phases are for those elsewhere.
            Ok(Next::Part) => return in_process::answer(self, session, ctx).await,
            Ok(Next::Gateway(answer)) => {
                if answer.write_to_session(session, &ctx.response_context()).await.is_err() {
                    error_response::reset_on_drop(session);
                    session.set_keepalive(None);
                }
            }
            Err(failure) => {
                let trace = ctx.trace();
                error_response::session(session, &failure, &trace, &ctx.response_context()).await;
            }
        }
        Ok(true)
    }

    /// 3. Which peer.
    async fn upstream_peer(
        &self,
        _: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<Box<HttpPeer>> {
        let Some((part, ..)) = upstream(ctx.row) else {
            return Error::err_in(ErrorType::InternalError);
        };
        self.upstreams.peer(part, &mut ctx.attempts).await
    }

    /// 3a. No connection: nothing was sent, so any request may go elsewhere.
    fn fail_to_connect(
        &self,
        _: &mut Session,
        peer: &HttpPeer,
        ctx: &mut RequestContext,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if let Some((part, ..)) = upstream(ctx.row) {
            self.upstreams.not_connected(part, peer, &error);
        }
        error.set_retry(ctx.attempts.may_go_elsewhere(self.upstream_retries_max));
        error
    }

    /// 3b. A connection, new or used before: nothing was sent on it yet.
    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _: bool,
        peer: &HttpPeer,
        _: RawFd,
        digest: Option<&Digest>,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        match upstream(ctx.row) {
            Some((part, ..)) => self.upstreams.admit(part, peer, digest).await,
            None => Error::err_in(ErrorType::InternalError),
        }
    }

    /// 4. The request as the part sees it.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        prepare(session, request, ctx)
    }

    /// 5. Its body: within its limits, as it comes.
    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        body.as_ref().map_or(Ok(()), |read| self.body.check(read, ctx))
    }

    /// 6. The answer as the client sees it.
    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        if answer.status.is_informational() {
            return Ok(());
        }
        self.finish_head(session, answer, ctx)
    }

    /// 6a. The connection broke with the request under way: only what changes nothing is repeated,
    /// and only while the client has seen nothing.
    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut RequestContext,
        _: bool,
    ) -> Box<Error> {
        let theirs = *error.esource() == ErrorSource::Upstream;
        if let Some((part, ..)) = upstream(ctx.row).filter(|_| theirs) {
            self.upstreams.broke(part, &error);
        }
        // Who was refused by its certificate was sent nothing. It may have another one by now.
        let unsent = *error.etype() == ErrorType::InvalidCert;
        let repeatable = matches!(session.req_header().method, Method::GET | Method::HEAD)
            && session.is_body_empty()
            && session.response_written().is_none();
        // One that is slow now would be slower with twice the requests.
        let slow = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
        let left = ctx.attempts.may_repeat(self.upstream_retries_max);
        error.set_retry(theirs && (unsent || repeatable) && !slow && left);
        error
    }

    /// 6b. Nothing more to try.
    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut RequestContext,
    ) -> FailToProxy {
        let begun = session.response_written().is_some_and(|head| !head.status.is_informational());
        let failure = error_response::failure_of(error);
        match &failure {
            _ if begun => error_response::reset_on_drop(session),
            Some(failure) => {
                if failure.code() == ErrorCode::Internal {
                    tracing::error!(kind = error.etype().as_str(), "request failed");
                }
                session.set_keepalive(None);
                ctx.finish_sign_in(failure.code().status());
                let trace = ctx.trace();
                error_response::session(session, failure, &trace, &ctx.response_context()).await;
            }
            None => {}
        }
        let error_code = failure.map_or(0, |failure| failure.code().status().as_u16());
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    /// 7. One line, one count.
    async fn logging(&self, session: &mut Session, _: Option<&Error>, ctx: &mut RequestContext) {
        let status = session.response_written().map(|head| head.status);
        ctx.log_and_count(&session.req_header().method, status);
    }

    /// Failures are logged where they are counted, without paths and addresses.
    fn suppress_error_log(&self, _: &Session, _: &RequestContext, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &RequestContext,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

impl Gateway {
    /// The order is one of cost: what is cheap to refuse is refused before it costs more.
    fn admit(&self, session: &Session, ctx: &mut RequestContext) -> Result<Next, Failure> {
        self.count(ctx, |limits, ctx| limits.client(ctx.client))?;
        ctx.in_flight_permits.0 = Some(self.in_flight.client(ctx.client)?);
        let request = session.req_header();
        if session.is_http2() {
            // HTTP/1's was looked at before pingora saw it (`head`).
            self.check_head(request)?;
        }
        let target = std::str::from_utf8(request.raw_path()).unwrap_or_default();
        let (path, _) = path::split(target);
        let row = match route::find(request.method.as_str(), path) {
            RouteMatch::Row(route, row) => {
                (ctx.route, ctx.row) = (Some(route), Some(row));
                row
            }
            RouteMatch::OtherMethods(route) => {
                ctx.route = Some(route);
                let headers = ctx.cors.preflight(request, &route.methods);
                let allowed = headers.map(|it| LocalResponse::empty(StatusCode::NO_CONTENT, it));
                return allowed
                    .map(Next::Gateway)
                    .ok_or_else(|| Failure::method_not_allowed(&route.methods));
            }
            RouteMatch::Nothing => {
                return Err(Failure::new(ErrorCode::NotFound, "there is nothing here"));
            }
        };
        match row.rate {
            // A sign-in is counted when all else is right (`request_filter`).
            RateClass::Client | RateClass::Login | RateClass::Refresh => {}
            RateClass::User => self.identify(request, row, path, ctx)?,
        }
        let length = request.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        if length > self.body.bytes_max {
            return Err(error_response::too_large());
        }
        match row.target {
            Target::Upstream { .. } => Ok(Next::Part),
            Target::Health => Ok(Next::Gateway(swagger::health())),
            Target::Document => Ok(Next::Gateway(self.swagger.document())),
            Target::Swagger => self.swagger.page(path).map(Next::Gateway),
        }
    }

    /// What of a head its frames leave open.
    fn check_head(&self, request: &RequestHeader) -> Result<(), Failure> {
        path::check(request.raw_path(), self.uri_bytes_max)?;
        request_head::check_count(request.headers.len(), self.headers_max)?;
        // The same twice is one length to the frames, and two to anyone who reads it as HTTP/1.
        match request.headers.get_all(CONTENT_LENGTH).iter().nth(1) {
            Some(_) => Err(Failure::new(ErrorCode::Invalid, "the request is malformed")),
            None => Ok(()),
        }
    }

    /// Whose request it is, how many they have left, and whether they may.
    fn identify(
        &self,
        request: &RequestHeader,
        row: &Row,
        path: &str,
        ctx: &mut RequestContext,
    ) -> Result<(), Failure> {
        let caller = token::caller(&self.verifier, &request.headers)?;
        let counted = self.count(ctx, |limits, _| limits.user(&caller.subject)).and_then(|()| {
            ctx.in_flight_permits.1 = Some(self.in_flight.user(&caller.subject)?);
            Ok(())
        });
        if counted.is_err() && self.audited_limits.check(&caller.subject).allowed {
            self.audit_denial(row, path, &caller, ctx);
        }
        counted?;
        let permitted = token::permit(row.access, &caller);
        if permitted.is_err() {
            self.audit_denial(row, path, &caller, ctx);
        }
        ctx.caller = Some(caller);
        permitted
    }

    /// For the audit log: no part will see this request, so none would record it.
    fn audit_denial(&self, row: &Row, path: &str, caller: &Caller, ctx: &mut RequestContext) {
        let id = path.rsplit('/').next().filter(|_| row.path.ends_with("{id}"));
        let id = id.and_then(|id| id.parse::<Uuid>().ok());
        let patient = id.filter(|_| row.target == route::PATIENTS);
        let trace = Some(ctx.trace().trace_id());
        let record = id.map(|id| id.to_string());
        let asked =
            AuditContext::new(row.action.unwrap_or(row.path), record, Some(ctx.client), trace);
        asked.by_caller(caller);
        let patients = patient.into_iter().collect();
        self.refusals.tell(asked.entry(self.clock.now(), Outcome::Refused, None, patients));
    }

    /// Counts the request against a limit that is on; a later limit is a more specific one.
    fn count(
        &self,
        ctx: &mut RequestContext,
        check: impl Fn(&Limits, &RequestContext) -> Option<crate::policy::rate_limit::Decision>,
    ) -> Result<(), Failure> {
        let Some(decision) = check(&self.limits, ctx) else { return Ok(()) };
        ctx.decision.insert(decision).admit()
    }
}
