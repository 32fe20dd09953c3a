//! The demo is a demo: with it off, on data that was once a demo's, nobody of it signs in or is
//! served, and one command takes it out.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    caller::Caller,
    test_mesh::{ADMIN, TestMesh, a_patient, until},
};

const DEMO: &str = "MEDISYNC_DEMO";
const DEMO_PATIENT: &str = "123e4567-e89b-12d3-a456-426614174000";
const REAL: &str = "head.nurse@example.com";
const PASSWORD: &str = "violet tram 19 umbrella";

async fn warnings(world: &TestMesh) -> String {
    let verbose = world.admin_of("auth").get("/readyz?verbose").await;
    verbose.expect(StatusCode::OK).json()["warnings"].to_string()
}

async fn real_admin(world: &TestMesh) -> Caller {
    let answer = world.anybody().log_in(REAL, PASSWORD).await.expect(StatusCode::OK);
    world.anybody().with(answer.json()["token"].as_str().unwrap())
}

async fn listed(caller: &Caller, path: &str, name: &str) -> Vec<Value> {
    caller.get(path).await.expect(StatusCode::OK).json()[name].as_array().unwrap().clone()
}

#[tokio::test]
async fn with_the_demo_off_nobody_of_it_signs_in_or_is_served_and_one_command_takes_it_out() {
    let world = TestMesh::start().await;
    let before = world.anybody().log_in(ADMIN, "password123").await.expect(StatusCode::OK).json();
    world.command(&["user", "add", REAL, "--role", "ADMIN"], PASSWORD);
    let patient = real_admin(&world).await.register(&a_patient()).await;
    world.drain().await;
    assert!(warnings(&world).await.contains("the demo is on"));
    assert!(world.metrics().await.contains("demo_enabled 1"));
    assert!(world.log().contains("the demo is on"));

    let mut world = world.restart_with(DEMO, "false");
    let refused = world.anybody().log_in(ADMIN, "password123").await;
    refused.expect(StatusCode::UNAUTHORIZED);
    let held = world.anybody().with(before["token"].as_str().unwrap());
    held.get("/auth/me").await.expect(StatusCode::UNAUTHORIZED);
    held.get("/api/patients").await.expect(StatusCode::UNAUTHORIZED);
    let refresh = json!({"refreshToken": before["refreshToken"]});
    world.anybody().post("/auth/refresh", &refresh).await.expect(StatusCode::UNAUTHORIZED);

    let admin = real_admin(&world).await;
    for path in ["/api/patients?size=1", "/api/patients?search=e"] {
        let patients = listed(&admin, path, "patients").await;
        assert!(patients.iter().all(|it| it["id"] == json!(patient)), "{path}: {patients:?}");
    }
    let of_demo = format!("/api/patients/{DEMO_PATIENT}");
    admin.get(&of_demo).await.expect(StatusCode::NOT_FOUND);
    admin.put(&of_demo, &a_patient()).await.expect(StatusCode::NOT_FOUND);
    admin.delete(&of_demo).await.expect(StatusCode::NOT_FOUND);
    for (path, name) in [
        ("/api/billing/accounts", "accounts"),
        ("/api/notifications", "notifications"),
        ("/api/users", "users"),
    ] {
        assert_eq!(listed(&admin, path, name).await.len(), 1, "{path}");
    }
    assert!(admin.accounts_of(DEMO_PATIENT).await.is_empty());
    assert!(admin.messages_of(DEMO_PATIENT).await.is_empty());
    assert_eq!(admin.summary().await["patients"], 1);
    assert!(warnings(&world).await.contains("demo remove"));
    assert!(world.metrics().await.contains("demo_enabled 0"));

    let told = world.command(&["demo", "remove"], "");
    assert!(told.contains("5 users, 15 patients, 15 accounts, 15 messages"), "{told}");
    let again = world.command_line(&["demo", "remove"]).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    let users = world.command(&["user", "list"], "");
    assert!(users.contains(REAL) && !users.contains("@test.com"), "{users}");
    until("their removal is counted", || async { admin.summary().await["deleted"] == 15 }).await;
    assert_eq!(admin.summary().await["patients"], 1);
    assert!(admin.messages_of(DEMO_PATIENT).await.is_empty(), "nobody is told");
    let trails = world.command(&["audit", "verify"], "");
    assert!(!trails.contains("BROKEN"), "{trails}");
    world.terminate();
    assert!(world.ended().success());
}
