//! Refuses early when full, so that those inside are still served in time.
//!
//! Rejects: `Unavailable` while as many requests as allowed are being worked on.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use axum::{extract::Request, response::Response};
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use crate::error::{ErrorCode, Failure};

/// Wraps a service in [`LoadShed`]. Its clones share one count.
#[derive(Clone, Debug)]
pub struct LoadShedLayer {
    places: Arc<Semaphore>,
}

/// Answers for the inner service when it is full.
#[derive(Clone, Debug)]
pub struct LoadShed<S> {
    places: Arc<Semaphore>,
    inner: S,
}

// === impl LoadShedLayer ===

impl LoadShedLayer {
    /// At most so many at once.
    pub fn new(in_flight_max: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(in_flight_max)) }
    }
}

impl<S> Layer<S> for LoadShedLayer {
    type Service = LoadShed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LoadShed { places: Arc::clone(&self.places), inner }
    }
}

// === impl LoadShed ===

impl<S> Service<Request> for LoadShed<S>
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
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let full = Failure::new(ErrorCode::Unavailable, "the service is busy");
            let answer = full.answer(request.headers());
            return Box::pin(async move { Ok(answer) });
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(place);
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::{body::Body, response::IntoResponse as _};
    use http::StatusCode;
    use tokio::sync::Notify;
    use tower::{ServiceBuilder, ServiceExt as _};

    use super::*;

    #[tokio::test]
    async fn a_request_too_many_is_refused_and_the_next_is_served_again() {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let signals = (Arc::clone(&entered), Arc::clone(&leave));
        let service =
            ServiceBuilder::new().layer(LoadShedLayer::new(1)).service_fn(move |_: Request| {
                let (entered, leave) = signals.clone();
                async move {
                    entered.notify_one();
                    leave.notified().await;
                    Ok::<_, Infallible>(StatusCode::OK.into_response())
                }
            });
        let request = || Request::new(Body::empty());
        let first = tokio::spawn(service.clone().oneshot(request()));
        entered.notified().await;

        let second = service.clone().oneshot(request()).await.unwrap();
        assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(second.headers()["retry-after"], "1");

        leave.notify_one();
        assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
        leave.notify_one();
        let third = service.oneshot(request()).await.unwrap();
        assert_eq!(third.status(), StatusCode::OK);
    }
}
