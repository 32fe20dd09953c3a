//! How much anybody gets: limits by user, by client address, by sign-ins.

use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::json;

use crate::test_mesh::{ADMIN, AUDITOR, Answer, BILLING, CLINICIAN, TestMesh, by, medisync, until};

const SPOOFED: [(&str, &str); 6] = [
    ("x-forwarded-for", "192.0.2.7"),
    ("x-real-ip", "192.0.2.7"),
    ("forwarded", "for=192.0.2.7"),
    ("x-client-ip", "192.0.2.7"),
    ("true-client-ip", "192.0.2.7"),
    ("cf-connecting-ip", "192.0.2.7"),
];

#[tokio::test]
async fn a_user_has_exactly_so_many_requests_and_is_told_how_many_are_left() {
    let limit = [("MEDISYNC_GATEWAY__RATE_LIMIT__USER", "12/1200s")];
    let world = TestMesh::start_with(&limit).await;
    let clinician = world.sign_in(CLINICIAN).await;
    let admin = world.sign_in(ADMIN).await;
    for left in (0..12).rev() {
        // Refusals count, and so do the requests of another sign-in of the same user.
        let path = ["/auth/me", "/api/users", "/api/patients", "/api/patients/x"][left % 4];
        let answer = clinician.get(path).await;
        assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(told(&answer, "user", 12, 1200), left);
    }
    let again = world.sign_in(CLINICIAN).await;
    for caller in [&clinician, &again] {
        for said in SPOOFED {
            let answer = caller.send(Method::GET, "/auth/me", &[said], None).await;
            assert_eq!(told(&answer, "user", 12, 1200), 0);
            too_many(answer, 100);
        }
    }
    assert_eq!(told(&admin.get("/auth/me").await.expect(StatusCode::OK), "user", 12, 1200), 11);
    let metrics = world.metrics().await;
    assert!(metrics.contains("gateway_rate_limited_total{limit=\"user\"} 12"));
    // What was refused went no further.
    let at_auth = "http_server_request_duration_seconds_count{method=\"GET\",route=\"/me\",\
                   service=\"auth\",status=\"200\"} 4";
    assert!(metrics.contains(at_auth), "{metrics}");
    world.anybody().get("/healthz").await.expect(StatusCode::OK);
    // The audit log has the first of them: a limit is no way to fill it.
    let auditor = world.sign_in(AUDITOR).await;
    let refused = || async {
        let path = "/api/audit?outcome=refused&user=clinician%40test.com&size=200";
        let found = auditor.get(path).await.expect(StatusCode::OK).list("entries");
        found.iter().filter(|entry| entry["action"] == "/auth/me").count()
    };
    until("the first refusal is recorded", || async { refused().await == 1 }).await;
}

#[tokio::test]
async fn who_waits_as_long_as_told_is_let_in_again() {
    let limit = [("MEDISYNC_GATEWAY__RATE_LIMIT__USER", "2/2s:1")];
    let world = TestMesh::start_with(&limit).await;
    let caller = world.sign_in(BILLING).await;
    caller.get("/auth/me").await.expect(StatusCode::OK);
    // Some at once: one by one, a slow machine may wait as long as it takes.
    let refused = loop {
        let asked = (0..5).map(|_| caller.get("/auth/me"));
        let answers = futures_util::future::join_all(asked).await;
        let refused = |answer: &Answer| answer.status == StatusCode::TOO_MANY_REQUESTS;
        if let Some(refused) = answers.into_iter().find(refused) {
            break refused;
        }
    };
    let wait_s: u64 = refused.header("retry-after").parse().unwrap();
    assert_eq!(wait_s, 1);
    too_many(refused, 1);
    let latest = Instant::now() + Duration::from_millis(1500);
    // Asking too early does not make it longer.
    let asked = || async { caller.get("/auth/me").await.status.is_success() };
    by(latest, "the wait is over", asked).await;
}

#[tokio::test]
async fn an_address_has_exactly_so_many_requests_whatever_it_says_that_it_is() {
    let limits = [
        ("MEDISYNC_GATEWAY__RATE_LIMIT__CLIENT", "15/1500s"),
        ("MEDISYNC_GATEWAY__RATE_LIMIT__LOGIN", "10/60s"),
    ];
    let world = TestMesh::start_with(&limits).await;
    let nobody = world.anybody();
    for left in (0..15).rev() {
        let path = ["/healthz", "/nowhere", "/auth/me", "/api-docs/billing"][left % 4];
        let answer = nobody.get(path).await;
        assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(told(&answer, "client", 15, 1500), left);
    }
    for said in SPOOFED {
        let answer = nobody.send(Method::GET, "/healthz", &[said], None).await;
        assert_eq!(told(&answer, "client", 15, 1500), 0);
        too_many(answer, 100);
    }
    too_many(nobody.log_in(ADMIN, "password123").await, 100);
    // Somebody else, from another address.
    let client = Client::builder().local_address(Some([127, 0, 0, 2].into()));
    let client = client.tls_certs_only([]).build().unwrap();
    let url = format!("{}/healthz", world.url("gateway"));
    assert_eq!(client.get(url).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn an_address_may_fail_to_sign_in_ten_times_a_minute_and_no_more() {
    let shown = medisync().args(["config", "show"]).output().unwrap().stdout;
    let shown = String::from_utf8(shown).unwrap();
    for default in ["\"100/1s\"", "\"200/1s\"", "\"10/60s\""] {
        assert!(shown.contains(default), "{default} in {shown}");
    }
    // In longer, so that no second attempt comes back while they are made.
    let limit = [("MEDISYNC_GATEWAY__RATE_LIMIT__LOGIN", "10/600s")];
    let world = TestMesh::start_with(&limit).await;
    let nobody = world.anybody();
    for left in (1..10).rev() {
        let answer = nobody.post("/auth/login", &json!({"email": "x"})).await;
        assert_eq!(told(&answer, "login", 10, 600), left);
        answer.refused(400, "invalid");
    }
    nobody.log_in(ADMIN, "a wrong password").await.refused(401, "unauthenticated");
    for said in SPOOFED {
        let right = json!({"email": ADMIN, "password": "password123"});
        let answer = nobody.send(Method::POST, "/auth/login", &[said], Some(&right)).await;
        too_many(answer, 60);
    }
    too_many(nobody.log_in(CLINICIAN, "password123").await, 60);
    let metrics = world.metrics().await;
    assert!(metrics.contains("gateway_rate_limited_total{limit=\"login\"} 7"), "{metrics}");
    nobody.get("/auth/.well-known/jwks.json").await.expect(StatusCode::OK);
}

/// What the headers say: how many are left of the limit that they name.
#[track_caller]
fn told(answer: &Answer, limit: &str, requests: u32, window_s: u32) -> usize {
    let policy = format!("\"{limit}\";q={requests};w={window_s}");
    assert_eq!(answer.header("ratelimit-policy"), policy, "{}", answer.text);
    let state = answer.header("ratelimit");
    let (left, reset_s) = state
        .strip_prefix(&format!("\"{limit}\";r="))
        .and_then(|rest| rest.split_once(";t="))
        .unwrap_or_else(|| panic!("{state}"));
    let reset_s: u32 = reset_s.parse().unwrap();
    assert!((1..=window_s).contains(&reset_s), "{state}");
    left.parse().unwrap()
}

#[track_caller]
fn too_many(answer: Answer, wait_s_max: u64) {
    let wait_s: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=wait_s_max.max(6)).contains(&wait_s), "{wait_s}");
    answer.refused(429, "rate_limited");
}
