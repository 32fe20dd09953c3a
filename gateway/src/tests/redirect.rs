//! The plaintext port that sends clients to https.

use std::time::Duration;

use tokio::net::TcpStream;

use super::{
    message::Message,
    test_gateway::{Client, TestGateway},
};
use crate::{Config, test_support::PublicFiles};

async fn start(configure: impl FnOnce(&mut Config)) -> (TestGateway, PublicFiles) {
    let (files, tls) = PublicFiles::new();
    let gateway = TestGateway::start_public(Some(tls), |config| {
        config.redirect_listen = Some(([127, 0, 0, 1], 0).into());
        configure(config);
    });
    (gateway.await, files)
}

async fn client(gateway: &TestGateway) -> Client {
    Client::on(TcpStream::connect(gateway.running.redirect_address().unwrap()).await.unwrap())
}

/// The one answer to a request, with which the connection ends.
async fn told(gateway: &TestGateway, request: &str) -> Message {
    let mut client = client(gateway).await;
    client.send(request).await;
    let got = client.answer().await;
    assert_eq!(got.header("connection"), Some("close"));
    client.end().await;
    got.is_marked();
    got
}

#[tokio::test]
async fn every_request_is_sent_to_the_same_path_by_https() {
    let (gateway, _files) = start(|_| {}).await;
    let port = gateway.running.address().port();
    for (request, place) in [
        ("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", format!("a.example:{port}/")),
        (
            "GET /api/x?y=z%20 HTTP/1.1\r\nhost:A.example:80\r\n\r\n",
            format!("A.example:{port}/api/x?y=z%20"),
        ),
        (
            "POST /auth/login HTTP/1.1\r\nHost: [::1]:1\r\nContent-Length: 2\r\n\r\n{}",
            format!("[::1]:{port}/auth/login"),
        ),
        ("FOO /nowhere HTTP/1.0\r\nHost: 192.0.2.1\r\n\r\n", format!("192.0.2.1:{port}/nowhere")),
    ] {
        let got = told(&gateway, request).await;
        assert_eq!(got.status(), 308, "{request}");
        assert_eq!(got.header("location"), Some(&*format!("https://{place}")));
        assert!(got.body.is_empty());
        // Plaintext is no place to say it (RFC 6797, 7.2).
        assert_eq!(got.header("strict-transport-security"), None);
    }
    assert!(gateway.part.seen().is_empty());
}

#[tokio::test]
async fn the_port_may_be_another_and_the_usual_one_goes_without_saying() {
    for (port, place) in [(443, "https://a.example/x"), (8443, "https://a.example:8443/x")] {
        let (gateway, _files) = start(|config| config.redirect_port = Some(port)).await;
        let got = told(&gateway, "GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert_eq!(got.header("location"), Some(place));
    }
}

#[tokio::test]
async fn who_does_not_say_where_or_says_it_in_two_ways_is_refused() {
    let (gateway, _files) = start(|_| {}).await;
    let long = "a".repeat(64);
    for request in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a_b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: -a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x@evil.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET //evil.example HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &format!("GET / HTTP/1.1\r\nHost: {long}\r\n\r\n"),
        &format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(200)),
    ] {
        let got = told(&gateway, request).await;
        assert_eq!(got.problem(), "invalid", "{request:?}");
        assert_eq!(got.header("location"), None);
    }
}

#[tokio::test]
async fn nobody_stays_there() {
    let short = Duration::from_millis(50);
    let (gateway, _files) = start(|config| {
        config.head_timeout = short;
        config.keep_alive_timeout = short;
    })
    .await;
    let mut slow = client(&gateway).await;
    slow.send("GET / HT").await;
    slow.end().await;
    client(&gateway).await.end().await;
}

#[tokio::test]
async fn a_taken_redirect_port_is_told_with_its_address() {
    let (gateway, _files) = start(|_| {}).await;
    let taken = gateway.running.redirect_address().unwrap();
    let error = crate::bind(([127, 0, 0, 1], 0).into(), Some(taken)).unwrap_err();
    assert_eq!(error.to_string(), format!("the gateway cannot listen on {taken}"));
}
