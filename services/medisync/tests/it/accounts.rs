//! Service accounts from creation to cut-off, users' own passwords, and attempts on one account.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    sign_in::cut_off,
    world::{ADMIN, AUDITOR, Answer, BILLING, CLINICIAN, Caller, World, fields},
};

const OLD_PASSWORD: &str = "password123";
const PASSWORD: &str = "a longer pass phrase";

#[tokio::test]
async fn a_service_account_works_from_its_creation_to_its_end() {
    let world = World::start().await;
    let admin = world.sign_in(ADMIN).await;
    let new = json!({"name": "laboratory link", "role": "CLINICIAN", "expiresInDays": 30});
    let made = admin.post("/api/service-accounts", &new).await.expect(StatusCode::CREATED).json();
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("msk_"));
    admin.post("/api/service-accounts", &new).await.refused(409, "conflict");

    let program = by_key(&world, key).await;
    let me = program.get("/auth/me").await.expect(StatusCode::OK).json();
    assert_eq!((&me["id"], &me["name"]), (&made["id"], &made["name"]));
    program.get("/api/patients").await.expect(StatusCode::OK);
    program.get("/api/billing/accounts").await.refused(403, "forbidden");
    program.post("/api/service-accounts", &new).await.refused(403, "forbidden");
    let change = json!({"currentPassword": OLD_PASSWORD, "newPassword": PASSWORD});
    program.post("/auth/password", &change).await.refused(403, "forbidden");

    let list = admin.get("/api/service-accounts").await.expect(StatusCode::OK);
    let listed = &list.list("serviceAccounts")[0];
    assert_eq!(listed["id"], made["id"]);
    assert!(listed["lastUsedAt"].is_string(), "{listed}");
    assert!(!list.text.contains(key) && !list.text.contains("msk_"), "{}", list.text);

    let path = format!("/api/service-accounts/{}", made["id"].as_str().unwrap());
    admin.delete(&path).await.expect(StatusCode::NO_CONTENT);
    cut_off(&world, &program).await;
    let deleted = world.anybody().post("/auth/token", &json!({"apiKey": key})).await;
    let unknown = world.anybody().post("/auth/token", &json!({"apiKey": "x"})).await;
    assert_eq!(told(deleted), told(unknown));
    admin.delete(&path).await.refused(404, "not_found");
    assert!(!world.log().contains(key), "no key is logged");
}

#[tokio::test]
async fn what_is_no_service_account_is_refused_field_by_field() {
    let world = World::start().await;
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
async fn a_user_changes_the_own_password_and_is_signed_out_everywhere() {
    let world = World::start().await;
    let (here, there) = (world.sign_in(CLINICIAN).await, world.sign_in(CLINICIAN).await);
    let change = async |current: &str, new: &str| {
        let body = json!({"currentPassword": current, "newPassword": new});
        here.post("/auth/password", &body).await
    };
    for (current, new, field) in [
        ("wrong", PASSWORD, "currentPassword"),
        (OLD_PASSWORD, "short", "newPassword"),
        (OLD_PASSWORD, "Qwertyuiop123", "newPassword"),
        (OLD_PASSWORD, "Clinician@test.com", "newPassword"),
    ] {
        let problem = change(current, new).await.refused(400, "invalid");
        assert_eq!(fields(&problem), [field]);
        here.get("/auth/me").await.expect(StatusCode::OK);
    }
    change(OLD_PASSWORD, PASSWORD).await.expect(StatusCode::NO_CONTENT);
    for caller in [&here, &there] {
        cut_off(&world, caller).await;
    }
    let old = world.anybody().log_in(CLINICIAN, OLD_PASSWORD).await;
    old.refused(401, "unauthenticated");
    world.anybody().log_in(CLINICIAN, PASSWORD).await.expect(StatusCode::OK);
    world.sign_in(BILLING).await;
}

#[tokio::test]
async fn an_account_takes_ten_attempts_and_a_flood_does_not_lock_its_user_out() {
    let world = World::start_with(&[("MEDISYNC_AUTH__RATE_LIMIT__ACCOUNT", "10/600s")]).await;
    let home = from(&world, [127, 0, 0, 1]);
    home.log_in(ADMIN, OLD_PASSWORD).await.expect(StatusCode::OK);
    // The first one came from a place that was new then.
    for (email, attempts) in [(ADMIN, 9), ("nobody@test.com", 10)] {
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
    assert!(metrics.contains("auth_logins_total{outcome=\"limited\"} 6"), "{metrics}");
}

async fn by_key(world: &World, key: &str) -> Caller {
    let answer = world.anybody().post("/auth/token", &json!({"apiKey": key})).await;
    let token = answer.expect(StatusCode::OK).json();
    assert!(token.get("refreshToken").is_none());
    world.anybody().with(token["token"].as_str().unwrap())
}

/// Nobody, at this address.
fn from(world: &World, address: [u8; 4]) -> Caller {
    let client = Client::builder().local_address(Some(address.into())).tls_certs_only([]);
    Caller { client: client.build().unwrap(), ..world.anybody() }
}

/// What a refusal says, but for its trace.
#[track_caller]
fn told(answer: Answer) -> Value {
    let mut problem = answer.refused(401, "unauthenticated");
    problem.as_object_mut().unwrap().remove("traceId");
    problem
}
