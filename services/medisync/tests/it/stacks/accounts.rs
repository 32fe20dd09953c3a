//! Service accounts from creation to cut-off, and users' own passwords.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    sessions::cut_off,
    test_mesh::{ADMIN, Answer, BILLING, Caller, TestMesh, fields},
};

/// Somebody whose password may change.
const USER: &str = "changes.password@test.com";
const OLD_PASSWORD: &str = "the first pass phrase";
const PASSWORD: &str = "a longer pass phrase";

#[tokio::test]
async fn a_service_account_works_from_its_creation_to_its_end() {
    let world = TestMesh::shared().await;
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

    let list = admin.get("/api/service-accounts?size=200").await.expect(StatusCode::OK);
    let listed = list.list("serviceAccounts");
    let listed = listed.iter().find(|account| account["id"] == made["id"]).unwrap();
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
async fn a_user_changes_the_own_password_and_is_signed_out_everywhere() {
    let world = TestMesh::shared().await;
    let admin = world.sign_in(ADMIN).await;
    let user = json!({"email": USER, "password": OLD_PASSWORD, "role": "CLINICIAN"});
    admin.post("/api/users", &user).await.expect(StatusCode::CREATED);
    let (here, there) = (signed_in(&world).await, signed_in(&world).await);
    let change = async |current: &str, new: &str| {
        let body = json!({"currentPassword": current, "newPassword": new});
        here.post("/auth/password", &body).await
    };
    for (current, new, field) in [
        ("wrong", PASSWORD, "currentPassword"),
        (OLD_PASSWORD, "short", "newPassword"),
        (OLD_PASSWORD, "Qwertyuiop123", "newPassword"),
        (OLD_PASSWORD, "Changes.Password@test.com", "newPassword"),
    ] {
        let problem = change(current, new).await.refused(400, "invalid");
        assert_eq!(fields(&problem), [field]);
        here.get("/auth/me").await.expect(StatusCode::OK);
    }
    change(OLD_PASSWORD, PASSWORD).await.expect(StatusCode::NO_CONTENT);
    for caller in [&here, &there] {
        cut_off(&world, caller).await;
    }
    let old = world.anybody().log_in(USER, OLD_PASSWORD).await;
    old.refused(401, "unauthenticated");
    world.anybody().log_in(USER, PASSWORD).await.expect(StatusCode::OK);
    world.sign_in(BILLING).await;
}

async fn signed_in(world: &TestMesh) -> Caller {
    let answer = world.anybody().log_in(USER, OLD_PASSWORD).await.expect(StatusCode::OK);
    world.anybody().with(answer.json()["token"].as_str().unwrap())
}

async fn by_key(world: &TestMesh, key: &str) -> Caller {
    let answer = world.anybody().post("/auth/token", &json!({"apiKey": key})).await;
    let token = answer.expect(StatusCode::OK).json();
    assert!(token.get("refreshToken").is_none());
    world.anybody().with(token["token"].as_str().unwrap())
}

/// What a refusal says, but for its trace.
#[track_caller]
fn told(answer: Answer) -> Value {
    let mut problem = answer.refused(401, "unauthenticated");
    problem.as_object_mut().unwrap().remove("traceId");
    problem
}
