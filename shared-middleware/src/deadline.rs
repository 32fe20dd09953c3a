//! Nothing takes longer than its deadline.
//!
//! Reads:   `grpc-timeout`, the time that a gRPC caller gives; the [`Rule`], whose answer may be
//!          held back on purpose.
//! Rejects: `DeadlineExceeded` when the shorter of that and the service's own has passed; the work
//!          is dropped then, except what was already handed to a store.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use hyper::body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tower::{Layer, Service};

use crate::{
    access::Rule,
    error::{ErrorCode, Failure},
    token::POLL_HELD_S_MAX,
};

const POLL_HELD_MAX: Duration = Duration::from_secs(POLL_HELD_S_MAX);

/// Wraps a service in [`Deadline`].
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLayer {
    longest: Duration,
}

/// Answers for the inner service when it takes too long.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    longest: Duration,
    inner: S,
}

// === impl DeadlineLayer ===

impl DeadlineLayer {
    /// At most so long.
    pub const fn new(longest: Duration) -> Self {
        Self { longest }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline { longest: self.longest, inner }
    }
}

// === impl Deadline ===

impl<S> Service<Request> for Deadline<S>
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
        let given = grpc_timeout(request.headers());
        let until = given.map(|given| Instant::now() + given);
        let held = request.extensions().get::<Rule>().is_some_and(|rule| rule.long_poll);
        let ours = if held { self.longest + POLL_HELD_MAX } else { self.longest };
        let longest = given.map_or(ours, |given| given.min(ours));
        let headers = given.is_some().then(|| request.headers().clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            // What is late already is not begun: `timeout` would first see whether it is done.
            if !longest.is_zero()
                && let Ok(answer) = timeout(longest, answer).await
            {
                return match until {
                    None => answer,
                    Some(until) => {
                        answer.map(|answer| answer.map(|inner| BodyUntil::of(inner, until)))
                    }
                };
            }
            let late = Failure::new(ErrorCode::DeadlineExceeded, "the answer took too long");
            Ok(late.answer(&headers.unwrap_or_default()))
        })
    }
}

/// A gRPC answer's body that ends when the caller's time does.
struct BodyUntil {
    inner: Body,
    late: Pin<Box<Sleep>>,
    ended: bool,
}

// === impl BodyUntil ===

impl BodyUntil {
    fn of(inner: Body, until: Instant) -> Body {
        if inner.is_end_stream() {
            return inner;
        }
        Body::new(Self { inner, late: Box::pin(sleep_until(until)), ended: false })
    }
}

impl HttpBody for BodyUntil {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(next) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(next);
        }
        ready!(self.late.as_mut().poll(cx));
        self.ended = true;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from(tonic::Code::DeadlineExceeded as i32));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }
}

/// `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Timeout").
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::{body::Body, response::IntoResponse as _};
    use http::{HeaderValue, StatusCode};
    use proptest::prelude::*;
    use tower::{ServiceBuilder, ServiceExt as _};

    use super::*;

    async fn answer_after(works: Duration, given: Option<&'static str>) -> Response {
        let mut request = Request::new(Body::empty());
        if let Some(given) = given {
            request.headers_mut().insert("grpc-timeout", HeaderValue::from_static(given));
            request
                .headers_mut()
                .insert("content-type", HeaderValue::from_static("application/grpc"));
        }
        ServiceBuilder::new()
            .layer(DeadlineLayer::new(Duration::from_secs(5)))
            .service_fn(move |_: Request| async move {
                tokio::time::sleep(works).await;
                Ok::<_, Infallible>(StatusCode::OK.into_response())
            })
            .oneshot(request)
            .await
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_time_is_passed_on() {
        assert_eq!(answer_after(Duration::from_secs(4), None).await.status(), StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_is_a_504() {
        let answer = answer_after(Duration::from_secs(6), None).await;
        assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_grpc_callers_own_deadline_is_kept() {
        let answer = answer_after(Duration::from_secs(1), Some("200m")).await;
        assert_eq!(answer.headers()["grpc-status"], "4");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_late_already_is_not_begun() {
        for given in ["0m", "0n", "0H"] {
            let answer = answer_after(Duration::ZERO, Some(given)).await;
            assert_eq!(answer.headers()["grpc-status"], "4", "{given}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_the_callers_time() {
        let body = BodyUntil::of(
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, Infallible>>()),
            Instant::now() + Duration::from_millis(300),
        );
        let collected = http_body_util::BodyExt::collect(body).await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "4");
    }

    proptest! {
        #[test]
        fn no_timeout_makes_it_panic(text in "[ -~]{0,12}") {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_str(&text).unwrap());
            let _ = grpc_timeout(&headers);
        }
    }
}
