//! What a part sees of a request, and a client of an answer.

use shared_middleware::{
    identity::{Part, Role},
    listen::{ListenConfig, Listener, Mode},
};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use super::test_gateway::{Act, TestGateway, answer, request, soon};
use crate::test_support::mesh_tls;

#[tokio::test]
async fn the_part_sees_its_own_path_and_only_headers_that_the_gateway_wrote_or_allows() {
    let gateway = TestGateway::start().await;
    let headers = "X-User-Id: 1\r\nx-user-role: ADMIN\r\nX_User_Id: 2\r\n\
        X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Client-Cert: x\r\nX-Medisync-Peer: y\r\n\
        Forwarded: for=1.2.3.4\r\nX-Request-Id: from-client\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
        Proxy-Authorization: x\r\nConnection: keep-alive, X-Named\r\nX-Named: z\r\n\
        Upgrade: h2c\r\nIdempotency-Key: k1\r\nContent-Type: application/json\r\n";
    let request =
        gateway.request_as(Role::Clinician, "POST", "/api/patients?x=%20y", headers, "{}");
    let got = gateway.send(request).await;
    assert_eq!((got.status(), &*got.body), (200, b"hello".as_slice()));
    got.is_marked();
    assert_eq!(got.header("x-request-id"), Some("from-client"));

    let seen = gateway.part.seen().remove(0);
    assert_eq!(seen.first_line, "POST /patients?x=%20y HTTP/1.1");
    let mut names: Vec<_> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "authorization",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "traceparent",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-request-id",
    ];
    assert_eq!(names, expected);
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-request-id"), Some("from-client"));
    assert_eq!(seen.header("host"), Some("patient"));
    assert_eq!(seen.body, b"{}");
}

#[tokio::test]
async fn a_token_that_connection_names_is_not_passed_on() {
    let gateway = TestGateway::start().await;
    let headers = "Connection: close, X-User-Id, Authorization\r\nX-User-Id: 1\r\n";
    gateway.send(gateway.request_as(Role::Admin, "GET", "/api/patients", headers, "")).await;
    let seen = gateway.part.seen().remove(0);
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.header("x-user-id"), None);
    assert!(seen.header("x-request-id").is_some());
}

#[tokio::test]
async fn a_clients_trace_goes_on_under_a_new_span() {
    let gateway = TestGateway::start().await;
    let headers = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    gateway.send(gateway.request_as(Role::Admin, "GET", "/api/patients", headers, "")).await;
    let seen = gateway.part.seen().remove(0);
    let trace = seen.header("traceparent").unwrap();
    assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{trace}");
    assert!(!trace.contains("00f067aa0ba902b7"));
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_their_order_pipelined_or_not() {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    for n in 0..3 {
        gateway.part.will(Act::Send(answer("200 OK", "", &n.to_string())));
        client.send(gateway.request_as(Role::Admin, "GET", "/api/patients", "", "")).await;
        assert_eq!(client.answer().await.body, n.to_string().as_bytes());
    }
    let mut all = String::new();
    for n in 3..6 {
        gateway.part.will(Act::Send(answer("200 OK", "", &n.to_string())));
        all += &gateway.request_as(Role::Admin, "POST", "/api/patients", "", "{}");
    }
    client.send(all).await;
    for n in 3..6 {
        assert_eq!(client.answer().await.body, n.to_string().as_bytes());
    }
    assert_eq!(gateway.part.seen().len(), 6);
    assert!(gateway.part.seen()[3..].iter().all(|seen| seen.body == b"{}"));
}

#[tokio::test]
async fn what_follows_a_body_is_not_part_of_it() {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let smuggled = "GET /auth/.well-known/jwks.json HTTP/1.1\r\nHost: gateway\r\n\r\n";
    let post = gateway.request_as(Role::Admin, "POST", "/api/patients", "", "{}");
    client.send(format!("{post}{smuggled}")).await;
    client.answer().await;
    client.answer().await;
    let seen = gateway.part.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body, b"{}");
    assert_eq!(seen[1].first_line, "GET /.well-known/jwks.json HTTP/1.1");
}

#[tokio::test]
async fn a_chunked_body_is_passed_on() {
    let gateway = TestGateway::start().await;
    let headers = "Transfer-Encoding: chunked\r\n";
    let head = gateway.request_as(Role::Admin, "POST", "/api/patients", headers, "");
    let got = gateway.send(format!("{head}5\r\nhello\r\n3\r\n!!!\r\n0\r\n\r\n")).await;
    assert_eq!(got.status(), 200);
    assert_eq!(gateway.part.seen()[0].body, b"hello!!!");
}

#[tokio::test]
async fn an_answers_paths_are_those_of_the_gateway_and_its_own_headers_are_kept() {
    let gateway = TestGateway::start().await;
    let headers = "Location: /patients/1\r\nETag: \"3\"\r\nServer: secret/1.0\r\n\
        Link: </patients?cursor=x>; rel=\"next\"\r\nCache-Control: private\r\n";
    gateway.part.will(Act::Send(answer("201 Created", headers, "{}")));
    let got =
        gateway.send(gateway.request_as(Role::Admin, "POST", "/api/patients", "", "{}")).await;
    assert_eq!(got.status(), 201);
    got.is_marked();
    assert_eq!(got.header("location"), Some("/api/patients/1"));
    assert_eq!(got.header("link"), Some("</api/patients?cursor=x>; rel=\"next\""));
    assert_eq!(got.header("etag"), Some("\"3\""));
    assert_eq!(got.header("cache-control"), Some("private"));
}

#[tokio::test]
async fn head_is_passed_on_and_has_no_body() {
    let gateway = TestGateway::start().await;
    gateway.part.will(Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec()));
    let mut client = gateway.client().await;
    client.send(gateway.request_as(Role::Admin, "HEAD", "/api/patients", "", "")).await;
    let got = client.answer_to("HEAD").await;
    assert_eq!((got.status(), got.header("content-length")), (200, Some("5")));
    client.send(request("HEAD", "/healthz", "", "")).await;
    assert_eq!(client.answer_to("HEAD").await.status(), 200);
    client.send(request("GET", "/healthz", "", "")).await;
    assert_eq!(client.answer().await.json()["status"], "UP");
}

#[tokio::test]
async fn the_gateways_own_pages_ask_no_part() {
    let gateway = TestGateway::start().await;
    let page = gateway.send(request("GET", "/swagger-ui/", "", "")).await;
    assert_eq!(page.status(), 200);
    page.is_marked();
    assert!(String::from_utf8(page.body.clone()).unwrap().contains("swagger-ui"));
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let bundle = gateway.send(request("GET", "/swagger-ui/swagger-ui-bundle.js", "", "")).await;
    assert!(bundle.whole && bundle.body.len() > 100_000);
    let bare = gateway.send(request("GET", "/swagger-ui", "", "")).await;
    assert_eq!((bare.status(), bare.header("location")), (308, Some("/swagger-ui/")));
    assert_eq!(
        gateway.send(request("GET", "/swagger-ui/x.js", "", "")).await.problem(),
        "not_found"
    );
    assert!(gateway.part.seen().is_empty());
}

#[tokio::test]
async fn documents_are_public_and_come_from_their_part() {
    let gateway = TestGateway::start().await;
    assert_eq!(gateway.send(request("GET", "/api-docs/billing", "", "")).await.status(), 200);
    assert_eq!(gateway.part.seen()[0].first_line, "GET /v3/api-docs HTTP/1.1");
}

#[tokio::test]
async fn a_part_is_called_by_mtls_and_must_show_its_own_certificate() {
    let config = ListenConfig {
        mode: Mode::Strict,
        connections_max: 16,
        handshake: Duration::from_secs(10),
        header: Duration::from_secs(10),
        drain: Duration::ZERO,
    };
    let listen = async |part| {
        let address = ([127, 0, 0, 1], 0).into();
        let listener = Listener::bind(address, mesh_tls(part), config).await.unwrap();
        let url = format!("https://{}", listener.address().unwrap());
        let routes = axum::Router::new().route("/patients", axum::routing::get(async || "mtls"));
        tokio::spawn(listener.serve(routes, CancellationToken::new()));
        url
    };
    let (patient, impostor) = (listen(Part::Patient).await, listen(Part::Billing).await);
    for (url, status) in [(patient, 200), (impostor, 503)] {
        let url = url.parse().unwrap();
        let gateway = TestGateway::start_with(|config| {
            config.upstreams.insert(Part::Patient, vec![url]);
        })
        .await;
        let got = soon(gateway.send_as(Role::Admin, "GET", "/api/patients")).await;
        assert_eq!(got.status(), status);
    }
}
