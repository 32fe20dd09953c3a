//! What is no service account, and attempts on one account.

use reqwest::{Client, Method, StatusCode};
use serde_json::json;

use crate::test_mesh::{ADMIN, AUDITOR, Caller, TestMesh, fields};

const OLD_PASSWORD: &str = "password123";
const PASSWORD: &str = "a longer pass phrase";

#[tokio::test]
async fn what_is_no_service_account_is_refused_field_by_field() {
    let world = TestMesh::untouched().await;
    let admin = world.sign_in(ADMIN).await;
    let good = json!({"name": "a", "role": "BILLING"});
    for (field, odd) in [
        ("name", json!("  ")),
        ("name", json!("x".repeat(101))),
        ("name", json!("a\nb")),
        ("role", json!("ADMIN")),
        ("role", json!("billing")),
        ("expiresInDays", json!(0)),
        ("expiresInDays", json!(366)),
        // What is ours to say.
        ("id", json!("00000000-0000-4000-8000-00000000dead")),
        ("key", json!("msk_x")),
        ("createdAt", json!("2026-01-01T00:00:00Z")),
        ("expiresAt", json!("2099-01-01T00:00:00Z")),
        ("lastUsedAt", json!("2026-01-01T00:00:00Z")),
        ("isAdmin", json!(true)),
    ] {
        let mut body = good.clone();
        body[field] = odd.clone();
        let problem = admin.post("/api/service-accounts", &body).await.refused(400, "invalid");
        assert_eq!(fields(&problem), [field], "{odd}");
    }
    assert!(admin.get("/api/service-accounts").await.list("serviceAccounts").is_empty());
    for (path, body) in [
        ("/auth/token", json!({"apiKey": "x", "role": "ADMIN"})),
        (
            "/auth/password",
            json!({"currentPassword": OLD_PASSWORD, "newPassword": PASSWORD, "role": "ADMIN"}),
        ),
    ] {
        let problem = admin.post(path, &body).await.refused(400, "invalid");
        assert_eq!(fields(&problem), ["role"]);
    }
    let me = admin.get("/auth/me").await.expect(StatusCode::OK).json();
    assert_eq!(me["role"], "ADMIN");
}

#[tokio::test]
async fn an_account_takes_ten_failures_and_a_flood_does_not_lock_its_user_out() {
    let world = TestMesh::start_with(&[("MEDISYNC_AUTH__RATE_LIMIT__ACCOUNT", "10/600s")]).await;
    let home = from(&world, [127, 0, 0, 1]);
    home.log_in(ADMIN, OLD_PASSWORD).await.expect(StatusCode::OK);
    // The first one came from a place that was new then, and cost nothing: it was right.
    for (email, attempts) in [(ADMIN, 10), ("nobody@test.com", 10)] {
        let mut told_apart = Vec::new();
        for n in 2..14 {
            // What a client says of its address makes it nobody else.
            let stranger = from(&world, [127, 0, 0, n]);
            let body = json!({"email": email, "password": "wrong"});
            let said = ("x-forwarded-for", "127.0.0.1");
            let answer = stranger.send(Method::POST, "/auth/login", &[said], Some(&body)).await;
            told_apart.push(answer.status.as_u16());
            if answer.status == StatusCode::TOO_MANY_REQUESTS {
                let wait_s: u64 = answer.header("retry-after").parse().unwrap();
                assert!((1..=60).contains(&wait_s), "{wait_s}");
                answer.refused(429, "rate_limited");
            }
        }
        let mut expected = vec![401; attempts];
        expected.resize(told_apart.len(), 429);
        assert_eq!(told_apart, expected, "{email}");
    }
    home.log_in(ADMIN, OLD_PASSWORD).await.expect(StatusCode::OK);
    let new_place = from(&world, [127, 0, 0, 99]);
    new_place.log_in(ADMIN, OLD_PASSWORD).await.refused(429, "rate_limited");
    new_place.log_in(AUDITOR, OLD_PASSWORD).await.expect(StatusCode::OK);
    let metrics = world.metrics().await;
    assert!(metrics.contains("auth_logins_total{outcome=\"limited\"} 5"), "{metrics}");
}

/// Nobody, at this address.
fn from(world: &TestMesh, address: [u8; 4]) -> Caller {
    let client = Client::builder().local_address(Some(address.into())).tls_certs_only([]);
    Caller { client: client.build().unwrap(), ..world.anybody() }
}
