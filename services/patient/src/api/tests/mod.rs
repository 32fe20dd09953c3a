//! The routes: what comes in, what goes out.

mod lists;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use axum::{Router, body::Body};
use http::{HeaderMap, Request, StatusCode, header::CONTENT_TYPE};
use kit::{
    db::DbError,
    page::Cursors,
    testing::{
        documents::{assert_shown, undocumented},
        engines,
    },
};
use serde_json::{Value, json};
use shared_middleware::identity::{Caller, Role};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::{RULES, openapi, rest};
use crate::{store::IdempotencyKey, testing};

const SECRET: &str = "Jane Roe";

struct World {
    inner: testing::World,
    routes: Router,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

/// Where a request goes, what it says, and with which headers.
struct Asked<'a> {
    method: &'a str,
    path: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: String,
}

// === impl World ===

impl World {
    async fn on(engine: kit::testing::TestEngine) -> Self {
        let inner = testing::World::on(engine).await;
        let cursors = Cursors::open(&inner.db).await.unwrap();
        let routes = rest(Arc::clone(&inner.app), cursors);
        Self { inner, routes }
    }

    async fn sqlite() -> Self {
        Self::on(kit::testing::TestEngine::Sqlite).await
    }

    async fn ask(&self, asked: Asked<'_>) -> Answer {
        let mut request = Request::builder().method(asked.method).uri(asked.path);
        for (name, value) in asked.headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(asked.body)).unwrap();
        let subject = Uuid::from_u128(1).to_string().into();
        let caller = Caller { subject, role: Role::Admin, session: None };
        request.extensions_mut().insert(caller);
        let answer = self.routes.clone().oneshot(request).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_client_error() {
            assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
            assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{body}");
        }
        Answer { status, headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Asked { method: "GET", path, headers: &[], body: String::new() }).await
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let json = [("content-type", "application/json")];
        let headers = [&json[..], headers].concat();
        self.ask(Asked { method, path, headers: &headers, body: body.to_string() }).await
    }

    async fn register(&self, body: &Value) -> Answer {
        self.send("POST", "/patients", &[], body).await
    }

    /// Registers somebody with this email; gives the path.
    async fn path_of(&self, email: &str) -> String {
        let answer = self.register(&with(&[("email", json!(email))])).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        format!("/patients/{}", answer.body["id"].as_str().unwrap())
    }
}

// === impl Answer ===

impl Answer {
    fn code(&self) -> (StatusCode, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }

    fn fields(&self) -> Vec<&str> {
        assert_eq!(self.code(), (StatusCode::BAD_REQUEST, "invalid"), "{}", self.body);
        let errors = self.body["errors"].as_array().map_or(&[][..], Vec::as_slice);
        errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
    }
}

fn jane() -> Value {
    json!({
        "name": SECRET,
        "email": "jane.roe@example.com",
        "address": "1 Demo Street",
        "dateOfBirth": "1990-02-28",
    })
}

fn with(fields: &[(&str, Value)]) -> Value {
    let mut body = jane();
    for (name, value) in fields {
        body[*name] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_registration_answers_with_the_patient_its_place_and_its_version() {
    for engine in engines() {
        let world = World::on(engine).await;
        let answer = world.register(&with(&[("registeredDate", json!("2026-02-28"))])).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        assert_eq!(answer.headers["etag"], "\"1\"");
        assert_eq!(answer.headers["content-type"], "application/json");
        let id = answer.body["id"].as_str().unwrap();
        assert_eq!(answer.headers["location"], format!("/api/patients/{id}"));
        let account = testing::account_of(id.parse().unwrap());
        let expected = with(&[
            ("id", json!(id)),
            ("registeredDate", json!("2026-02-28")),
            ("version", json!(1)),
            ("createdAt", json!("2026-03-01T09:00:00Z")),
            ("updatedAt", json!("2026-03-01T09:00:00Z")),
            ("billing", json!({"status": "ACTIVE", "accountId": account})),
        ]);
        assert_eq!(answer.body, expected);
        let read = world.get(&format!("/patients/{id}")).await;
        assert_eq!((read.status, &read.body), (StatusCode::OK, &expected));
        assert_eq!(read.headers["etag"], "\"1\"");
    }
}

#[tokio::test]
async fn a_registration_is_answered_while_billing_is_down() {
    let world = World::sqlite().await;
    world.inner.billing.down.store(true, Ordering::SeqCst);
    let answer = world.register(&jane()).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.body["billing"], json!({"status": "PENDING", "accountId": null}));
    assert_eq!(answer.body["registeredDate"], "2026-03-01");
}

#[tokio::test]
async fn every_field_that_is_wrong_is_named_and_none_is_quoted() {
    let world = World::sqlite().await;
    let all = ["name", "email", "address", "dateOfBirth"];
    assert_eq!(world.register(&json!({})).await.fields(), all);
    let future = json!("2026-03-02");
    let wrong = with(&[("dateOfBirth", future.clone()), ("registeredDate", future)]);
    assert_eq!(world.register(&wrong).await.fields(), ["dateOfBirth", "registeredDate"]);
    let wrong = json!({"name": 5, "email": "bad", "zzz": 1, "<i>": 1, "registeredDate": []});
    let named = ["name", "email", "address", "dateOfBirth", "registeredDate", "?", "zzz"];
    assert_eq!(world.register(&wrong).await.fields(), named);
    let wrong = with(&[("zzz", json!(1)), ("yyy", json!(2)), ("email", json!("bad"))]);
    assert_eq!(world.register(&wrong).await.fields(), ["email", "yyy", "zzz"]);
    assert_eq!(world.register(&with(&[("ssn", json!(SECRET))])).await.fields(), ["ssn"]);
    assert_eq!(world.register(&with(&[("id", json!("1"))])).await.fields(), ["id"]);
    let odd = ["null", "[]", "7", "\"Jane Roe\"", "", "{", "[\"Jane Roe\"]", "{\"name\":[\"a\"]}"];
    let twice = r#"{"name":"Jane Roe","name":"Jane Roe"}"#;
    for body in odd.into_iter().chain([twice]) {
        for (method, path) in [("POST", "/patients"), ("POST", "/patients/search")] {
            let headers = &[("content-type", "application/json")];
            let answer = world.ask(Asked { method, path, headers, body: body.to_owned() }).await;
            assert_eq!(answer.code(), (StatusCode::BAD_REQUEST, "invalid"), "{body}");
        }
    }
    let headers = &[("content-type", "application/json")];
    let asked = Asked { method: "POST", path: "/patients", headers, body: twice.to_owned() };
    assert_eq!(world.ask(asked).await.fields(), all);
    assert_eq!(world.get("/patients").await.body["patients"], json!([]));
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_by_its_type() {
    let world = World::sqlite().await;
    for content_type in [&[][..], &[("content-type", "text/plain")]] {
        let body = jane().to_string();
        let asked = Asked { method: "POST", path: "/patients", headers: content_type, body };
        let answer = world.ask(asked).await;
        let expected = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
        assert_eq!(answer.code(), expected);
    }
    let headers = &[("content-type", "Application/JSON; charset=utf-8")];
    let body = jane().to_string();
    let answer = world.ask(Asked { method: "POST", path: "/patients", headers, body }).await;
    assert_eq!(answer.status, StatusCode::CREATED);
}

#[tokio::test]
async fn an_email_is_taken_in_any_case() {
    let world = World::sqlite().await;
    world.path_of("jane@example.com").await;
    let taken = world.register(&with(&[("email", json!("JANE@Example.Com"))])).await;
    assert_eq!(taken.code(), (StatusCode::CONFLICT, "conflict"));
    let other = world.path_of("other@example.com").await;
    let body = with(&[("email", json!("jane@example.COM"))]);
    let taken = world.send("PUT", &other, &[], &body).await;
    assert_eq!(taken.code(), (StatusCode::CONFLICT, "conflict"));
}

#[tokio::test]
async fn a_change_is_for_the_version_that_if_match_names() {
    let world = World::sqlite().await;
    let path = world.path_of("jane@example.com").await;
    // One that changes nothing would make no version.
    let streets = AtomicU32::new(1);
    let put = async |tags: &[&str]| {
        let headers: Vec<_> = tags.iter().map(|tag| ("if-match", *tag)).collect();
        let street = streets.fetch_add(1, Ordering::SeqCst);
        let body = with(&[("address", json!(format!("{street} Test Street")))]);
        world.send("PUT", &path, &headers, &body).await
    };
    let mut version = 1;
    for tags in [&[][..], &["*"], &["\"3\""], &["\"9\", \"4\""], &["\"9\"", "\"5\""]] {
        let changed = put(tags).await;
        version += 1;
        assert_eq!((changed.status, &changed.body["version"]), (StatusCode::OK, &json!(version)));
        assert_eq!(changed.headers["etag"], format!("\"{version}\""));
    }
    for tag in ["\"1\"", "6", "W/\"6\"", "\"6", "\"x\"", ""] {
        let refused = put(&[tag]).await;
        let expected = (StatusCode::PRECONDITION_FAILED, "precondition_failed");
        assert_eq!(refused.code(), expected, "{tag}");
        let headers = &[("if-match", tag)];
        let asked = Asked { method: "DELETE", path: &path, headers, body: String::new() };
        assert_eq!(world.ask(asked).await.code(), expected, "{tag}");
    }
    let headers = &[("if-match", "\"6\"")];
    let asked = Asked { method: "DELETE", path: &path, headers, body: String::new() };
    let removed = world.ask(asked).await;
    assert_eq!((removed.status, removed.body), (StatusCode::NO_CONTENT, Value::Null));
    assert_eq!(put(&["\"6\""]).await.code(), (StatusCode::NOT_FOUND, "not_found"));
}

#[tokio::test]
async fn the_day_of_registration_cannot_be_put() {
    let world = World::sqlite().await;
    let path = world.path_of("jane@example.com").await;
    for day in ["2020-01-01", ""] {
        let body = with(&[("registeredDate", json!(day))]);
        assert_eq!(world.send("PUT", &path, &[], &body).await.fields(), ["registeredDate"]);
    }
    assert_eq!(world.send("PUT", &path, &[], &json!({})).await.fields().len(), 4);
    assert_eq!(world.get(&path).await.body["version"], 1);
}

#[tokio::test]
async fn what_is_no_patient_is_not_found() {
    let world = World::sqlite().await;
    for id in [Uuid::from_u128(7).to_string(), "7".to_owned(), "%20".to_owned()] {
        let path = format!("/patients/{id}");
        let put = world.send("PUT", &path, &[], &jane()).await;
        let asked = Asked { method: "DELETE", path: &path, headers: &[], body: String::new() };
        for answer in [world.get(&path).await, put, world.ask(asked).await] {
            assert_eq!(answer.code(), (StatusCode::NOT_FOUND, "not_found"), "{id}");
        }
    }
}

#[tokio::test]
async fn a_request_with_an_idempotency_key_is_answered_as_before() {
    for engine in engines() {
        let world = World::on(engine).await;
        let post = async |key: &str, body: &Value| {
            world.send("POST", "/patients", &[("Idempotency-Key", key)], body).await
        };
        let longest = "k".repeat(255);
        let first = post(&longest, &jane()).await;
        assert_eq!(first.status, StatusCode::CREATED);
        let again = post(&longest, &jane()).await;
        assert_eq!((again.status, &again.body), (StatusCode::CREATED, &first.body));
        for header in ["location", "etag", "content-type"] {
            assert_eq!(again.headers[header], first.headers[header]);
        }
        let other = post(&longest, &with(&[("address", json!("2 Demo Street"))])).await;
        let reused = (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused");
        assert_eq!(other.code(), reused);
        let taken = post("another", &jane()).await;
        assert_eq!(taken.code(), (StatusCode::CONFLICT, "conflict"));

        let path = format!("/patients/{}", first.body["id"].as_str().unwrap());
        let asked = Asked { method: "DELETE", path: &path, headers: &[], body: String::new() };
        assert_eq!(world.ask(asked).await.status, StatusCode::NO_CONTENT);
        assert_eq!(post(&longest, &jane()).await.code(), (StatusCode::CONFLICT, "conflict"));
    }
}

#[tokio::test]
async fn whoever_repeats_a_request_in_progress_is_told_when_to_come_back() {
    for engine in engines() {
        let world = World::on(engine).await;
        let key = &[("Idempotency-Key", "k")];
        let first = world.send("POST", "/patients", key, &jane()).await;
        assert_eq!(first.status, StatusCode::CREATED);
        let unfinish = "update idempotency set finished = 0 returning caller";
        let unfinished = world.inner.db.write(move |tx| {
            Box::pin(async move { tx.query_one(unfinish, &[]).await?.get::<String>(0) })
        });
        let caller = unfinished.await.map_err(|error: DbError| error).unwrap();
        let its = IdempotencyKey { caller, key: "k".to_owned(), fingerprint: Vec::new() };
        let _working = world.inner.app.in_progress.begin(&its).unwrap();
        let again = world.send("POST", "/patients", key, &jane()).await;
        assert_eq!(again.code(), (StatusCode::CONFLICT, "conflict"));
        assert_eq!(again.headers["retry-after"], "1");
    }
}

#[tokio::test]
async fn an_idempotency_key_is_there_once_and_visible() {
    let world = World::sqlite().await;
    let long = "k".repeat(256);
    for keys in [&["a", "a"][..], &[""], &["a b"], &["é"], &[&long]] {
        let headers: Vec<_> = keys.iter().map(|key| ("idempotency-key", *key)).collect();
        let refused = world.send("POST", "/patients", &headers, &jane()).await;
        assert_eq!(refused.fields(), ["Idempotency-Key"]);
    }
}

#[test]
fn every_documented_operation_has_a_rule_and_tells_its_errors() {
    assert_eq!(undocumented(&openapi(), RULES), ["GET /v3/api-docs"]);
    assert_shown(&openapi(), "MediSync patients", "/api");
}
