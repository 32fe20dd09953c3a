//! Answers gateways whether requests should come here, and sends callers elsewhere when the
//! process leaves.
//!
//! Reads:   the path, and the process's [`Readiness`].
//! Writes:  `Connection: close` on HTTP/1 answers while the process leaves.
//! Rejects: `Unavailable` at [`READY_PATH`], while requests should go elsewhere.
//!
//! Anyone who can connect may ask, without a user's token: the answer is yes or no. It stands
//! before every other layer. Every gateway asks every second, which would drown what is traced and
//! counted; and a service that sheds load answers all the same that it is ready: taken out, it
//! would leave its share to others that are as full.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    response::{IntoResponse as _, Response},
};
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Version, header::CONNECTION};
use tower::{Layer, Service};

use crate::{
    error::{ErrorCode, Failure},
    identity::Part,
};

/// Where a service says whether it is ready.
pub const READY_PATH: &str = "/readyz";

/// What a process knows of its own life.
pub trait Readiness: Send + Sync {
    /// Whether requests for this service should be sent here.
    fn is_ready(&self, service: Part) -> BoxFuture<'_, bool>;

    /// Whether the process was asked to stop.
    fn is_draining(&self) -> bool;
}

/// Wraps a service in [`Ready`].
#[derive(Clone)]
pub struct ReadyLayer {
    service: Part,
    readiness: Arc<dyn Readiness>,
}

/// Answers for the inner service at [`READY_PATH`].
#[derive(Clone)]
pub struct Ready<S> {
    service: Part,
    readiness: Arc<dyn Readiness>,
    inner: S,
}

/// Ready until the process ends, for a process without a drain.
#[derive(Clone, Copy, Debug)]
pub struct AlwaysReady;

// === impl AlwaysReady ===

impl Readiness for AlwaysReady {
    fn is_ready(&self, _: Part) -> BoxFuture<'_, bool> {
        Box::pin(async { true })
    }

    fn is_draining(&self) -> bool {
        false
    }
}

// === impl ReadyLayer ===

impl ReadyLayer {
    /// In front of this service, in a process that says this of itself.
    pub fn new(service: Part, readiness: Arc<dyn Readiness>) -> Self {
        Self { service, readiness }
    }
}

impl<S> Layer<S> for ReadyLayer {
    type Service = Ready<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Ready { service: self.service, readiness: Arc::clone(&self.readiness), inner }
    }
}

// === impl Ready ===

impl<S> Service<Request> for Ready<S>
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
        let (service, readiness) = (self.service, Arc::clone(&self.readiness));
        let version = request.version();
        if asks(&request) {
            return Box::pin(async move {
                let mut answer = verdict(readiness.is_ready(service).await);
                send_away(&*readiness, version, &mut answer);
                Ok(answer)
            });
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            send_away(&*readiness, version, &mut answer);
            Ok(answer)
        })
    }
}

fn asks(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && request.uri().path() == READY_PATH
}

fn verdict(ready: bool) -> Response {
    if ready {
        return "ok\n".into_response();
    }
    Failure::new(ErrorCode::Unavailable, "requests should go elsewhere").into_response()
}

/// Asked when the answer is there: the process may have been asked to stop in the meantime.
/// HTTP/2 has no such header; its connections get a GOAWAY, when the listener stops.
fn send_away(readiness: &dyn Readiness, version: Version, answer: &mut Response) {
    if version < Version::HTTP_2 && readiness.is_draining() {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicBool, Ordering},
    };

    use axum::body::Body;
    use http::StatusCode;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    #[derive(Default)]
    struct Life {
        ready: AtomicBool,
        leaving: AtomicBool,
    }

    impl Readiness for Life {
        fn is_ready(&self, service: Part) -> BoxFuture<'_, bool> {
            assert_eq!(service, Part::Patient);
            Box::pin(async { self.ready.load(Ordering::SeqCst) })
        }

        fn is_draining(&self) -> bool {
            self.leaving.load(Ordering::SeqCst)
        }
    }

    async fn answer(life: &Arc<Life>, method: &str, path: &str, version: Version) -> Response {
        let inner = service_fn(async |_: Request| Ok::<_, Infallible>("inner".into_response()));
        let readiness: Arc<dyn Readiness> = Arc::clone(life) as _;
        let request = Request::builder().method(method).uri(path).version(version);
        let service = ReadyLayer::new(Part::Patient, readiness).layer(inner);
        service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn text(answer: Response) -> String {
        let body = axum::body::to_bytes(answer.into_body(), 1024).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_gateways_question_is_answered_and_no_other() {
        let life = Arc::new(Life::default());
        let unready = answer(&life, "GET", READY_PATH, Version::HTTP_11).await;
        assert_eq!(unready.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(text(unready).await.contains("unavailable"));
        life.ready.store(true, Ordering::SeqCst);
        let ready = answer(&life, "GET", READY_PATH, Version::HTTP_11).await;
        assert_eq!((ready.status(), &*text(ready).await), (StatusCode::OK, "ok\n"));
        for (method, path) in [("POST", READY_PATH), ("GET", "/readyz/"), ("GET", "/x/readyz")] {
            let passed_on = answer(&life, method, path, Version::HTTP_11).await;
            assert_eq!(text(passed_on).await, "inner", "{method} {path}");
        }
    }

    #[tokio::test]
    async fn while_the_process_leaves_http_1_callers_are_told_to_connect_elsewhere() {
        let life = Arc::new(Life::default());
        let told = async |path, version| {
            let answer = answer(&life, "GET", path, version).await;
            answer.headers().get(CONNECTION).is_some_and(|value| value == "close")
        };
        assert!(!told("/x", Version::HTTP_11).await);
        life.leaving.store(true, Ordering::SeqCst);
        assert!(told("/x", Version::HTTP_11).await);
        assert!(told(READY_PATH, Version::HTTP_10).await);
        assert!(!told("/x", Version::HTTP_2).await);
    }
}
