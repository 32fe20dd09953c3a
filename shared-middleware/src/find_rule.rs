//! Finds the policy row of a request.
//!
//! Reads:   the matched route (or a gRPC method's path) and the method.
//! Writes:  the [`Rule`] and [`Access`] extensions.
//! Rejects: `MethodNotAllowed` (gRPC: `Forbidden`) when there is no row, even if there should be a
//!          handler. A path that matched no route goes on, to a 404.

use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::{MatchedPath, Request},
    response::Response,
};
use futures_util::future::Either;
use tower::{Layer, Service};

use crate::{
    access::{Access, Rule, Rules},
    error::{ErrorCode, Failure, is_grpc},
};

/// Wraps a service in [`FindRule`].
#[derive(Clone, Debug)]
pub struct FindRuleLayer {
    rules: Arc<Rules>,
}

/// Answers for the inner service when no rule says who may call.
#[derive(Clone, Debug)]
pub struct FindRule<S> {
    rules: Arc<Rules>,
    inner: S,
}

// === impl FindRuleLayer ===

impl FindRuleLayer {
    /// By these rules.
    pub const fn new(rules: Arc<Rules>) -> Self {
        Self { rules }
    }
}

impl<S> Layer<S> for FindRuleLayer {
    type Service = FindRule<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FindRule { rules: Arc::clone(&self.rules), inner }
    }
}

// === impl FindRule ===

impl<S> FindRule<S> {
    fn rule(&self, request: &Request) -> Result<Rule, Failure> {
        let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        if let Some(rule) = self.rules.find(request.method(), matched, request.uri().path()) {
            return Ok(rule);
        }
        match matched {
            // Nothing there: the fallback says so to anybody.
            None => Ok(Rule::new("", "", Access::Open)),
            Some(_) if is_grpc(request.headers()) => {
                Err(Failure::new(ErrorCode::Forbidden, "nobody may call this method"))
            }
            Some(route) => Err(Failure::method_not_allowed(&self.rules.methods(route))),
        }
    }
}

impl<S> Service<Request> for FindRule<S>
where
    S: Service<Request, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.rule(&request) {
            Ok(rule) => {
                request.extensions_mut().insert(rule.access);
                request.extensions_mut().insert(rule);
                Either::Left(self.inner.call(request))
            }
            Err(failure) => Either::Right(ready(Ok(failure.answer(request.headers())))),
        }
    }
}
