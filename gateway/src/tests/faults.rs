//! Parts that are down, slow, or break off; clients that go away.

use std::{sync::Arc, time::Duration};

use shared_middleware::identity::{Part, Role};
use tokio::{net::TcpListener, sync::Notify};

use super::test_gateway::{Act, TestGateway, answer, soon};

/// An address at which nobody listens.
async fn nobody() -> http::Uri {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap()).parse().unwrap()
}

/// Requests whose client went away before there was an answer, so far.
fn clients_gone() -> u64 {
    let families = prometheus::gather();
    let requests = families.iter().find(|family| family.name() == "gateway_requests_total");
    let gone = requests
        .into_iter()
        .flat_map(|family| family.get_metric())
        .filter(|metric| metric.get_label().iter().any(|label| label.value() == "499"));
    gone.map(|metric| metric.get_counter().get_value() as u64).sum()
}

#[tokio::test]
async fn a_part_that_is_down_is_unavailable() {
    let url = nobody().await;
    let gateway = TestGateway::start_with(|config| {
        config.upstreams.insert(Part::Patient, vec![url]);
    })
    .await;
    for method in ["GET", "POST"] {
        let got = gateway.send_as(Role::Admin, method, "/api/patients").await;
        assert_eq!((got.status(), got.problem()), (503, "unavailable".to_owned()));
        assert!(got.header("retry-after").is_some());
    }
    assert_eq!(gateway.send_as(Role::Admin, "GET", "/api/users").await.status(), 200);
}

#[tokio::test]
async fn a_part_that_nobody_configured_is_unavailable() {
    let gateway = TestGateway::start_with(|config| {
        config.upstreams.remove(&Part::Patient);
    })
    .await;
    let got = gateway.send_as(Role::Admin, "GET", "/api/patients").await;
    assert_eq!(got.problem(), "unavailable");
}

#[tokio::test]
async fn when_one_address_is_down_any_request_goes_to_the_other() {
    let url = nobody().await;
    let gateway = TestGateway::start_with(|config| {
        config.upstreams.get_mut(&Part::Patient).unwrap().insert(0, url);
    })
    .await;
    for n in 1..=4 {
        let request = gateway.request_as(Role::Admin, "POST", "/api/patients", "", "{}");
        assert_eq!(gateway.send(request).await.status(), 200);
        assert_eq!(gateway.part.seen().len(), n);
    }
}

#[tokio::test]
async fn a_post_that_failed_after_it_was_sent_is_not_sent_again() {
    let gateway = TestGateway::start().await;
    gateway.part.will(Act::SendAndClose(vec![]));
    let request = gateway.request_as(Role::Admin, "POST", "/api/patients", "", "{}");
    assert_eq!(gateway.send(request).await.problem(), "unavailable");
    assert_eq!(gateway.part.seen().len(), 1);
}

#[tokio::test]
async fn nor_is_one_that_failed_on_a_connection_that_was_used_before() {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    for method in ["PUT", "DELETE"] {
        client.send(gateway.request_as(Role::Admin, "GET", "/api/patients/1", "", "")).await;
        assert_eq!(client.answer().await.status(), 200);
        let before = gateway.part.seen().len();
        gateway.part.will(Act::SendAndClose(vec![]));
        client.send(gateway.request_as(Role::Admin, method, "/api/patients/1", "", "")).await;
        assert_eq!(client.answer().await.problem(), "unavailable");
        assert_eq!(gateway.part.seen().len(), before + 1, "{method}");
        client = gateway.client().await;
    }
}

#[tokio::test]
async fn a_get_that_failed_is_sent_again_as_often_as_allowed() {
    let gateway = TestGateway::start().await;
    gateway.part.will(Act::SendAndClose(vec![]));
    assert_eq!(gateway.send_as(Role::Admin, "GET", "/api/patients").await.status(), 200);
    assert_eq!(gateway.part.seen().len(), 2);
    for _ in 0..3 {
        gateway.part.will(Act::SendAndClose(vec![]));
    }
    let got = gateway.send_as(Role::Admin, "GET", "/api/patients").await;
    assert_eq!(got.problem(), "unavailable");
    assert_eq!(gateway.part.seen().len(), 5);
}

#[tokio::test]
async fn a_part_that_does_not_answer_is_given_up_and_not_asked_again() {
    let gateway =
        TestGateway::start_with(|config| config.read_timeout = Duration::from_millis(100)).await;
    for method in ["GET", "POST"] {
        let before = gateway.part.seen().len();
        gateway.part.will(Act::Silence);
        let got = gateway.send_as(Role::Admin, method, "/api/patients").await;
        assert_eq!((got.status(), got.problem()), (504, "deadline_exceeded".to_owned()));
        assert_eq!(gateway.part.seen().len(), before + 1);
    }
}

#[tokio::test]
async fn a_part_that_takes_connections_and_never_shakes_hands_is_given_up() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", mute.local_addr().unwrap()).parse().unwrap();
    let gateway = TestGateway::start_with(|config| {
        config.upstreams.insert(Part::Patient, vec![url]);
        config.connect_timeout = Duration::from_millis(100);
    })
    .await;
    let got = gateway.send_as(Role::Admin, "GET", "/api/patients").await;
    assert_eq!((got.status(), got.problem()), (503, "unavailable".to_owned()));
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_whole() {
    let gateway = TestGateway::start().await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let by_length = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    for short in [chunked, by_length] {
        gateway.part.will(Act::SendAndClose(short.into()));
        let mut client = gateway.client().await;
        client.send(gateway.request_as(Role::Admin, "GET", "/api/patients", "", "")).await;
        // Either the connection is found broken at once, or within the body.
        if let Some(got) = client.answer_if_any().await {
            assert!(!got.whole, "{got:?}");
            client.end().await;
        }
    }
    assert_eq!(gateway.part.seen().len(), 2);
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_unavailable() {
    let gateway = TestGateway::start().await;
    for _ in 0..3 {
        gateway.part.will(Act::SendAndClose(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()));
    }
    let got = gateway.send_as(Role::Admin, "GET", "/api/patients").await;
    assert_eq!(got.problem(), "unavailable");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_only_its_own_request() {
    let gateway = TestGateway::start().await;
    let told = Arc::new(Notify::new());
    gateway.part.will(Act::SendWhen(Arc::clone(&told), answer("200 OK", "", "late")));
    let mut client = gateway.client().await;
    client.send(gateway.request_as(Role::Admin, "GET", "/api/patients", "", "")).await;
    gateway.part.wait_for(1).await;
    let before = clients_gone();
    drop(client);
    soon(async {
        while clients_gone() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    told.notify_one();
    assert_eq!(soon(gateway.send_as(Role::Admin, "GET", "/api/patients")).await.body, b"hello");
}

#[tokio::test]
async fn a_head_that_takes_too_long_is_given_up() {
    let gateway =
        TestGateway::start_with(|config| config.head_timeout = Duration::from_millis(50)).await;
    let mut client = gateway.client().await;
    client.send("GET /healthz HT").await;
    client.end().await;
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let gateway =
        TestGateway::start_with(|config| config.keep_alive_timeout = Duration::from_millis(50))
            .await;
    gateway.client().await.end().await;
}
