//! Clients that take their time, and clients that are many.

use std::time::Duration;

use shared_middleware::identity::{Part, Role};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::yield_now,
};

use super::test_gateway::{Client, TestGateway, request, soon};
use crate::{Config, metrics::CONNECTIONS_REFUSED, parse_network, test_support::PublicFiles};

/// More than sockets hold, and less than a client that is let go on would get.
const LONG_BYTES: usize = 64 << 20;

#[tokio::test]
async fn a_body_that_is_not_whole_in_time_is_refused() {
    let gateway = TestGateway::start_with(|config| config.body_timeout = Duration::ZERO).await;
    let late = gateway.request_as(Role::Admin, "POST", "/api/patients", "", "{}");
    let got = gateway.send(late).await;
    assert_eq!((got.status(), got.problem()), (400, "invalid".to_owned()));
    assert_eq!(got.header("connection"), Some("close"));
    // What has no body is not late.
    assert_eq!(gateway.send_as(Role::Admin, "GET", "/api/patients").await.status(), 200);
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up() {
    let short = Duration::from_millis(50);
    let gateway = TestGateway::start_with(|config| config.client_timeout = short).await;
    let mut client = gateway.client().await;
    let headers = "Content-Length: 10\r\n";
    client.send(gateway.request_as(Role::Admin, "POST", "/api/patients", headers, "")).await;
    client.send("half").await;
    client.end().await;
    assert!(gateway.part.seen().iter().all(|seen| !seen.whole));
}

#[tokio::test]
async fn an_unwanted_body_that_never_comes_is_not_waited_for() {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    client.send("POST /api/patients HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf").await;
    assert_eq!(client.answer().await.problem(), "unauthenticated");
    // Well before the client's own time-out.
    client.end().await;
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_given_up() {
    let (url, mut given_up) = part_with_a_long_answer().await;
    let gateway = TestGateway::start_with(|config| {
        config.upstreams.insert(Part::Patient, vec![url]);
        config.client_timeout = Duration::from_millis(200);
    })
    .await;
    let mut client = TcpStream::connect(gateway.running.address()).await.unwrap();
    let asked = gateway.request_as(Role::Admin, "GET", "/api/patients", "", "");
    client.write_all(asked.as_bytes()).await.unwrap();
    soon(given_up.recv()).await.unwrap();
    let mut got = Vec::new();
    let _ = soon(client.read_to_end(&mut got)).await;
    assert!(got.len() < LONG_BYTES, "{}", got.len());
}

/// A part that answers without end, and returns when it could not.
async fn part_with_a_long_answer() -> (http::Uri, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (tell, given_up) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG_BYTES}\r\n\r\n");
                let _ = socket.read(&mut [0; 1024]).await;
                let _ = socket.write_all(head.as_bytes()).await;
                if socket.write_all(&vec![b'x'; LONG_BYTES]).await.is_err() {
                    let _ = tell.send(()).await;
                }
            });
        }
    });
    (url, given_up)
}

async fn connected(gateway: &TestGateway) -> Client {
    let mut client = gateway.client().await;
    client.send(request("GET", "/healthz", "", "")).await;
    assert_eq!(client.answer().await.status(), 200);
    client
}

fn two_for_each(config: &mut Config) {
    config.connections_per_client_max = 2;
}

#[tokio::test]
async fn a_client_with_too_many_connections_is_told_and_let_in_when_it_has_closed_one() {
    let gateway = TestGateway::start_with(two_for_each).await;
    let refused = || CONNECTIONS_REFUSED.with_label_values(&["client"]).get();
    let before = refused();
    let first = connected(&gateway).await;
    let _second = connected(&gateway).await;
    let got = gateway.client().await.answer().await;
    assert_eq!((got.status(), got.problem()), (503, "unavailable".to_owned()));
    assert!(got.header("retry-after").is_some());
    assert!(refused() > before);
    drop(first);
    soon(async {
        while gateway.client().await.answers(request("GET", "/healthz", "", "")).await != Some(200)
        {
            yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_balancer_may_have_as_many_as_there_is_room_for() {
    let gateway = TestGateway::start_with(|config| {
        two_for_each(config);
        config.trusted_proxies = vec![parse_network("127.0.0.1").unwrap()];
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(connected(&gateway).await);
    }
}

#[tokio::test]
async fn where_clients_speak_tls_one_too_many_is_cut_off() {
    let (_files, tls) = PublicFiles::new();
    let gateway = TestGateway::start_public(Some(tls), two_for_each).await;
    let _first = gateway.client().await;
    let _second = gateway.client().await;
    let mut third = TcpStream::connect(gateway.running.address()).await.unwrap();
    let mut got = Vec::new();
    let _ = soon(third.read_to_end(&mut got)).await;
    assert!(got.is_empty());
}
