//! Who is turned away, with what, and that no part hears of it.

use shared_middleware::identity::Role;

use super::test_gateway::{TestGateway, request};
use crate::policy::route::{ROWS, Target};

#[tokio::test]
async fn without_a_token_every_row_that_needs_one_is_unauthenticated() {
    let gateway = TestGateway::start().await;
    let mut asked = 0;
    for row in ROWS.iter().filter(|row| row.rate == crate::policy::route::RateClass::User) {
        let path = row.path.replace("{id}", "42");
        for token in ["", "Authorization: Bearer x.y.z\r\n", "Authorization: Basic YTpi\r\n"] {
            let got = gateway.send(request(row.method, &path, token, "")).await;
            assert_eq!(got.problem(), "unauthenticated", "{} {path}", row.method);
            assert_eq!(got.header("www-authenticate"), Some("Bearer"));
            asked += 1;
        }
    }
    assert!(asked > 30);
    let in_query = format!("/api/patients?access_token={}", gateway.keys.token("u1", Role::Admin));
    assert_eq!(gateway.send(request("GET", &in_query, "", "")).await.status(), 401);
    assert!(gateway.part.seen().is_empty());
}

#[tokio::test]
async fn every_role_gets_through_exactly_where_the_table_lets_it() {
    let gateway = TestGateway::start().await;
    let mut through = 0;
    for row in ROWS.iter().filter(|row| matches!(row.target, Target::Upstream { .. })) {
        for role in Role::ALL {
            let path = row.path.replace("{id}", "42");
            let got = gateway.send_as(role, row.method, &path).await;
            let allowed = match row.access {
                shared_middleware::access::Access::User(permission) => permission.allows(role),
                _ => true,
            };
            if allowed {
                through += 1;
                assert_eq!(got.status(), 200, "{} {path} {role}", row.method);
            } else {
                assert_eq!(got.problem(), "forbidden", "{} {path} {role}", row.method);
            }
            assert_eq!(gateway.part.seen().len(), through);
        }
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_it_cannot_do_is_told() {
    let gateway = TestGateway::start().await;
    for path in ["/", "/metrics", "/API/patients", "/api/patients/", "/patients", "/livez"] {
        let got = gateway.send_as(Role::Admin, "GET", path).await;
        assert_eq!((got.status(), got.problem()), (404, "not_found".to_owned()), "{path}");
    }
    for method in ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "FOO", "get"] {
        let got = gateway.send_as(Role::Admin, method, "/api/patients").await;
        assert_eq!(got.problem(), "method_not_allowed", "{method}");
        assert_eq!(got.header("allow"), Some("GET, HEAD, POST"));
    }
    let got = gateway.send("CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n").await;
    assert_eq!((got.status(), got.problem()), (405, "method_not_allowed".to_owned()));
    assert!(got.header("allow").is_some());
    assert!(gateway.part.seen().is_empty());
}

#[tokio::test]
async fn a_malformed_request_is_told_so_and_its_connection_ends() {
    let gateway = TestGateway::start().await;
    let token = gateway.keys.token("u1", Role::Admin);
    let line = |target: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n")
    };
    for broken in [
        line("//api/patients"),
        line("/auth/login/../../api/patients"),
        line("/auth/login/..%2f..%2fapi/patients"),
        line("/api/patients#x"),
        line("/api/patients;x"),
        line("http://medisync/api/patients"),
        line(&format!("/{}", "a".repeat(9000))),
        "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\
            Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_owned(),
        "GET / HTTP/1.1\nHost: x\n\n".to_owned(),
        "hello\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(200)),
        format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "b".repeat(17_000)),
    ] {
        let mut client = gateway.client().await;
        client.send(&broken).await;
        let got = client.answer().await;
        assert_eq!((got.status(), got.problem()), (400, "invalid".to_owned()), "{broken:?}");
        assert_eq!(got.header("connection"), Some("close"));
        client.end().await;
    }
    assert!(gateway.part.seen().is_empty());
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_by_its_length_and_by_its_chunks() {
    let gateway = TestGateway::start_with(|config| config.body_bytes_max = 1000).await;
    let fits = "x".repeat(1000);
    let got =
        gateway.send(gateway.request_as(Role::Admin, "POST", "/api/patients", "", &fits)).await;
    assert_eq!(got.status(), 200);

    let long = "x".repeat(100_000);
    let request = gateway.request_as(Role::Admin, "POST", "/api/patients", "", &long);
    let got = gateway.send(request).await;
    assert_eq!((got.status(), got.problem()), (413, "too_large".to_owned()));
    assert_eq!(got.header("connection"), Some("close"));
    assert_eq!(gateway.part.seen().len(), 1);

    let headers = "Transfer-Encoding: chunked\r\n";
    let head = gateway.request_as(Role::Admin, "POST", "/api/patients", headers, "");
    let chunk = format!("{:x}\r\n{}\r\n", 600, "y".repeat(600));
    let got = gateway.send(format!("{head}{chunk}{chunk}0\r\n\r\n")).await;
    assert_eq!((got.status(), got.problem()), (413, "too_large".to_owned()));
    // Whatever of it reached the part, it did not reach it whole.
    assert!(gateway.part.seen()[1..].iter().all(|seen| !seen.whole));
}

#[tokio::test]
async fn a_refused_request_leaves_the_connection_usable_when_it_was_read_whole() {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    for _ in 0..3 {
        client.send(request("GET", "/api/patients", "", "")).await;
        assert_eq!(client.answer().await.problem(), "unauthenticated");
    }
    client.send(gateway.request_as(Role::Admin, "GET", "/api/patients", "", "")).await;
    assert_eq!(client.answer().await.status(), 200);
}

#[tokio::test]
async fn one_connection_too_many_is_told_to_come_back() {
    let gateway = TestGateway::start_with(|config| config.connections_max = 1).await;
    let mut first = gateway.client().await;
    first.send(request("GET", "/healthz", "", "")).await;
    assert_eq!(first.answer().await.status(), 200);
    let mut second = gateway.client().await;
    let got = second.answer().await;
    assert_eq!((got.status(), got.problem()), (503, "unavailable".to_owned()));
    assert!(got.header("retry-after").is_some());
}

#[tokio::test]
async fn a_taken_port_is_told_with_its_address() {
    let gateway = TestGateway::start().await;
    let taken = gateway.running.address();
    let error = crate::bind(taken, None).unwrap_err();
    assert_eq!(error.to_string(), format!("the gateway cannot listen on {taken}"));
}
