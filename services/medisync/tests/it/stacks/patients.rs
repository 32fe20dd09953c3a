//! From the front door to the bill: what happens when a patient is registered, changed, removed.

use std::{collections::BTreeSet, fs, sync::Arc};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::test_mesh::{ADMIN, RECEPTIONIST, TestMesh, a_patient, files, until};

#[tokio::test]
async fn registering_a_patient_opens_an_account_counts_and_writes_a_welcome() {
    let world = TestMesh::start().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let admin = world.sign_in(ADMIN).await;
    world.drain().await;
    let before = admin.summary().await["created"].as_i64().unwrap();

    let answer = clerk.post("/api/patients", &a_patient()).await.expect(StatusCode::CREATED);
    let patient = answer.json();
    let id = patient["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/api/patients/{id}"));
    assert_eq!(answer.header("etag"), "\"1\"");
    assert_eq!(patient["billing"]["status"], "ACTIVE");
    world.drain().await;

    let accounts = clerk.accounts_of(id).await;
    assert_eq!(accounts.len(), 1);
    assert_eq!(accounts[0]["id"], patient["billing"]["accountId"]);
    let path = format!("/api/billing/accounts/{}", accounts[0]["id"].as_str().unwrap());
    assert_eq!(clerk.get(&path).await.expect(StatusCode::OK).json(), accounts[0]);

    assert_eq!(admin.summary().await["created"], before + 1);
    until("the welcome is sent", || async {
        let messages = clerk.messages_of(id).await;
        messages.len() == 1 && messages[0]["type"] == "WELCOME" && messages[0]["status"] == "SENT"
    })
    .await;
    let welcome = files(&world.data().join("outbox"), ".eml")
        .into_iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .filter(|text| text.contains(patient["email"].as_str().unwrap()));
    assert_eq!(welcome.count(), 1);
}

#[tokio::test]
async fn the_demo_patients_are_registered_like_anybody() {
    let world = TestMesh::untouched().await;
    let admin = world.sign_in(ADMIN).await;
    let john = admin.get("/api/patients/123e4567-e89b-12d3-a456-426614174000").await;
    let john = john.expect(StatusCode::OK).json();
    assert_eq!(john["name"], "John Doe");
    assert_eq!(john["email"], "john.doe@example.com");
    assert_eq!(john["dateOfBirth"], "1985-06-15");
    let last = admin.get("/api/patients/223e4567-e89b-12d3-a456-426614174014").await;
    last.expect(StatusCode::OK);
    world.drain().await;
    let summary = admin.summary().await;
    assert_eq!(summary["patients"], 15);
    assert_eq!(summary["created"], 15);
    let bands = summary["byAgeBand"].as_array().unwrap();
    let in_bands: i64 = bands.iter().map(|band| band["patients"].as_i64().unwrap()).sum();
    assert_eq!(in_bands, 15);
    let accounts = admin.get("/api/billing/accounts?size=200").await.list("accounts");
    assert_eq!(accounts.len(), 15);
}

#[tokio::test]
async fn a_change_needs_the_version_that_it_was_made_to() {
    let world = TestMesh::shared().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let mut patient = a_patient();
    let path = format!("/api/patients/{}", clerk.register(&patient).await);
    patient["address"] = json!("2 Test Street");

    let if_match = |tag| [("if-match", tag)];
    let changed = clerk.send(Method::PUT, &path, &if_match("\"1\""), Some(&patient)).await;
    let changed = changed.expect(StatusCode::OK);
    assert_eq!(changed.header("etag"), "\"2\"");
    assert_eq!(changed.json()["address"], "2 Test Street");

    let stale = clerk.send(Method::PUT, &path, &if_match("\"1\""), Some(&patient)).await;
    stale.refused(412, "precondition_failed");
    patient["address"] = json!("3 Test Street");
    clerk.put(&path, &patient).await.expect(StatusCode::OK);
    assert_eq!(clerk.get(&path).await.header("etag"), "\"3\"");
}

#[tokio::test]
async fn of_many_who_change_the_same_version_one_succeeds() {
    let world = TestMesh::shared().await;
    let clerk = Arc::new(world.sign_in(RECEPTIONIST).await);
    let patient = a_patient();
    let path = format!("/api/patients/{}", clerk.register(&patient).await);
    let changes: Vec<_> = (0..8)
        .map(|n| {
            let (clerk, path, mut patient) = (Arc::clone(&clerk), path.clone(), patient.clone());
            patient["address"] = json!(format!("{} Test Street", n + 2));
            tokio::spawn(async move {
                let tag = [("if-match", "\"1\"")];
                clerk.send(Method::PUT, &path, &tag, Some(&patient)).await.status
            })
        })
        .collect();
    let mut succeeded = 0;
    for change in changes {
        succeeded += i32::from(change.await.unwrap() == StatusCode::OK);
    }
    assert_eq!(succeeded, 1);
    assert_eq!(clerk.get(&path).await.header("etag"), "\"2\"");
}

#[tokio::test]
async fn a_removed_patient_is_gone_and_told_farewell_and_keeps_the_account() {
    let world = TestMesh::start().await;
    let admin = world.sign_in(ADMIN).await;
    let id = admin.register(&a_patient()).await;
    let path = format!("/api/patients/{id}");
    admin.delete(&path).await.expect(StatusCode::NO_CONTENT);
    admin.get(&path).await.refused(404, "not_found");
    admin.delete(&path).await.refused(404, "not_found");
    world.drain().await;

    assert_eq!(admin.summary().await["deleted"], 1);
    assert_eq!(admin.accounts_of(&id).await.len(), 1);
    until("welcome and farewell are sent", || async {
        let messages = admin.messages_of(&id).await;
        let sent = messages.iter().filter(|message| message["status"] == "SENT");
        let types: BTreeSet<_> = sent.map(|message| message["type"].to_string()).collect();
        types == ["\"FAREWELL\"".to_owned(), "\"WELCOME\"".to_owned()].into()
    })
    .await;
}

#[tokio::test]
async fn an_email_belongs_to_one_patient_regardless_of_case() {
    let world = TestMesh::shared().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let patient = a_patient();
    clerk.register(&patient).await;
    let mut other = a_patient();
    let other_path = format!("/api/patients/{}", clerk.register(&other).await);
    let taken = patient["email"].as_str().unwrap().to_uppercase();
    other["email"] = json!(taken);
    let refused = clerk.post("/api/patients", &other).await.refused(409, "conflict");
    assert!(!refused.to_string().to_uppercase().contains(&taken));
    clerk.put(&other_path, &other).await.refused(409, "conflict");
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer() {
    let world = TestMesh::shared().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let patient = a_patient();
    let key = [("idempotency-key", "order-1")];
    let post = |body| clerk.send(Method::POST, "/api/patients", &key, Some(body));
    let first = post(&patient).await.expect(StatusCode::CREATED);
    let again = post(&patient).await.expect(StatusCode::CREATED);
    assert_eq!(first.text, again.text);
    assert_eq!(first.header("location"), again.header("location"));
    post(&a_patient()).await.refused(422, "idempotency_key_reused");

    let admin = world.sign_in(ADMIN).await;
    let theirs = admin.send(Method::POST, "/api/patients", &key, Some(&a_patient())).await;
    theirs.expect(StatusCode::CREATED);
    let odd = [("idempotency-key", "a b")];
    let odd = clerk.send(Method::POST, "/api/patients", &odd, Some(&a_patient())).await;
    odd.refused(400, "invalid");
}

#[tokio::test]
async fn of_many_repeated_at_once_one_registers() {
    let world = TestMesh::shared().await;
    let clerk = Arc::new(world.sign_in(RECEPTIONIST).await);
    let patient = Arc::new(a_patient());
    let posts: Vec<_> = (0..10)
        .map(|_| {
            let (clerk, patient) = (Arc::clone(&clerk), Arc::clone(&patient));
            tokio::spawn(async move {
                let key = [("idempotency-key", "order-2")];
                clerk.send(Method::POST, "/api/patients", &key, Some(&patient)).await
            })
        })
        .collect();
    let mut registered = BTreeSet::new();
    for post in posts {
        let answer = post.await.unwrap();
        if answer.status == StatusCode::CREATED {
            registered.insert(answer.text);
        } else {
            answer.refused(409, "conflict");
        }
    }
    assert_eq!(registered.len(), 1);
    let search = json!({"query": patient["email"], "size": 200});
    let found = clerk.post("/api/patients/search", &search).await.expect(StatusCode::OK);
    assert_eq!(found.list("patients").len(), 1);
}

#[tokio::test]
async fn pages_follow_each_other_in_every_order() {
    let world = TestMesh::untouched().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    for sort in ["name", "registeredDate", "createdAt"] {
        for order in ["asc", "desc"] {
            let mut path = format!("/api/patients?size=4&sort={sort}&order={order}");
            let mut seen: Vec<Value> = Vec::new();
            loop {
                let page = clerk.get(&path).await.expect(StatusCode::OK);
                seen.extend(page.list("patients"));
                let Some(next) = page.json()["nextCursor"].as_str().map(str::to_owned) else {
                    assert!(page.headers.get("link").is_none());
                    break;
                };
                assert!(page.header("link").contains(&next), "{}", page.header("link"));
                assert!(page.header("link").ends_with("rel=\"next\""));
                path = format!("/api/patients?size=4&cursor={next}");
            }
            // Times have as many digits as they need: without the `Z` they are sorted as texts.
            let key = |patient: &Value| patient[sort].as_str().unwrap().to_lowercase();
            let keys: Vec<_> =
                seen.iter().map(|patient| key(patient).trim_end_matches('z').to_owned()).collect();
            let mut sorted = keys.clone();
            sorted.sort();
            if order == "desc" {
                sorted.reverse();
            }
            assert_eq!(keys, sorted, "{sort} {order}");
            let ids: BTreeSet<_> = seen.iter().map(|patient| patient["id"].to_string()).collect();
            assert_eq!((seen.len(), ids.len()), (15, 15));
        }
    }
}

#[tokio::test]
async fn a_search_finds_any_part_in_any_case_and_names_nobody_in_urls() {
    let world = TestMesh::untouched().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    for query in ["DOE", "hn do", "j", "john.doe@example", "ohn"] {
        let body = json!({"query": query, "size": 200});
        let found = clerk.post("/api/patients/search", &body).await.expect(StatusCode::OK);
        let names: Vec<_> = found.list("patients").iter().map(|p| p["name"].clone()).collect();
        assert!(names.contains(&json!("John Doe")), "{query}: {names:?}");
    }
    for query in ["zzz", "%", "_", "\\", "' or 1=1 --", "\"*"] {
        let body = json!({"query": query});
        let found = clerk.post("/api/patients/search", &body).await.expect(StatusCode::OK);
        assert_eq!(found.list("patients").len(), 0, "{query}");
    }
    let body = json!({"query": "example", "size": 2});
    let page = clerk.post("/api/patients/search", &body).await;
    assert!(!page.header("link").contains("example"));
    let cursor = page.json()["nextCursor"].clone();
    let next = clerk.post("/api/patients/search", &json!({"cursor": cursor, "size": 2})).await;
    assert_eq!(next.expect(StatusCode::OK).list("patients").len(), 2);
    let other = json!({"cursor": cursor, "query": "doe"});
    clerk.post("/api/patients/search", &other).await.refused(400, "invalid");

    let by_url = clerk.get("/api/patients?search=dOe").await.list("patients");
    assert_eq!(by_url.len(), 1);
}

#[tokio::test]
async fn nothing_personal_is_logged_or_counted() {
    let world = TestMesh::start_with(&[("MEDISYNC_LOG_LEVEL", "debug")]).await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let canary = json!({
        "name": "Canaryname Zq",
        "email": "canarymail@example.com",
        "address": "Canarystreet 1",
        "dateOfBirth": "1933-03-13",
    });
    let id = clerk.register(&canary).await;
    clerk.post("/api/patients", &canary).await.refused(409, "conflict");
    clerk.post("/api/patients/search", &json!({"query": "canaryname"})).await;
    clerk.get("/api/patients?search=canarymail").await;
    let mut wrong = canary.clone();
    wrong["dateOfBirth"] = json!("1933-13-13");
    let problem = clerk.put(&format!("/api/patients/{id}"), &wrong).await.refused(400, "invalid");
    world.anybody().log_in("canarymail@example.com", "canarypassword").await;
    world.drain().await;
    let told = [world.log(), world.metrics().await, problem.to_string()].join("\n");
    let told = told.to_lowercase();
    for secret in ["canary", "1933-"] {
        let place = told.find(secret);
        assert_eq!(place, None, "{}", &told[place.unwrap_or(0)..][..80]);
    }
    let token = clerk.token.clone().unwrap().to_lowercase();
    assert!(!told.contains(&token));
}
