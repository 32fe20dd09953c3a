//! The public port with HTTP/2: many requests on one connection, each held to the same rules.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, StatusCode};
use shared_middleware::identity::Role;
use tokio::{net::TcpStream, sync::Notify};

use super::test_gateway::{Act, TestGateway, answer, soon};
use crate::{Config, test_support::PublicFiles};

/// An answer, whole.
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// A client with one connection.
struct Client {
    send: SendRequest<Bytes>,
    ended: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

// === impl Client ===

impl Client {
    async fn connect(gateway: &TestGateway) -> Self {
        let tcp = TcpStream::connect(gateway.running.address()).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let tls = soon(PublicFiles::client(b"h2").connect(name, tcp)).await.unwrap();
        let (send, connection) = soon(h2::client::handshake(tls)).await.unwrap();
        Self { send, ended: tokio::spawn(connection) }
    }

    async fn send(
        &mut self,
        request: Request<()>,
        body: &[u8],
    ) -> Result<h2::client::ResponseFuture, h2::Error> {
        let mut send = soon(self.send.clone().ready()).await?;
        let (answer, mut rest) = send.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            rest.send_data(Bytes::copy_from_slice(body), true)?;
        }
        Ok(answer)
    }

    async fn ask(&mut self, request: Request<()>, body: &[u8]) -> Result<Got, h2::Error> {
        read(self.send(request, body).await?).await
    }
}

async fn read(answer: h2::client::ResponseFuture) -> Result<Got, h2::Error> {
    let (head, mut rest) = soon(answer).await?.into_parts();
    let mut body = Vec::new();
    while let Some(bytes) = soon(rest.data()).await {
        let bytes = bytes?;
        let _ = rest.flow_control().release_capacity(bytes.len());
        body.extend_from_slice(&bytes);
    }
    Ok(Got { status: head.status, headers: head.headers, body })
}

async fn start(configure: impl FnOnce(&mut Config)) -> (TestGateway, PublicFiles) {
    let (files, tls) = PublicFiles::new();
    (TestGateway::start_public(Some(tls), configure).await, files)
}

fn request(gateway: &TestGateway, method: Method, path: &str) -> Request<()> {
    let token = gateway.keys.token("u1", Role::Admin);
    Request::builder()
        .method(method)
        .uri(format!("https://localhost{path}"))
        .header("authorization", format!("Bearer {token}"))
        .header("x-user-id", "forged")
        .body(())
        .unwrap()
}

#[tokio::test]
async fn many_requests_of_one_connection_are_worked_on_at_once() {
    const AT_ONCE: usize = 20;
    let (gateway, _files) = start(|_| {}).await;
    let mut client = Client::connect(&gateway).await;
    let told = Arc::new(Notify::new());
    let mut answers = Vec::new();
    for _ in 0..AT_ONCE {
        gateway.part.will(Act::SendWhen(Arc::clone(&told), answer("200 OK", "", "done")));
        let asked = request(&gateway, Method::POST, "/api/patients");
        answers.push(client.send(asked, b"{}").await.unwrap());
    }
    gateway.part.wait_for(AT_ONCE).await;
    let telling = tokio::spawn(async move {
        loop {
            told.notify_one();
            tokio::task::yield_now().await;
        }
    });
    for answer in answers {
        let got = read(answer).await.unwrap();
        assert_eq!((got.status, &*got.body), (StatusCode::OK, b"done".as_slice()));
        assert!(got.headers.contains_key("strict-transport-security"));
        assert!(got.headers.contains_key("x-request-id"));
    }
    telling.abort();
    for seen in gateway.part.seen() {
        assert_eq!(seen.first_line, "POST /patients HTTP/1.1");
        assert_eq!(seen.header("x-user-id"), None);
        assert_eq!(seen.header("host"), Some("patient"));
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    }
}

#[tokio::test]
async fn a_path_in_another_form_is_refused_as_with_http_1() {
    let (gateway, _files) = start(|_| {}).await;
    let mut client = Client::connect(&gateway).await;
    for path in ["/api//patients", "/api/patients/%2e%2e/users", "/api/./patients", "/api/p;x"] {
        let got = client.ask(request(&gateway, Method::GET, path), b"").await.unwrap();
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{path}");
        let problem: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        assert_eq!(problem["code"], "invalid");
    }
    assert!(gateway.part.seen().is_empty());
    let got = client.ask(request(&gateway, Method::GET, "/api/patients"), b"").await.unwrap();
    assert_eq!(got.status, StatusCode::OK);
}

#[tokio::test]
async fn nobody_gets_in_without_a_token_or_with_too_much() {
    let (gateway, _files) = start(|config| config.body_bytes_max = 1024).await;
    let mut client = Client::connect(&gateway).await;
    let mut nobody = request(&gateway, Method::GET, "/api/patients");
    nobody.headers_mut().remove("authorization");
    let got = client.ask(nobody, b"").await.unwrap();
    assert_eq!(got.status, StatusCode::UNAUTHORIZED);
    assert!(got.headers.contains_key("www-authenticate"));

    let long = request(&gateway, Method::POST, "/api/patients");
    let got = client.ask(long, &[b' '; 2048]).await.unwrap();
    assert_eq!(got.status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut told = request(&gateway, Method::POST, "/api/patients");
    told.headers_mut().insert("content-length", 2048.into());
    let got = client.ask(told, &[b' '; 2048]).await.unwrap();
    assert_eq!(got.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_head_over_the_bound_is_refused() {
    let (gateway, _files) = start(|_| {}).await;
    let mut client = Client::connect(&gateway).await;
    let mut long = request(&gateway, Method::GET, "/api/patients");
    for number in 0..40 {
        let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
        long.headers_mut().insert(name, "v".repeat(1000).parse().unwrap());
    }
    // Refused by a status of the frames' own, or by a reset; never passed on.
    if let Ok(got) = client.ask(long, b"").await {
        assert_eq!(got.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    assert!(gateway.part.seen().is_empty());
}

#[tokio::test]
async fn one_header_more_than_allowed_is_refused_as_with_http_1() {
    let (gateway, _files) = start(|_| {}).await;
    let mut client = Client::connect(&gateway).await;
    for (headers, status) in [(100, StatusCode::OK), (101, StatusCode::BAD_REQUEST)] {
        let mut many = request(&gateway, Method::GET, "/api/patients");
        for number in many.headers().len()..headers {
            let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
            many.headers_mut().insert(name, "v".parse().unwrap());
        }
        assert_eq!(client.ask(many, b"").await.unwrap().status, status, "{headers}");
    }
}

#[tokio::test]
async fn requests_in_flight_are_answered_when_the_gateway_stops() {
    let (gateway, _files) = start(|_| {}).await;
    let mut client = Client::connect(&gateway).await;
    let told = Arc::new(Notify::new());
    gateway.part.will(Act::SendWhen(Arc::clone(&told), answer("200 OK", "", "done")));
    let asked = request(&gateway, Method::POST, "/api/patients");
    let answer = client.send(asked, b"{}").await.unwrap();
    gateway.part.wait_for(1).await;
    gateway.stop.cancel();
    told.notify_one();
    let got = read(answer).await.unwrap();
    assert_eq!((got.status, &*got.body), (StatusCode::OK, b"done".as_slice()));
    // It may still have had something to say, and nobody is there for that: it has its answer.
    let _ = soon(client.ended).await.unwrap();
    soon(gateway.running.join()).await;
}

#[tokio::test]
async fn a_client_that_only_sends_what_is_no_request_has_to_go() {
    let (gateway, _files) = start(|_| {}).await;
    let mut client = Client::connect(&gateway).await;
    let mut sent = 0;
    // Two lengths that contradict one another.
    let ended = loop {
        let mut bad = request(&gateway, Method::POST, "/api/patients");
        bad.headers_mut().append("content-length", 1.into());
        bad.headers_mut().append("content-length", 2.into());
        match client.ask(bad, b"{}").await {
            Ok(got) => panic!("{}", got.status),
            Err(error) if error.is_reset() && sent < 200 => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(sent < 200, "{ended}");
    assert!(gateway.part.seen().is_empty());
}
