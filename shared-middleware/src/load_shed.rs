//! Refuses early when full, so that those inside are still served in time.
//!
//! What parts of the mesh ask for themselves (the feed of revocations, copies of audit logs, what
//! the gateway refused, keys) has permits of its own: no client can keep a revocation from
//! arriving.
//!
//! Reads:   the [`Connection`] and `X-Forwarded-For`, which the gateway adds to what it forwards.
//! Rejects: `Unavailable` while as many requests as allowed are being worked on.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use axum::{extract::Request, response::Response};
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use crate::{
    client_address::FORWARDED_FOR,
    error::{ErrorCode, Failure},
    identity::Peer,
    listen::Connection,
};

/// Wraps a service in [`LoadShed`]. Its clones share one count.
#[derive(Clone, Debug)]
pub struct LoadShedLayer {
    permits: Permits,
}

/// Answers for the inner service when it is full.
#[derive(Clone, Debug)]
pub struct LoadShed<S> {
    permits: Permits,
    inner: S,
}

#[derive(Clone, Debug)]
struct Permits {
    clients: Arc<Semaphore>,
    mesh: Arc<Semaphore>,
}

// === impl LoadShedLayer ===

impl LoadShedLayer {
    /// At most this many at once, and as many of the mesh's own.
    pub fn new(in_flight_max: usize) -> Self {
        let permits = || Arc::new(Semaphore::new(in_flight_max));
        Self { permits: Permits { clients: permits(), mesh: permits() } }
    }
}

impl<S> Layer<S> for LoadShedLayer {
    type Service = LoadShed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LoadShed { permits: self.permits.clone(), inner }
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
        let permits = if is_of_mesh(&request) { &self.permits.mesh } else { &self.permits.clients };
        let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
            let full = Failure::new(ErrorCode::Unavailable, "the service is busy");
            let answer = full.answer(request.headers());
            return Box::pin(async move { Ok(answer) });
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(permit);
            answer
        })
    }
}

/// Whether a part asks for itself: its certificate says who it is, and no client is behind it.
fn is_of_mesh(request: &Request) -> bool {
    let peer = request.extensions().get::<Connection>().and_then(|it| it.peer.as_ref());
    matches!(peer, Some(Peer::Part(_))) && !request.headers().contains_key(FORWARDED_FOR)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::{body::Body, response::IntoResponse as _};
    use futures_util::FutureExt as _;
    use http::StatusCode;
    use tokio::sync::Notify;
    use tower::{ServiceBuilder, ServiceExt as _};

    use super::*;
    use crate::identity::Part;

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

    #[tokio::test]
    async fn what_a_part_asks_for_itself_is_served_however_many_clients_there_are() {
        let service = ServiceBuilder::new()
            .layer(LoadShedLayer::new(1))
            .service_fn(|_: Request| std::future::pending::<Result<Response, Infallible>>());
        let from = |part: Option<Part>, forwarded: bool| {
            let mut request = Request::new(Body::empty());
            let remote = "10.0.0.9:1".parse().unwrap();
            request.extensions_mut().insert(Connection { peer: part.map(Peer::Part), remote });
            if forwarded {
                let client = http::HeaderValue::from_static("192.0.2.1");
                request.headers_mut().insert(FORWARDED_FOR, client);
            }
            request
        };
        let mut under_way = Vec::new();
        let mut is_let_in = |request| {
            let mut answer = Box::pin(service.clone().oneshot(request));
            let is_refused = (&mut answer).now_or_never().is_some();
            under_way.push(answer);
            !is_refused
        };
        assert!(is_let_in(from(None, false)));
        assert!(!is_let_in(from(Some(Part::Gateway), true)), "a client is behind it");
        assert!(!is_let_in(from(None, false)));
        assert!(is_let_in(from(Some(Part::Patient), false)));
    }
}
