//! Pages of other origins, as their browser sees the gateway.

use shared_middleware::identity::Role;

use super::{
    message::Message,
    test_gateway::{Act, TestGateway, answer, request},
};
use crate::{Config, parse_origin};

const APP: &str = "https://app.example.org";

fn listed(config: &mut Config) {
    config.cors_origins = vec![parse_origin(APP).unwrap()];
}

async fn preflight(gateway: &TestGateway, origin: &str, path: &str) -> Message {
    let asked = format!(
        "Origin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n\
         Access-Control-Request-Headers: authorization,if-match\r\n"
    );
    gateway.send(request("OPTIONS", path, &asked, "")).await
}

#[tokio::test]
async fn a_listed_page_is_told_what_it_may_ask_and_no_part_hears_of_it() {
    let gateway = TestGateway::start_with(listed).await;
    let got = preflight(&gateway, APP, "/api/patients/42").await;
    assert_eq!(got.status(), 204);
    got.is_marked();
    assert_eq!(got.header("access-control-allow-origin"), Some(APP));
    assert_eq!(got.header("access-control-allow-methods"), Some("GET, HEAD, PUT, DELETE"));
    let headers = got.header("access-control-allow-headers").unwrap();
    for needed in ["authorization", "content-type", "idempotency-key", "if-match"] {
        assert!(headers.split(", ").any(|header| header == needed), "{needed}");
    }
    let remembered_s: u32 = got.header("access-control-max-age").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&remembered_s));
    assert_eq!(got.header("vary"), Some("Origin"));
    assert_eq!(got.header("access-control-allow-credentials"), None);
    assert!(gateway.part.seen().is_empty());
    assert_eq!(preflight(&gateway, APP, "/nowhere").await.status(), 404);
    // Without a question it is a method as any other.
    let plain = format!("Origin: {APP}\r\n");
    let got = gateway.send(request("OPTIONS", "/api/patients", &plain, "")).await;
    assert_eq!(got.problem(), "method_not_allowed");
}

#[tokio::test]
async fn a_listed_page_may_read_every_answer_a_refusal_too() {
    let gateway = TestGateway::start_with(|config| {
        listed(config);
        config.body_bytes_max = 10;
    })
    .await;
    let origin = format!("Origin: {APP}\r\n");
    let as_admin = |path: &str, body: &str| {
        gateway.request_as(
            Role::Admin,
            if body.is_empty() { "GET" } else { "POST" },
            path,
            &origin,
            body,
        )
    };
    gateway.part.will(Act::Send(answer("200 OK", "Vary: Accept\r\n", "{}")));
    let found = [
        (200, gateway.send(as_admin("/api/patients", "")).await),
        (400, gateway.send(as_admin("/api//patients", "")).await),
        (401, gateway.send(request("GET", "/api/patients", &origin, "")).await),
        (404, gateway.send(as_admin("/nowhere", "")).await),
        (405, gateway.send(request("DELETE", "/healthz", &origin, "")).await),
        (413, gateway.send(as_admin("/api/patients", "more than ten bytes")).await),
    ];
    for (status, got) in &found {
        assert_eq!(got.status(), *status);
        if *status == 400 {
            // Its head was not understood, and so not who asked.
            continue;
        }
        assert_eq!(got.header("access-control-allow-origin"), Some(APP), "{status}");
        let vary = got.headers.iter().filter(|(name, _)| name == "vary");
        assert!(vary.clone().any(|(_, value)| value == "Origin"), "{status}");
        let exposed = got.header("access-control-expose-headers").unwrap();
        for needed in ["location", "etag", "link", "x-request-id", "retry-after", "ratelimit"] {
            assert!(exposed.split(", ").any(|header| header == needed), "{needed}");
        }
        assert_eq!(got.header("access-control-allow-credentials"), None);
    }
    assert!(found[0].1.headers.contains(&("vary".to_owned(), "Accept".to_owned())));
}

#[tokio::test]
async fn any_other_page_is_told_nothing() {
    let gateway = TestGateway::start_with(listed).await;
    for origin in [
        "null",
        "*",
        "https://evil.example",
        "https://app.example.org.evil.example",
        "https://notapp.example.org",
        "https://app.example.org:8443",
        "http://app.example.org",
        "https://APP.example.org",
    ] {
        let got = preflight(&gateway, origin, "/api/patients").await;
        assert_eq!((got.status(), got.header("access-control-allow-origin")), (405, None));
        let said = format!("Origin: {origin}\r\n");
        let asked = gateway.request_as(Role::Admin, "GET", "/api/patients", &said, "");
        let got = gateway.send(asked).await;
        assert_eq!((got.status(), got.header("access-control-allow-origin")), (200, None));
        assert_eq!(got.header("vary"), Some("Origin"), "{origin}");
    }
}

#[tokio::test]
async fn without_a_list_an_origin_changes_nothing() {
    let gateway = TestGateway::start().await;
    let got = preflight(&gateway, APP, "/api/patients").await;
    assert_eq!(got.problem(), "method_not_allowed");
    let said = format!("Origin: {APP}\r\n");
    let got = gateway.send(request("GET", "/healthz", &said, "")).await;
    assert_eq!(got.status(), 200);
    for name in ["access-control-allow-origin", "access-control-expose-headers", "vary"] {
        assert_eq!(got.header(name), None);
    }
}
