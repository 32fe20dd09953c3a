//! The public port with TLS: HTTP/1 over it, its certificate, and who gets no further.

use serde_json::json;
use shared_middleware::{
    identity::{Part, Role},
    rate_limit::RateLimit,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::yield_now,
};
use tokio_rustls::client::TlsStream;

use super::test_gateway::{Act, Client, TestGateway, answer, request, soon};
use crate::test_support::PublicFiles;

/// A connection, after its handshake.
async fn connect(gateway: &TestGateway, alpn: &[u8]) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(gateway.running.address()).await.unwrap();
    let name = "localhost".try_into().unwrap();
    soon(PublicFiles::client(alpn).connect(name, tcp)).await.unwrap()
}

fn shown(tls: &TlsStream<TcpStream>) -> Vec<u8> {
    tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn requests_by_tls_are_served_and_told_to_come_so_again() {
    let (_files, tls) = PublicFiles::new();
    let gateway = TestGateway::start_public(Some(tls), |_| {}).await;
    let mut client = Client::on(connect(&gateway, b"http/1.1").await);
    for number in 1..=3 {
        client.send(gateway.request_as(Role::Admin, "POST", "/api/patients", "", "{}")).await;
        let got = client.answer().await;
        assert_eq!((got.status(), &*got.body), (200, b"hello".as_slice()), "{number}");
        assert!(got.header("strict-transport-security").is_some());
        got.is_marked();
    }
    let seen = gateway.part.seen();
    assert!(seen.iter().all(|request| request.header("x-forwarded-proto") == Some("https")));
}

#[tokio::test]
async fn refusals_say_so_as_well() {
    let (_files, tls) = PublicFiles::new();
    let gateway = TestGateway::start_public(Some(tls), |config| {
        config.body_bytes_max = 1;
        config.upstreams.remove(&Part::Billing);
        config.login_limit = Some(RateLimit::every(1, 3600));
    })
    .await;
    let login = request("POST", "/auth/login", "", "x");
    let wrong = json!({"status": 401, "code": "unauthenticated", "traceId": "0".repeat(32)});
    let head = "Content-Type: application/problem+json\r\n";
    gateway.part.will(Act::Send(answer("401 Unauthorized", head, &wrong.to_string())));
    for (status, asked) in [
        (400, "GET //x HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        (401, request("GET", "/api/patients", "", "")),
        (403, gateway.request_as(Role::Auditor, "GET", "/api/patients", "", "")),
        (404, request("GET", "/nowhere", "", "")),
        (405, request("DELETE", "/healthz", "", "")),
        (413, gateway.request_as(Role::Admin, "POST", "/api/patients", "", "{}")),
        (503, gateway.request_as(Role::Admin, "GET", "/api/billing/accounts", "", "")),
        (401, login.clone()),
        (429, login),
    ] {
        let mut client = Client::on(connect(&gateway, b"http/1.1").await);
        client.send(asked).await;
        let got = client.answer().await;
        assert_eq!(got.status(), status);
        got.problem();
        let told = got.header("strict-transport-security");
        assert!(told.is_some_and(|told| told.starts_with("max-age=63072000")), "{status}");
    }
}

#[tokio::test]
async fn a_second_request_that_comes_early_waits_its_turn() {
    let (_files, tls) = PublicFiles::new();
    let gateway = TestGateway::start_public(Some(tls), |_| {}).await;
    let mut client = Client::on(connect(&gateway, b"http/1.1").await);
    let one = gateway.request_as(Role::Admin, "GET", "/api/patients", "", "");
    client.send([one.as_bytes(), one.as_bytes()].concat()).await;
    assert_eq!(client.answer().await.status(), 200);
    assert_eq!(client.answer().await.status(), 200);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_ends_no_connection() {
    let (files, tls) = PublicFiles::new();
    let gateway = TestGateway::start_public(Some(tls), |_| {}).await;
    let before = connect(&gateway, b"http/1.1").await;
    let renewed = files.renew();
    assert_ne!(shown(&before), renewed);
    soon(async {
        while shown(&connect(&gateway, b"http/1.1").await) != renewed {
            yield_now().await;
        }
    })
    .await;
    let mut client = Client::on(before);
    client.send(request("GET", "/healthz", "", "")).await;
    assert_eq!(client.answer().await.status(), 200);
}

#[tokio::test]
async fn whoever_speaks_plaintext_gets_no_answer() {
    let (_files, tls) = PublicFiles::new();
    let gateway = TestGateway::start_public(Some(tls), |_| {}).await;
    let mut client = TcpStream::connect(gateway.running.address()).await.unwrap();
    client.write_all(request("GET", "/healthz", "", "").as_bytes()).await.unwrap();
    let mut got = Vec::new();
    let _ = soon(client.read_to_end(&mut got)).await;
    assert!(!got.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&got));
    assert!(gateway.part.seen().is_empty());
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_given_up() {
    let (_files, tls) = PublicFiles::new();
    let short = std::time::Duration::from_millis(50);
    let gateway = TestGateway::start_public(Some(tls), |config| config.head_timeout = short).await;
    let mut client = TcpStream::connect(gateway.running.address()).await.unwrap();
    client.write_all(&[22, 3, 1]).await.unwrap();
    let mut got = Vec::new();
    let _ = soon(client.read_to_end(&mut got)).await;
    assert!(got.is_empty());
}
