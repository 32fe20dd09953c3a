//! The stores of an earlier version are opened and migrated, and all is as it was.

use reqwest::StatusCode;
use serde_json::json;

use crate::{
    before::{self, PATIENTS},
    servers::{self, Servers},
    test_mesh::{ADMIN, AUDITOR, TestMesh},
};

async fn everything_is_there(world: &TestMesh) {
    let nurse = world.anybody().log_in("nurse@example.com", "violet tram 19 umbrella").await;
    nurse.expect(StatusCode::OK);
    let admin = world.sign_in(ADMIN).await;
    let found = admin.post("/api/patients/search", &json!({"query": "ada kept"})).await;
    let found = found.expect(StatusCode::OK).json();
    let patient = &found["patients"][0];
    assert_eq!((&patient["email"], &patient["version"]), (&json!("kept@example.com"), &json!(2)));
    let all = admin.get("/api/patients?size=200").await.expect(StatusCode::OK).json();
    let count = all["patients"].as_array().unwrap().len();
    assert_eq!(i64::try_from(count), Ok(PATIENTS));
    let id = patient["id"].as_str().unwrap();
    let accounts = admin.get(&format!("/api/billing/accounts?patientId={id}")).await;
    let accounts = accounts.expect(StatusCode::OK).json();
    assert_eq!(accounts["accounts"][0]["id"], patient["billing"]["accountId"]);
    let letters = admin.get(&format!("/api/notifications?patientId={id}")).await;
    let letters = letters.expect(StatusCode::OK).json();
    assert_eq!(letters["notifications"].as_array().unwrap().len(), 2);
    let summary = world.sign_in(AUDITOR).await.get("/api/analytics/summary").await;
    let summary = summary.expect(StatusCode::OK).json();
    assert_eq!((&summary["created"], &summary["deleted"]), (&json!(17), &json!(1)));
    // It goes on from there.
    let mut changed = patient.clone();
    let fields = changed.as_object_mut().unwrap();
    fields.retain(|name, _| ["name", "email", "address", "dateOfBirth"].contains(&name.as_str()));
    fields.insert("address".to_owned(), json!("2 Test Street"));
    let changed = admin.put(&format!("/api/patients/{id}"), &changed).await;
    assert_eq!(changed.expect(StatusCode::OK).json()["version"], 3);
    let trails = world.command(&["audit", "verify"], "");
    assert_eq!(trails.lines().filter(|line| line.contains("intact")).count(), 5, "{trails}");
}

#[tokio::test]
async fn the_stores_of_an_earlier_version_are_opened_with_all_that_was_in_them() {
    let folder = tempfile::tempdir().unwrap();
    before::write(&folder.path().join("data"));
    let world = TestMesh::embedded_on(folder);
    everything_is_there(&world).await;
}

#[tokio::test]
async fn the_databases_of_an_earlier_version_are_opened_with_all_that_was_in_them() {
    if !servers::are_asked_for() {
        return;
    }
    let servers = Servers::prepare().await;
    before::load(&servers).await;
    // As a version that commits a step before its row of the history would leave it.
    servers.execute("auth", "delete from public.refinery_schema_history where version = 3").await;
    servers.execute("billing", "delete from public.kit_schema_history where version = 4").await;
    let folder = tempfile::tempdir().unwrap();
    before::write_key(&folder.path().join("data"));
    // As many events: consumers go on from where they were.
    before::write_events(&folder.path().join("data"));
    let mut ours = servers.databases();
    ours.push(("MEDISYNC_DEMO".to_owned(), "true".to_owned()));
    let world = TestMesh::embedded_on_with(folder, &ours);
    everything_is_there(&world).await;
}
