//! What is told of notifications over HTTP.

use http::StatusCode;
use kit::testing::engines;
use proto::patient_events::PATIENT_CREATED;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{World, event};

#[tokio::test]
async fn notifications_are_listed_newest_first_page_by_page() {
    for engine in engines() {
        let world = World::with_files(engine).await;
        for id in 1..=5 {
            world.handle(&event(id, 7 + id % 2, PATIENT_CREATED)).await.unwrap();
        }
        let mut path = "/notifications?size=2".to_owned();
        let (mut seen, mut sizes) = (Vec::new(), Vec::new());
        loop {
            let (status, body) = world.get(&path).await;
            assert_eq!(status, StatusCode::OK, "{body}");
            let page = body["notifications"].as_array().unwrap();
            sizes.push(page.len());
            seen.extend(page.iter().map(|it| it["patientId"].as_str().unwrap().to_owned()));
            let Some(cursor) = body["nextCursor"].as_str() else { break };
            path = format!("/notifications?size=2&cursor={cursor}");
        }
        assert_eq!(sizes, [2, 2, 1]);
        let patients = [8, 7, 8, 7, 8].map(|patient| Uuid::from_u128(patient).to_string());
        assert_eq!(seen, patients);

        let (_, body) = world.get(&format!("/notifications?patientId={}", patients[1])).await;
        let listed = body["notifications"].as_array().unwrap();
        assert_eq!((listed.len(), &body["nextCursor"]), (2, &Value::Null));
        assert_eq!((&listed[0]["type"], &listed[0]["sentAt"]), (&json!("WELCOME"), &Value::Null));
        let names: Vec<_> = listed[0].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names.len(), 6, "{names:?}");
    }
}

#[tokio::test]
async fn a_page_that_is_exactly_full_is_the_last() {
    for engine in engines() {
        let world = World::with_files(engine).await;
        for id in 1..=2 {
            world.handle(&event(id, 7, PATIENT_CREATED)).await.unwrap();
        }
        let (_, body) = world.get("/notifications?size=2").await;
        assert_eq!(body["nextCursor"], Value::Null);
    }
}

#[tokio::test]
async fn wrong_parameters_are_refused_by_name() {
    for engine in engines() {
        let world = World::with_files(engine).await;
        for id in 1..=2 {
            world.handle(&event(id, 7, PATIENT_CREATED)).await.unwrap();
        }
        let (_, page) = world.get("/notifications?size=1").await;
        let of_all = page["nextCursor"].as_str().unwrap();
        let patient = Uuid::from_u128(7);
        let other_list = format!("/notifications?patientId={patient}&cursor={of_all}");
        for (path, field) in [
            ("/notifications?patientId=grace", "patientId"),
            ("/notifications?patientId=", "patientId"),
            ("/notifications?size=0", "size"),
            ("/notifications?size=201", "size"),
            ("/notifications?cursor=x", "cursor"),
            (other_list.as_str(), "cursor"),
        ] {
            let (status, body) = world.get(path).await;
            assert_eq!(
                (status, &body["errors"][0]["field"]),
                (StatusCode::BAD_REQUEST, &json!(field))
            );
            assert!(!body.to_string().contains("grace"));
        }
        let (status, _) = world.get("/notifications?patient=x").await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn the_document_is_served() {
    for engine in engines() {
        let (status, body) = World::with_files(engine).await.get("/v3/api-docs").await;
        assert_eq!(status, StatusCode::OK);
        assert!(body["paths"]["/api/notifications"].is_object());
    }
}
