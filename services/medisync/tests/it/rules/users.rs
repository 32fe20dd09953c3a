//! What is no user is refused.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::test_mesh::{ADMIN, AUDITOR, Caller, TestMesh, fields};

const PASSWORD: &str = "a longer pass phrase";

#[tokio::test]
async fn what_is_no_user_is_refused_field_by_field() {
    let world = TestMesh::untouched().await;
    let admin = world.sign_in(ADMIN).await;
    let problem = admin.post("/api/users", &json!({})).await.refused(400, "invalid");
    let named: BTreeSet<_> = fields(&problem).into_iter().collect();
    assert_eq!(named, BTreeSet::from(["email", "password", "role"]));
    let good = json!({"email": "good@test.com", "password": PASSWORD, "role": "BILLING"});
    for (field, odd) in [
        ("email", json!("x")),
        ("email", json!("")),
        ("email", json!("a@b@c")),
        ("email", json!(format!("{}@test.com", "x".repeat(250)))),
        ("password", json!("")),
        ("password", json!("short")),
        ("password", json!("x".repeat(2000))),
        ("role", json!("admin")),
        ("role", json!("ROOT")),
        ("role", json!("")),
    ] {
        let mut body = good.clone();
        body[field] = odd.clone();
        let problem = admin.post("/api/users", &body).await.refused(400, "invalid");
        assert_eq!(fields(&problem), [field], "{odd}");
        let secret = odd.as_str().filter(|text| text.len() > 4 && field == "password");
        assert!(secret.is_none_or(|secret| !problem.to_string().contains(secret)), "{problem}");
    }
    let path = format!("/api/users/{}", id_of(&admin, AUDITOR).await);
    for extra in ["id", "createdAt", "passwordHash", "isAdmin", "x"] {
        let mut body = good.clone();
        body[extra] = json!("1");
        let problem = admin.post("/api/users", &body).await.refused(400, "invalid");
        assert_eq!(fields(&problem), [extra]);
        let (status, _) = change(&admin, &path, &json!({extra: "1"})).await;
        assert_eq!(status, 400, "{extra}");
    }
    for id in ["1", "00000000-0000-4000-8000-00000000dead"] {
        admin.get(&format!("/api/users/{id}")).await.refused(404, "not_found");
    }
    assert_eq!(admin.get("/api/users").await.list("users").len(), 5);
    let text = admin.get("/api/users?size=200").await.text;
    for secret in ["password", "hash", "argon2"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let mut seen = BTreeSet::new();
    let mut page = "/api/users?size=2".to_owned();
    loop {
        let answer = admin.get(&page).await.expect(StatusCode::OK);
        seen.extend(answer.list("users").iter().map(|user| user["email"].to_string()));
        let Some(next) = answer.json()["nextCursor"].as_str().map(str::to_owned) else { break };
        page = format!("/api/users?size=2&cursor={next}");
    }
    assert_eq!(seen.len(), 5);
}

async fn change(admin: &Caller, path: &str, to: &Value) -> (u16, Value) {
    let answer = admin.send(Method::PATCH, path, &[], Some(to)).await;
    (answer.status.as_u16(), answer.json())
}

async fn id_of(admin: &Caller, email: &str) -> String {
    let users = admin.get("/api/users?size=200").await.list("users");
    let user = users.iter().find(|user| user["email"] == email).unwrap();
    user["id"].as_str().unwrap().to_owned()
}
