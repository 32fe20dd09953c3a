//! A panic hits one request only: it becomes a 500, counted and logged.
//!
//! Rejects: `Internal` when the inner service panicked.

use std::{
    panic::AssertUnwindSafe,
    task::{Context, Poll},
};

use axum::{extract::Request, response::Response};
use futures_util::{FutureExt as _, future::BoxFuture};
use tower::{Layer, Service};

use crate::{
    error::{ErrorCode, Failure},
    identity::Part,
    metrics,
};

/// Wraps a service in [`CatchPanic`].
#[derive(Clone, Copy, Debug)]
pub struct CatchPanicLayer {
    service: Part,
}

/// Answers for the inner service when it panics.
#[derive(Clone, Debug)]
pub struct CatchPanic<S> {
    service: Part,
    inner: S,
}

// === impl CatchPanicLayer ===

impl CatchPanicLayer {
    /// Around this service.
    pub fn new(service: Part) -> Self {
        // There from the start: the first one is an increase.
        metrics::PANICS.with_label_values(&[service.as_str()]);
        Self { service }
    }
}

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CatchPanic { service: self.service, inner }
    }
}

// === impl CatchPanic ===

impl<S> Service<Request> for CatchPanic<S>
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
        let service = self.service;
        let headers = request.headers().clone();
        let answer = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        Box::pin(async move {
            answer.await.unwrap_or_else(|_| {
                // The panic hook has logged where; a panic's text may hold data, so not that.
                metrics::PANICS.with_label_values(&[service.as_str()]).inc();
                Ok(Failure::new(ErrorCode::Internal, "internal error").answer(&headers))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use http::StatusCode;
    use tower::{ServiceBuilder, ServiceExt as _};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_500_without_its_text() {
        async fn handler(_: Request) -> Result<Response, Infallible> {
            panic!("secret")
        }
        let answer = ServiceBuilder::new()
            .layer(CatchPanicLayer::new(Part::Patient))
            .service_fn(handler)
            .oneshot(Request::new(Body::empty()))
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(answer.into_body(), 4096).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
    }
}
