//! Waits for a request's body before anything is done for the request.
//!
//! A client that sends slowly, or not at all, would else hold what the layers below give out for
//! work: a permit, a deadline, a connection of the pool. Here it holds its own memory only.
//!
//! Rejects: `DeadlineExceeded` when the body is not there in time, `Unavailable` while as many
//!          bodies as allowed are waited for.
//!
//! gRPC is passed on as it is: its callers are parts, and its bodies may be streams.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, extract::Request, response::Response};
use bytes::BytesMut;
use futures_util::{StreamExt as _, future::BoxFuture, stream};
use http::header::CONTENT_LENGTH;
use hyper::body::Body as _;
use tokio::{sync::Semaphore, time::timeout};
use tower::{Layer, Service};

use crate::error::{ErrorCode, Failure, is_grpc};

/// Wraps a service in [`GatherBody`]. Its clones share one count.
#[derive(Clone, Debug)]
pub struct GatherBodyLayer {
    bounds: Bounds,
}

/// Calls the inner service when the body is there.
#[derive(Clone, Debug)]
pub struct GatherBody<S> {
    bounds: Bounds,
    inner: S,
}

#[derive(Clone, Debug)]
struct Bounds {
    bytes_max: usize,
    within: Duration,
    bodies: Arc<Semaphore>,
}

// === impl GatherBodyLayer ===

impl GatherBodyLayer {
    /// Gathers this many bytes of a body at most, of this many bodies at once; each must be whole
    /// within this time.
    pub fn new(bytes_max: usize, bodies_max: usize, within: Duration) -> Self {
        let bodies = Arc::new(Semaphore::new(bodies_max.min(Semaphore::MAX_PERMITS)));
        Self { bounds: Bounds { bytes_max, within, bodies } }
    }
}

impl<S> Layer<S> for GatherBodyLayer {
    type Service = GatherBody<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GatherBody { bounds: self.bounds.clone(), inner }
    }
}

// === impl GatherBody ===

impl<S> Service<Request> for GatherBody<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
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
        if request.body().is_end_stream() || is_grpc(request.headers()) {
            return Box::pin(self.inner.call(request));
        }
        // The one that was polled to be ready is called, another one waits for the next request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let bounds = self.bounds.clone();
        Box::pin(async move {
            let headers = request.headers().clone();
            match bounds.gather(request).await {
                Ok(request) => inner.call(request).await,
                Err(failure) => Ok(failure.answer(&headers)),
            }
        })
    }
}

// === impl Bounds ===

impl Bounds {
    async fn gather(&self, request: Request) -> Result<Request, Failure> {
        let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse::<usize>().ok());
        if length.is_some_and(|length| length > self.bytes_max) {
            // It is refused by its length, unread.
            return Ok(request);
        }
        let Ok(_permit) = self.bodies.try_acquire() else {
            return Err(Failure::new(ErrorCode::Unavailable, "the service is busy"));
        };
        let (head, body) = request.into_parts();
        let gathered = timeout(self.within, self.gathered(body)).await;
        let late = |_| Failure::new(ErrorCode::DeadlineExceeded, "the body was not sent in time");
        Ok(Request::from_parts(head, gathered.map_err(late)?))
    }

    /// The body in one piece, if it is no longer than allowed; else what was read of it, and the
    /// rest or the error behind: anyone who reads it decides.
    async fn gathered(&self, body: Body) -> Body {
        let (mut pieces, mut read) = (body.into_data_stream(), BytesMut::new());
        while read.len() <= self.bytes_max {
            match pieces.next().await {
                Some(Ok(piece)) => read.extend_from_slice(&piece),
                Some(Err(error)) => {
                    return Body::from_stream(stream::iter([Ok(read.freeze()), Err(error)]));
                }
                None => return Body::from(read.freeze()),
            }
        }
        Body::from_stream(stream::iter([Ok(read.freeze())]).chain(pieces))
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io};

    use axum::response::IntoResponse as _;
    use bytes::Bytes;
    use http::StatusCode;
    use proptest::prelude::*;
    use tokio::sync::mpsc;
    use tower::{ServiceBuilder, ServiceExt as _};

    use super::*;

    type Sender = mpsc::Sender<io::Result<Bytes>>;

    /// A request whose body is sent by hand.
    fn by_hand() -> (Sender, Request) {
        let (sender, pieces) = mpsc::channel(8);
        let pieces = stream::unfold(pieces, async |mut pieces: mpsc::Receiver<_>| {
            Some((pieces.recv().await?, pieces))
        });
        (sender, Request::new(Body::from_stream(pieces)))
    }

    /// Echoes, or says that the body is too long or broken.
    async fn echo(request: Request) -> Result<Response, Infallible> {
        let body = axum::body::to_bytes(request.into_body(), 8).await;
        Ok(body.map_or_else(|_| StatusCode::BAD_REQUEST.into_response(), |it| it.into_response()))
    }

    fn service(
        bodies_max: usize,
    ) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send
    {
        let layer = GatherBodyLayer::new(8, bodies_max, Duration::from_secs(10));
        ServiceBuilder::new().layer(layer).service_fn(echo)
    }

    async fn text(response: Response) -> (StatusCode, String) {
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up_and_waits_alone() {
        let service = service(1);
        let (_sender, slow) = by_hand();
        let slow = tokio::spawn(service.clone().oneshot(slow));
        tokio::task::yield_now().await;
        let full = service.clone().oneshot(by_hand().1).await.unwrap();
        assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
        let bare = service.clone().oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(bare.status(), StatusCode::OK);
        assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
        let (sender, request) = by_hand();
        sender.send(Ok(Bytes::from_static(b"now"))).await.unwrap();
        drop(sender);
        assert_eq!(text(service.oneshot(request).await.unwrap()).await.1, "now");
    }

    #[tokio::test]
    async fn an_aborted_body_is_an_error_to_whoever_reads_it() {
        let (sender, request) = by_hand();
        sender.send(Ok(Bytes::from_static(b"ab"))).await.unwrap();
        sender.send(Err(io::ErrorKind::ConnectionReset.into())).await.unwrap();
        let answer = service(1).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    }

    proptest! {
        #[test]
        fn a_body_is_the_same_however_it_is_cut(
            pieces in prop::collection::vec("[a-z]{0,5}", 0..5),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap();
            runtime.block_on(async {
                let whole = pieces.concat();
                let sent = pieces.into_iter().map(|piece| Ok::<_, io::Error>(Bytes::from(piece)));
                let request = Request::new(Body::from_stream(stream::iter(sent)));
                let answer = text(service(1).oneshot(request).await.unwrap()).await;
                if whole.len() <= 8 {
                    assert_eq!(answer, (StatusCode::OK, whole));
                } else {
                    assert_eq!(answer.0, StatusCode::BAD_REQUEST);
                }
            });
        }
    }
}
