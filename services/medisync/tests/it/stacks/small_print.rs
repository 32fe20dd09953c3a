//! What standards say in small print: entity tags, codings, byte order marks, one mailbox.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::test_mesh::{ADMIN, RECEPTIONIST, TestMesh, a_patient, fields};

#[tokio::test]
async fn whoever_knows_a_version_is_not_told_it_again() {
    let world = TestMesh::start().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let patient = a_patient();
    let path = format!("/api/patients/{}", clerk.register(&patient).await);
    for (tag, status) in
        [("\"1\"", 304), ("W/\"1\"", 304), ("*", 304), ("\"2\"", 200), ("\"01\"", 200)]
    {
        let known = [("if-none-match", tag)];
        let answer = clerk.send(Method::GET, &path, &known, None).await;
        assert_eq!((answer.status.as_u16(), answer.header("etag")), (status, "\"1\""), "{tag}");
        assert_eq!(answer.text.is_empty(), status == 304, "{tag}");
    }
    for (name, tag) in [
        ("if-match", "\"+1\""),
        ("if-match", "\"01\""),
        ("if-none-match", "*"),
        ("if-none-match", "\"1\""),
    ] {
        let answer = clerk.send(Method::PUT, &path, &[(name, tag)], Some(&a_patient())).await;
        answer.refused(412, "precondition_failed");
    }
}

#[tokio::test]
async fn a_change_that_changes_nothing_makes_no_version_and_no_letter() {
    let world = TestMesh::start().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let patient = a_patient();
    let id = clerk.register(&patient).await;
    let path = format!("/api/patients/{id}");
    let same = clerk.send(Method::PUT, &path, &[], Some(&patient)).await.expect(StatusCode::OK);
    assert_eq!((same.json()["version"].clone(), same.header("etag")), (json!(1), "\"1\""));
    let mut other = patient.clone();
    other["address"] = json!("2 Demo Street");
    let changed = clerk.send(Method::PUT, &path, &[], Some(&other)).await.expect(StatusCode::OK);
    assert_eq!(changed.json()["version"], 2);
}

#[tokio::test]
async fn one_mailbox_is_one_patient_however_its_domain_is_written() {
    let world = TestMesh::start().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let patient = |email: &str| {
        let mut patient = a_patient();
        patient["email"] = json!(email);
        patient
    };
    let jose = clerk.post("/api/patients", &patient("jose@exämple.org")).await;
    let jose = jose.expect(StatusCode::CREATED).json();
    assert_eq!(jose["email"], "jose@xn--exmple-cua.org");
    for same in ["jose@xn--exmple-cua.org", "JOSE@EXÄMPLE.org", "jose@exa\u{308}mple.org"] {
        clerk.post("/api/patients", &patient(same)).await.refused(409, "conflict");
    }
    let long = format!("a@{}.org", vec!["ä".repeat(40); 6].join("."));
    let problem = clerk.post("/api/patients", &patient(&long)).await.refused(400, "invalid");
    assert_eq!(fields(&problem), ["email"]);
}

#[tokio::test]
async fn a_password_is_what_its_user_sees_however_it_is_typed() {
    let world = TestMesh::start().await;
    let admin = world.sign_in(ADMIN).await;
    let (composed, apart) =
        ("crème brûlée à midi", "cre\u{300}me bru\u{302}le\u{301}e a\u{300} midi");
    for (email, set) in [("ann@test.com", composed), ("bob@test.com", apart)] {
        let new = json!({"email": email, "password": set, "role": "BILLING"});
        admin.post("/api/users", &new).await.expect(StatusCode::CREATED);
        for typed in [composed, apart] {
            world.anybody().log_in(email, typed).await.expect(StatusCode::OK);
        }
        let other = world.anybody().log_in(email, "creme brulee a midi").await;
        other.refused(401, "unauthenticated");
    }
}
