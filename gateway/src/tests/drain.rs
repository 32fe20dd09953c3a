//! Stopping: nothing in flight is lost, nothing new is let in.

use std::{sync::Arc, time::Duration};

use shared_middleware::identity::Role;
use tokio::{net::TcpStream, sync::Notify};

use super::test_gateway::{Act, TestGateway, answer, request, soon};

#[tokio::test]
async fn requests_in_flight_are_answered_and_then_the_gateway_is_gone() {
    const IN_FLIGHT: usize = 20;
    let gateway = TestGateway::start().await;
    let told = Arc::new(Notify::new());
    let mut clients = Vec::new();
    for _ in 0..IN_FLIGHT {
        gateway.part.will(Act::SendWhen(Arc::clone(&told), answer("200 OK", "", "done")));
        let mut client = gateway.client().await;
        client.send(gateway.request_as(Role::Admin, "POST", "/api/patients", "", "{}")).await;
        clients.push(client);
    }
    gateway.part.wait_for(IN_FLIGHT).await;
    let address = gateway.running.address();
    gateway.stop.cancel();
    let joined = tokio::spawn(gateway.running.join());
    for _ in 0..IN_FLIGHT {
        told.notify_one();
        tokio::task::yield_now().await;
    }
    let telling = tokio::spawn(async move {
        loop {
            told.notify_waiters();
            told.notify_one();
            tokio::task::yield_now().await;
        }
    });
    for client in &mut clients {
        let got = client.answer().await;
        assert_eq!((got.status(), &*got.body), (200, b"done".as_slice()));
        assert_eq!(got.header("connection"), Some("close"));
        client.end().await;
    }
    telling.abort();
    soon(joined).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_request_that_is_being_read_when_the_end_comes_is_served() {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let whole = gateway.request_as(Role::Admin, "POST", "/api/patients", "", "{\"a\":1}");
    let (first, second) = whole.split_at(whole.len() / 2);
    client.send(first).await;
    // The half is there when this other request, sent later, has been answered.
    assert_eq!(gateway.send(request("GET", "/healthz", "", "")).await.status(), 200);
    gateway.stop.cancel();
    client.send(second).await;
    let got = client.answer().await;
    assert_eq!((got.status(), got.header("connection")), (200, Some("close")));
    assert_eq!(gateway.part.seen()[0].body, b"{\"a\":1}");
    soon(gateway.running.join()).await;
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let gateway = TestGateway::start_with(|config| config.drain = Duration::from_secs(600)).await;
    let mut used = gateway.client().await;
    used.send(request("GET", "/healthz", "", "")).await;
    assert_eq!(used.answer().await.status(), 200);
    let mut unused = gateway.client().await;
    gateway.stop.cancel();
    soon(gateway.running.join()).await;
    used.end().await;
    unused.end().await;
}

#[tokio::test]
async fn a_request_that_never_ends_is_dropped_at_the_deadline() {
    let gateway = TestGateway::start_with(|config| config.drain = Duration::from_millis(50)).await;
    gateway.part.will(Act::Silence);
    let mut client = gateway.client().await;
    client.send(gateway.request_as(Role::Admin, "GET", "/api/patients", "", "")).await;
    gateway.part.wait_for(1).await;
    gateway.stop.cancel();
    soon(gateway.running.join()).await;
    client.end().await;
}

#[tokio::test]
async fn whoever_is_connected_is_sent_away_before_connections_are_closed() {
    let gateway = TestGateway::start_with(|config| {
        config.leave = Duration::from_secs(600);
        config.drain = Duration::from_secs(600);
    })
    .await;
    let mut kept = gateway.client().await;
    kept.send(request("GET", "/healthz", "", "")).await;
    assert_ne!(kept.answer().await.header("connection"), Some("close"));
    gateway.stop.cancel();
    let post = gateway.request_as(Role::Admin, "POST", "/api/patients", "", "{}");
    let unknown = request("GET", "/nowhere", "", "");
    for (asked, status) in [(request("GET", "/healthz", "", ""), 200), (post, 200), (unknown, 404)]
    {
        let got = {
            kept.send(asked).await;
            kept.answer().await
        };
        assert_eq!((got.status(), got.header("connection")), (status, Some("close")));
        kept.end().await;
        kept = gateway.client().await;
    }
}
