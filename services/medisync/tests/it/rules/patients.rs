//! What is no patient, no page and no question is refused.

use reqwest::StatusCode;
use serde_json::json;

use crate::test_mesh::{RECEPTIONIST, TestMesh, a_patient, fields};

#[tokio::test]
async fn every_wrong_field_is_named_and_nothing_is_done() {
    let world = TestMesh::untouched().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let body = json!({"name": " ", "email": "x", "dateOfBirth": "2999-01-01"});
    let problem = clerk.post("/api/patients", &body).await.refused(400, "invalid");
    assert_eq!(fields(&problem), ["name", "email", "address", "dateOfBirth"]);

    for extra in ["id", "version", "createdAt", "billing", "role", "isAdmin", "x"] {
        let mut body = a_patient();
        body[extra] = json!("1");
        let problem = clerk.post("/api/patients", &body).await.refused(400, "invalid");
        assert_eq!(fields(&problem), [extra]);
    }
    for body in ["", "{", "[]", "null", "\"x\"", "{\"name\": 1}", "{\"name\":\"a\",\"name\":\"b\"}"]
    {
        let answer = world.raw(&clerk, "application/json", body).await;
        answer.refused(400, "invalid");
    }
    let text = world.raw(&clerk, "text/plain", &a_patient().to_string()).await;
    text.refused(415, "unsupported_media_type");
    let long = json!({"name": "x".repeat(70_000)});
    clerk.post("/api/patients", &long).await.refused(413, "too_large");
    let deep = "[".repeat(100_000);
    let status = world.raw(&clerk, "application/json", &deep).await.status.as_u16();
    assert!([400, 413].contains(&status), "{status}");

    assert_eq!(clerk.get("/api/patients?size=200").await.list("patients").len(), 15);
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let world = TestMesh::untouched().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    for query in
        ["size=0", "size=201", "size=abc", "size=-1", "sort=x", "order=up", "cursor=x", "x=1"]
    {
        clerk.get(&format!("/api/patients?{query}")).await.refused(400, "invalid");
    }
    for id in ["1", "00000000-0000-0000-0000-000000000000", "John"] {
        clerk.get(&format!("/api/patients/{id}")).await.refused(404, "not_found");
    }
    clerk.get("/api/billing/accounts?patientId=1").await.refused(400, "invalid");
    clerk.get("/api/notifications?patientId=1").await.refused(400, "invalid");
}

#[tokio::test]
async fn a_page_is_never_longer_than_allowed() {
    let world = TestMesh::untouched().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    for size in ["0", "-1", "201", "1000000000", "1e9", "abc", "", "99999999999999999999", "1.5"] {
        let answer = clerk.get(&format!("/api/patients?size={size}")).await;
        answer.refused(400, "invalid");
    }
    clerk.get("/api/patients?size=200").await.expect(StatusCode::OK);
    // There is no depth: the next page is where a sealed cursor says.
    for query in ["page=1000000", "offset=1000000", "cursor=AAAA"] {
        clerk.get(&format!("/api/patients?{query}")).await.refused(400, "invalid");
    }
}
