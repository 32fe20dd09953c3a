//! Limits, as clients see them.

use std::num::NonZeroU32;

use shared_middleware::identity::Role;

use super::test_gateway::{Act, TestGateway, answer, request};
use shared_middleware::rate_limit::RateLimit;

/// A limit that does not refill within a test.
fn few(requests: u32) -> Option<RateLimit> {
    Some(RateLimit::every(1, 3600).with_burst(NonZeroU32::new(requests).unwrap()))
}

#[tokio::test]
async fn every_answer_of_a_limited_route_tells_how_much_is_left() {
    let gateway = TestGateway::start_with(|config| {
        config.user_limit = Some(RateLimit::every(100, 1));
        config.client_limit = Some(RateLimit::every(200, 1));
        config.login_limit = Some(RateLimit::every(10, 60));
    })
    .await;
    let ok = gateway.send_as(Role::Admin, "GET", "/api/patients").await;
    assert_eq!(ok.header("ratelimit-policy"), Some("\"user\";q=100;w=1"));
    assert_eq!(ok.header("ratelimit"), Some("\"user\";r=99;t=1"));

    gateway.part.will(Act::Send(answer("409 Conflict", "", "{}")));
    let conflict = gateway.send_as(Role::Admin, "POST", "/api/patients").await;
    assert_eq!(conflict.status(), 409);
    assert!(conflict.header("ratelimit").unwrap().starts_with("\"user\";r="));

    let forbidden = gateway.send_as(Role::Auditor, "GET", "/api/patients").await;
    assert_eq!(forbidden.problem(), "forbidden");
    assert!(forbidden.header("ratelimit").unwrap().starts_with("\"user\";r="));

    let without_token = gateway.send(request("GET", "/api/patients", "", "")).await;
    assert_eq!(without_token.status(), 401);
    assert_eq!(without_token.header("ratelimit-policy"), Some("\"client\";q=200;w=1"));

    // Only failures are counted, and this is none.
    let login = gateway.send(request("POST", "/auth/login", "", "{}")).await;
    assert_eq!(login.header("ratelimit-policy"), Some("\"login\";q=10;w=60"));
    assert!(login.header("ratelimit").unwrap().starts_with("\"login\";r=10;"));
}

#[tokio::test]
async fn without_limits_no_answer_speaks_of_any() {
    let gateway = TestGateway::start().await;
    let got = gateway.send_as(Role::Admin, "GET", "/api/patients").await;
    assert_eq!((got.header("ratelimit"), got.header("ratelimit-policy")), (None, None));
}

#[tokio::test]
async fn a_user_over_the_limit_is_refused_and_another_is_not() {
    let gateway = TestGateway::start_with(|config| config.user_limit = few(3)).await;
    for _ in 0..3 {
        assert_eq!(gateway.send_as(Role::Admin, "GET", "/api/patients").await.status(), 200);
    }
    let refused = gateway.send_as(Role::Admin, "GET", "/api/patients").await;
    assert_eq!((refused.status(), refused.problem()), (429, "rate_limited".to_owned()));
    let retry_after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3590..=3600).contains(&retry_after));
    assert_eq!(refused.header("ratelimit"), Some(&*format!("\"user\";r=0;t={retry_after}")));

    let other = format!("Authorization: Bearer {}\r\n", gateway.keys.token("u2", Role::Admin));
    assert_eq!(gateway.send(request("GET", "/api/patients", &other, "")).await.status(), 200);
    assert_eq!(gateway.part.seen().len(), 4);
}

#[tokio::test]
async fn an_address_is_limited_whatever_it_says_of_itself() {
    let gateway = TestGateway::start_with(|config| config.client_limit = few(3)).await;
    for n in 0..3 {
        let headers = format!("X-Forwarded-For: 192.0.2.{n}\r\nX-Real-IP: 192.0.2.{n}\r\n");
        assert_eq!(gateway.send(request("GET", "/healthz", &headers, "")).await.status(), 200);
    }
    let headers = "X-Forwarded-For: 192.0.2.9\r\nForwarded: for=192.0.2.9\r\n";
    let refused = gateway.send(request("GET", "/healthz", headers, "")).await;
    assert_eq!(refused.problem(), "rate_limited");
    // Also where there is nothing: guessing paths costs the same.
    assert_eq!(gateway.send(request("GET", "/nothing", "", "")).await.status(), 429);
}

#[tokio::test]
async fn sign_ins_that_fail_have_a_limit_of_their_own() {
    let gateway = TestGateway::start_with(|config| config.login_limit = few(2)).await;
    let log_in = || gateway.send(request("POST", "/auth/login", "", "{}"));
    for _ in 0..2 {
        gateway.part.will(Act::Send(answer("401 Unauthorized", "", "{}")));
        assert_eq!(log_in().await.status(), 401);
    }
    assert_eq!(log_in().await.problem(), "rate_limited");
    // Anyone who is signed in stays so.
    let refresh = || gateway.send(request("POST", "/auth/refresh", "", "{}"));
    for _ in 0..30 {
        assert_eq!(refresh().await.status(), 200);
    }
    for _ in 0..20 {
        gateway.part.will(Act::Send(answer("401 Unauthorized", "", "{}")));
        assert_eq!(refresh().await.status(), 401);
    }
    assert_eq!(refresh().await.problem(), "rate_limited");
    assert_eq!(gateway.part.seen().len(), 52);
}

#[tokio::test]
async fn sign_ins_that_succeed_or_meet_a_busy_part_cost_an_address_nothing() {
    let gateway = TestGateway::start_with(|config| config.login_limit = few(2)).await;
    let log_in = || gateway.send(request("POST", "/auth/login", "", "{}"));
    for _ in 0..12 {
        let right = log_in().await;
        assert_eq!((right.status(), right.header("ratelimit")), (200, Some("\"login\";r=2;t=1")));
        gateway.part.will(Act::Send(answer("503 Service Unavailable", "", "{}")));
        assert_eq!(log_in().await.status(), 503);
    }
    gateway.part.will(Act::Send(answer("401 Unauthorized", "", "{}")));
    let wrong = log_in().await;
    assert_eq!(wrong.header("ratelimit"), Some("\"login\";r=1;t=3600"));
}
