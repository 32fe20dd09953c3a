//! Anyone who sends a request with several faults is told all of them, by every service.

use reqwest::StatusCode;
use serde_json::json;

use crate::{
    test_mesh::{ADMIN, BILLING, CLINICIAN, TestMesh, fields},
    waiting::until,
};

#[tokio::test]
async fn every_field_of_a_body_that_is_wrong_is_told() {
    let world = TestMesh::start().await;
    let admin = world.sign_in(ADMIN).await;
    for (path, body, wrong) in [
        (
            "/auth/login",
            json!({"emial": "x", "passwrd": "y"}),
            &["email", "password", "emial", "passwrd"][..],
        ),
        ("/auth/login", json!({"email": 5, "password": 6}), &["email", "password"]),
        ("/auth/refresh", json!({"token": "x", "b": 1}), &["refreshToken", "b", "token"]),
        ("/auth/token", json!({"apiKey": [], "b": 1}), &["apiKey", "b"]),
        (
            "/auth/password",
            json!({"currentPassword": 1, "new": "x"}),
            &["currentPassword", "newPassword", "new"],
        ),
        (
            "/api/users",
            json!({"mail": "x", "pw": "y", "role": "ROOT"}),
            &["email", "password", "role", "mail", "pw"],
        ),
        (
            "/api/service-accounts",
            json!({"name": 1, "role": "ADMIN", "expiresInDays": "x", "z": 1}),
            &["name", "role", "expiresInDays", "z"],
        ),
        (
            "/api/patients",
            json!({"name": 1, "registeredDate": "x", "z": 1}),
            &["name", "email", "address", "dateOfBirth", "registeredDate", "z"],
        ),
    ] {
        let problem = admin.post(path, &body).await.refused(400, "invalid");
        assert_eq!(fields(&problem), wrong, "{path} {body}");
    }
    let me = admin.get("/auth/me").await.json()["id"].as_str().unwrap().to_owned();
    let change = json!({"role": 1, "disabled": "no", "mail": "x"});
    let path = format!("/api/users/{me}");
    let answer = admin.send(reqwest::Method::PATCH, &path, &[], Some(&change)).await;
    assert_eq!(fields(&answer.refused(400, "invalid")), ["role", "disabled", "mail"]);
}

#[tokio::test]
async fn every_parameter_of_a_query_that_is_wrong_is_told() {
    let world = TestMesh::start().await;
    let (admin, clerk) = (world.sign_in(ADMIN).await, world.sign_in(BILLING).await);
    for (path, wrong) in [
        ("/api/users?size=0&foo=1&cursor=x", &["size", "cursor", "foo"][..]),
        ("/api/service-accounts?size=x&foo=1", &["size", "foo"]),
        ("/api/notifications?patientId=1&size=201&foo=1", &["patientId", "size", "foo"]),
        (
            "/api/billing/accounts?patientId=1&size=0&cursor=x&a=1",
            &["patientId", "size", "cursor", "a"],
        ),
        ("/api/analytics/summary?a=1&b=2", &["a", "b"]),
        ("/api/patients?size=0&order=up&a=1", &["size", "order", "a"]),
        (
            "/api/audit?outcome=x&part=x&from=x&size=0&a=1",
            &["outcome", "part", "from", "size", "a"],
        ),
        ("/api/users?size=1&size=2", &["size"]),
    ] {
        let problem = admin.get(path).await.refused(400, "invalid");
        assert_eq!(fields(&problem), wrong, "{path}");
    }
    clerk.get("/api/billing/accounts?size=1").await.expect(StatusCode::OK);
    for path in ["/api/patients?search=%E9", "/api/audit?user=%FF", "/api/users?a=%C3%28"] {
        admin.get(path).await.refused(400, "invalid");
    }
}

#[tokio::test]
async fn a_search_of_the_trail_that_can_find_nothing_is_refused() {
    let world = TestMesh::start().await;
    let admin = world.sign_in(ADMIN).await;
    let me = admin.get("/auth/me").await.json()["id"].as_str().unwrap().to_owned();
    for (filter, field) in [
        ("action=nope", "action"),
        ("action=patient", "action"),
        ("user=nobody", "user"),
        ("user=nobody%40test.com", "user"),
        ("user=spiffe://medisync/nope", "user"),
    ] {
        let problem = admin.get(&format!("/api/audit?{filter}")).await.refused(400, "invalid");
        assert_eq!(fields(&problem), [field], "{filter}");
    }
    // By an address, as by the id that it stands for.
    world.sign_in(CLINICIAN).await;
    for filter in [format!("user={me}"), format!("user={}", ADMIN.replace('@', "%40"))] {
        let path = format!("/api/audit?action=session.begin&{filter}");
        // Entries are copied a moment after they were written.
        until("the sign-in is found", || async {
            let found = admin.get(&path).await.expect(StatusCode::OK).list("entries");
            assert!(found.len() <= 1, "{filter}");
            found.iter().all(|entry| entry["user"] == json!(me)) && found.len() == 1
        })
        .await;
    }
    for filter in
        ["user=anonymous", "user=shell", "user=spiffe://medisync/patient", "action=user.list"]
    {
        admin.get(&format!("/api/audit?{filter}")).await.expect(StatusCode::OK);
    }
}
