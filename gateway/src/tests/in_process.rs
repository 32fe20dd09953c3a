//! A part in the gateway's own process: called without a connection, and no client can tell.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    response::Response,
    routing::any,
};
use futures_util::{StreamExt as _, stream};
use http::{HeaderName, StatusCode};
use shared_middleware::{
    clock::Clock,
    identity::{Part, Role},
    in_process::InProcess,
    listen::Connection,
};
use tokio::sync::{Notify, mpsc};

use super::test_gateway::{TestGateway, request, soon};
use crate::{
    Config,
    test_support::{clock, mesh_tls},
};

fn part(routes: Router, clock: Clock) -> HashMap<Part, InProcess> {
    let (gateway, patient) = (mesh_tls(Part::Gateway), mesh_tls(Part::Patient));
    HashMap::from([(Part::Patient, InProcess::new(routes, gateway, patient, clock))])
}

/// A gateway whose patient service is this handler.
async fn start<H, T>(handler: H, configure: impl FnOnce(&mut Config)) -> TestGateway
where
    H: axum::handler::Handler<T, ()>,
    T: 'static,
{
    let routes = Router::new().fallback(any(handler));
    TestGateway::start_around(part(routes, clock()), None, configure).await
}

/// Notifies when it is dropped.
struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Says what it was asked, in the lines of a text.
async fn echo(request: Request) -> String {
    let peer = request.extensions().get::<Connection>().unwrap().peer.unwrap();
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let body = String::from_utf8_lossy(&body);
    format!("{}\n{} {}\n{}\n{body}", peer.as_str(), head.method, head.uri, names.join(" "))
}

#[tokio::test]
async fn the_part_sees_what_it_would_see_at_its_port() {
    let gateway = start(echo, |_| {}).await;
    let headers = "X-User-Id: 1\r\nX_User_Id: 2\r\nX-Forwarded-For: 1.2.3.4\r\n\
        X-Medisync-Peer: y\r\nForwarded: for=1.2.3.4\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
        Proxy-Authorization: x\r\nConnection: keep-alive, X-Named\r\nX-Named: z\r\n\
        Upgrade: h2c\r\nIdempotency-Key: k1\r\nContent-Type: application/json\r\n";
    let asked = gateway.request_as(Role::Clinician, "POST", "/api/patients?x=%20y", headers, "{}");
    let got = gateway.send(asked).await;
    assert_eq!(got.status(), 200);
    got.is_marked();
    assert!(got.header("date").is_some());
    let expected = "gateway\nPOST /patients?x=%20y\nauthorization content-length content-type host \
                    idempotency-key traceparent x-forwarded-for x-forwarded-proto x-request-id\n{}";
    assert_eq!(String::from_utf8(got.body).unwrap(), expected);
    assert!(gateway.part.seen().is_empty(), "nobody connected to its port");
}

#[tokio::test]
async fn a_connection_header_takes_off_what_it_names_and_nothing_that_the_gateway_writes() {
    let gateway = start(echo, |_| {}).await;
    let ask = async |connection: &str| {
        let headers = format!("Connection: {connection}\r\n");
        gateway.send(gateway.request_as(Role::Admin, "GET", "/api/patients", &headers, "")).await
    };
    let got = ask("keep-alive, Authorization").await;
    assert!(!String::from_utf8(got.body).unwrap().contains("authorization"));
    for forged in ["X-Forwarded-For", "host", "a b"] {
        assert_eq!(ask(forged).await.problem(), "invalid", "{forged}");
    }
}

#[tokio::test]
async fn a_body_is_passed_on_however_it_is_framed_and_what_follows_is_the_next_request() {
    let gateway = start(echo, |_| {}).await;
    let mut client = gateway.client().await;
    let chunked = "Transfer-Encoding: chunked\r\n";
    let head = gateway.request_as(Role::Admin, "POST", "/api/patients", chunked, "");
    client.send(format!("{head}5\r\nhello\r\n3\r\n!!!\r\n0\r\n\r\n")).await;
    assert!(client.answer().await.body.ends_with(b"hello!!!"));
    let first = gateway.request_as(Role::Admin, "PUT", "/api/patients/1", "", "{}");
    let second = gateway.request_as(Role::Admin, "GET", "/api/patients", "", "");
    client.send(format!("{first}{second}")).await;
    for ends in ["{}", "\n"] {
        let got = client.answer().await;
        assert!(got.whole && got.body.ends_with(ends.as_bytes()), "{got:?}");
    }
    let expect = "Expect: 100-continue\r\nContent-Length: 2\r\n";
    client.send(gateway.request_as(Role::Admin, "POST", "/api/patients", expect, "")).await;
    assert_eq!(client.answer_to("HEAD").await.status(), 100);
    client.send("{}").await;
    assert!(client.answer().await.body.ends_with(b"{}"));
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_and_so_is_one_that_comes_too_slowly() {
    let gateway = start(echo, |config| config.body_bytes_max = 8).await;
    let chunked = "Transfer-Encoding: chunked\r\n";
    let head = gateway.request_as(Role::Admin, "POST", "/api/patients", chunked, "");
    let got = gateway.send(format!("{head}9\r\n123456789\r\n0\r\n\r\n")).await;
    assert_eq!((got.status(), got.problem()), (413, "too_large".to_owned()));
    let gateway = start(echo, |config| config.body_timeout = Duration::ZERO).await;
    let got =
        gateway.send(gateway.request_as(Role::Admin, "POST", "/api/patients", "", "{}")).await;
    assert_eq!((got.status(), got.problem()), (400, "invalid".to_owned()));
}

#[tokio::test]
async fn a_part_may_answer_before_it_has_read_the_body() {
    let gateway = start(async || StatusCode::UNSUPPORTED_MEDIA_TYPE, |_| {}).await;
    let mut client = gateway.client().await;
    let length = "Content-Length: 10\r\n";
    client.send(gateway.request_as(Role::Admin, "POST", "/api/patients", length, "")).await;
    assert_eq!(client.answer().await.status(), 415);
}

#[tokio::test]
async fn an_answer_says_where_it_ends() {
    let answers = async |request: Request| match request.uri().path() {
        "/patients/empty" => Response::builder().status(204).body(Body::empty()).unwrap(),
        "/patients/created" => {
            Response::builder().header("location", "/patients/1").body("{}".into()).unwrap()
        }
        _ => {
            let pieces = stream::iter(["a", "b", "c"].map(Ok::<_, Infallible>));
            Response::new(Body::from_stream(pieces))
        }
    };
    let gateway = start(answers, |_| {}).await;
    let mut client = gateway.client().await;
    for (method, path, length, framing, body) in [
        ("GET", "/api/patients/stream", None, Some("chunked"), "abc"),
        ("GET", "/api/patients/created", Some("2"), None, "{}"),
        ("DELETE", "/api/patients/empty", None, None, ""),
        ("GET", "/api/patients/created", Some("2"), None, "{}"),
    ] {
        client.send(gateway.request_as(Role::Admin, method, path, "", "")).await;
        let got = client.answer().await;
        let told = (got.header("content-length"), got.header("transfer-encoding"));
        assert_eq!((told, &*got.body), ((length, framing), body.as_bytes()), "{path}");
        if path.ends_with("created") {
            assert_eq!(got.header("location"), Some("/api/patients/1"));
        }
    }
    client.send(gateway.request_as(Role::Admin, "HEAD", "/api/patients/created", "", "")).await;
    assert_eq!(client.answer_to("HEAD").await.header("content-length"), Some("2"));
    client.send(request("GET", "/healthz", "", "")).await;
    assert_eq!(client.answer().await.status(), 200);
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_whole() {
    let breaks = async || {
        let pieces = stream::iter([Ok("hello"), Err(std::io::Error::other("broke"))]);
        Response::new(Body::from_stream(pieces))
    };
    let gateway = start(breaks, |_| {}).await;
    let mut client = gateway.client().await;
    client.send(gateway.request_as(Role::Admin, "GET", "/api/patients", "", "")).await;
    if let Some(got) = client.answer_if_any().await {
        assert!(!got.whole, "{got:?}");
    }
}

#[tokio::test]
async fn a_part_that_does_not_answer_is_given_up_and_its_work_ended() {
    let ended = Arc::new(Notify::new());
    let guarded = Arc::clone(&ended);
    let never = async move || {
        let _dropped = Dropped(guarded);
        std::future::pending::<()>().await;
    };
    let gateway = start(never, |config| config.read_timeout = Duration::from_millis(50)).await;
    let got = gateway.send_as(Role::Admin, "GET", "/api/patients").await;
    assert_eq!((got.status(), got.problem()), (504, "deadline_exceeded".to_owned()));
    soon(ended.notified()).await;
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_request_with_an_answer_begun_or_not() {
    for begun in [false, true] {
        let (ended, (came, mut arrived)) = (Arc::new(Notify::new()), mpsc::channel(1));
        let guarded = Arc::clone(&ended);
        let never = async move || {
            let dropped = Dropped(guarded);
            let _ = came.send(()).await;
            if !begun {
                std::future::pending::<()>().await;
            }
            let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"first"))]);
            let rest = stream::pending().map(move |never| {
                let _kept = &dropped;
                never
            });
            Response::new(Body::from_stream(first.chain(rest)))
        };
        let gateway = start(never, |_| {}).await;
        let mut client = gateway.client().await;
        client.send(gateway.request_as(Role::Admin, "GET", "/api/patients", "", "")).await;
        soon(arrived.recv()).await.unwrap();
        drop(client);
        soon(ended.notified()).await;
    }
}

#[tokio::test]
async fn what_a_part_spawned_outlives_the_gateway() {
    let (told, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (telling, finished) = (Arc::clone(&told), Arc::clone(&done));
    let spawns = async move || {
        tokio::spawn(async move {
            telling.notified().await;
            // A timer of the part's fires, too.
            let never = std::future::pending::<()>();
            let _ = tokio::time::timeout(Duration::from_millis(1), never).await;
            finished.notify_one();
        });
    };
    let gateway = start(spawns, |_| {}).await;
    assert_eq!(gateway.send_as(Role::Admin, "GET", "/api/patients").await.status(), 200);
    gateway.stop.cancel();
    soon(gateway.running.join()).await;
    told.notify_one();
    soon(done.notified()).await;
}

#[tokio::test]
async fn while_a_certificate_would_be_refused_the_request_goes_to_the_port() {
    let long_ended = Clock::from_fn(|| "9000-01-01T00:00:00Z".parse().unwrap());
    let routes = Router::new().fallback(any(echo));
    let gateway = TestGateway::start_around(part(routes, long_ended), None, |_| {}).await;
    assert_eq!(gateway.send_as(Role::Admin, "GET", "/api/patients").await.body, b"hello");
    assert_eq!(gateway.part.seen().len(), 1);
}
