//! Users: through the gateway and from the shell.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    sessions::cut_off,
    test_mesh::{ADMIN, AUDITOR, CLINICIAN, Caller, TestMesh},
};

const PASSWORD: &str = "a longer pass phrase";

#[tokio::test]
async fn an_administrator_adds_changes_and_removes_users() {
    let world = TestMesh::shared().await;
    let admin = world.sign_in(ADMIN).await;
    let body = json!({"email": "New.User@test.com", "password": PASSWORD, "role": "BILLING"});
    let answer = admin.post("/api/users", &body).await.expect(StatusCode::CREATED);
    let user = answer.json();
    let path = format!("/api/users/{}", user["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), path);
    let names: Vec<_> = user.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["createdAt", "disabled", "email", "id", "role"]);
    assert_eq!(user["email"], "New.User@test.com");
    assert_eq!((&user["role"], &user["disabled"]), (&json!("BILLING"), &json!(false)));
    assert_eq!(admin.get(&path).await.expect(StatusCode::OK).json(), user);

    let mut taken = body.clone();
    taken["email"] = json!("nEW.uSER@TEST.com");
    admin.post("/api/users", &taken).await.refused(409, "conflict");
    let changed = change(&admin, &path, &json!({"role": "AUDITOR"})).await;
    assert_eq!(changed.0, 200);
    assert_eq!(changed.1["role"], "AUDITOR");
    world.anybody().log_in("new.user@test.com", PASSWORD).await.expect(StatusCode::OK);

    let (status, _) = change(&admin, &path, &json!({"password": "another pass phrase"})).await;
    assert_eq!(status, 200);
    let old = world.anybody().log_in("new.user@test.com", PASSWORD).await;
    old.refused(401, "unauthenticated");
    let new = world.anybody().log_in("new.user@test.com", "another pass phrase").await;
    new.expect(StatusCode::OK);

    admin.delete(&path).await.expect(StatusCode::NO_CONTENT);
    admin.get(&path).await.refused(404, "not_found");
    admin.delete(&path).await.refused(404, "not_found");
    assert_eq!(change(&admin, &path, &json!({"disabled": true})).await.0, 404);
    let gone = world.anybody().log_in("new.user@test.com", "another pass phrase").await;
    gone.refused(401, "unauthenticated");
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let world = TestMesh::start().await;
    let admin = world.sign_in(ADMIN).await;
    let path = format!("/api/users/{}", id_of(&admin, ADMIN).await);
    for (change_to, wanted) in
        [(json!({"disabled": true}), 409), (json!({"role": "CLINICIAN"}), 409)]
    {
        assert_eq!(change(&admin, &path, &change_to).await.0, wanted, "{change_to}");
    }
    admin.delete(&path).await.refused(409, "conflict");
    admin.get("/api/users").await.expect(StatusCode::OK);

    let body = json!({"email": "second@test.com", "password": PASSWORD, "role": "ADMIN"});
    let second = admin.post("/api/users", &body).await.expect(StatusCode::CREATED);
    let second_path = second.header("location").to_owned();
    // One who is disabled does not count.
    assert_eq!(change(&admin, &second_path, &json!({"disabled": true})).await.0, 200);
    admin.delete(&path).await.refused(409, "conflict");
    assert_eq!(change(&admin, &second_path, &json!({"disabled": false})).await.0, 200);

    // Of two who remove each other at once, one stays.
    let answer = world.anybody().log_in("second@test.com", PASSWORD).await;
    let second = world.anybody().with(answer.json()["token"].as_str().unwrap());
    let (one, other) = tokio::join!(admin.delete(&second_path), second.delete(&path));
    let gone = [&one, &other].iter().filter(|a| a.status == StatusCode::NO_CONTENT).count();
    assert_eq!(gone, 1, "{one:?} {other:?}");
}

#[tokio::test]
async fn what_is_done_from_the_shell_takes_effect_within_a_second() {
    let world = TestMesh::shared().await;
    let added = world.command(
        &["user", "add", "shell@test.com", "--role", "CLINICIAN"],
        &format!("{PASSWORD}\n"),
    );
    assert!(added.contains("shell@test.com"), "{added}");
    let log_in = async |password: &str| world.anybody().log_in("shell@test.com", password).await;
    // It is there with the first attempt.
    let first = log_in(PASSWORD).await.expect(StatusCode::OK).json();
    assert_eq!(first["role"], "CLINICIAN");
    let first = world.anybody().with(first["token"].as_str().unwrap());
    first.get("/api/patients").await.expect(StatusCode::OK);

    world.command(&["user", "passwd", "shell@test.com"], "another pass phrase\n");
    cut_off(&world, &first).await;
    log_in(PASSWORD).await.refused(401, "unauthenticated");
    let second = log_in("another pass phrase").await.expect(StatusCode::OK).json();
    let second = world.anybody().with(second["token"].as_str().unwrap());
    second.get("/api/patients").await.expect(StatusCode::OK);

    let listed = world.command(&["user", "list"], "");
    let line = listed.lines().find(|line| line.contains("shell@test.com")).unwrap();
    assert!(line.contains("CLINICIAN") && line.contains("enabled"), "{line}");
    for email in [ADMIN, AUDITOR, CLINICIAN, "shell@test.com"] {
        assert_eq!(listed.lines().filter(|line| line.contains(email)).count(), 1, "{listed}");
    }

    world.command(&["user", "disable", "shell@test.com"], "");
    cut_off(&world, &second).await;
    log_in("another pass phrase").await.refused(401, "unauthenticated");
    let listed = world.command(&["user", "list"], "");
    let line = listed.lines().find(|line| line.contains("shell@test.com")).unwrap();
    assert!(line.contains("disabled"), "{line}");
    let others = world.sign_in(CLINICIAN).await;
    others.get("/api/patients").await.expect(StatusCode::OK);
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
