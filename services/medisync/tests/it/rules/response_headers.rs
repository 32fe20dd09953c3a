//! The front door's manners: what every answer carries, and what is open to everybody.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    test_mesh::{ADMIN, AUDITOR, Answer, RECEPTIONIST, TestMesh, a_patient},
    wire::answers,
};

const DOCUMENTS: [&str; 5] = ["auth", "patients", "billing", "analytics", "notifications"];
const JOHN: &str = "/api/patients/123e4567-e89b-12d3-a456-426614174000";

#[tokio::test]
async fn every_answer_carries_what_keeps_a_browser_from_harm() {
    let limits = [
        ("MEDISYNC_GATEWAY__RATE_LIMIT__LOGIN", "3/600s"),
        ("MEDISYNC_ANALYTICS__URL", "http://127.0.0.1:1"),
    ];
    let world = TestMesh::start_with(&limits).await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let admin = world.sign_in(ADMIN).await;
    let nobody = world.anybody();
    let patient = a_patient();
    let stale = [("if-match", "\"99\"")];
    let id = clerk.register(&patient).await;
    let mut found = vec![
        (200, clerk.get("/api/patients").await),
        (200, clerk.send(Method::HEAD, "/api/patients", &[], None).await),
        (201, clerk.post("/api/patients", &a_patient()).await),
        (204, admin.delete(&format!("/api/patients/{id}")).await),
        (400, clerk.post("/api/patients", &json!({})).await),
        (400, clerk.get("/api/patients?size=0").await),
        (400, clerk.get("/api/patients/%20x").await),
        (401, nobody.get("/api/patients").await),
        (401, nobody.log_in(ADMIN, "wrong").await),
        (403, clerk.get("/api/users").await),
        (404, nobody.get("/nowhere").await),
        (404, clerk.get("/api/patients/nobody").await),
        (405, nobody.delete("/healthz").await),
        (409, clerk.post("/api/patients", &json_john(&clerk.get(JOHN).await)).await),
        (412, clerk.send(Method::PUT, JOHN, &stale, Some(&a_patient())).await),
        (413, clerk.post("/api/patients", &json!({"name": "x".repeat(70_000)})).await),
        (415, world.raw(&clerk, "text/plain", "{}").await),
        (429, {
            nobody.log_in(ADMIN, "wrong").await;
            nobody.log_in(ADMIN, "wrong").await;
            nobody.log_in(ADMIN, "wrong").await
        }),
        (503, admin.get("/api/analytics/summary").await),
        (200, nobody.get("/healthz").await),
        (200, nobody.get("/auth/.well-known/jwks.json").await),
    ];
    let malformed = b"GET /x HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n";
    let of_bytes = answers(world.url("gateway"), malformed).await;
    found.extend(of_bytes.into_iter().map(|answer| (400, answer)));
    let policy = "default-src 'none'; frame-ancestors 'none'";
    for (status, answer) in found {
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{status}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{status}");
        assert_eq!(answer.header("content-security-policy"), policy, "{status}");
        assert!(!answer.header("x-request-id").is_empty(), "{status}");
        assert!(answer.headers.get("server").is_none(), "{status}");
        assert!(answer.headers.get("x-powered-by").is_none(), "{status}");
        assert!(answer.headers.get("access-control-allow-origin").is_none(), "{status}");
        assert_eq!(answer.header("cache-control"), "no-store", "{status}");
        if status >= 400 && !answer.text.is_empty() {
            tells_nothing(&answer);
        }
        if matches!(status, 429 | 503) {
            assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
        }
    }
}

#[tokio::test]
async fn a_request_is_known_by_the_name_that_it_came_with() {
    let world = TestMesh::shared().await;
    let auditor = world.sign_in(AUDITOR).await;
    for path in ["/auth/me", "/api/patients", "/nowhere", "/healthz"] {
        let answer = auditor.send(Method::GET, path, &[("x-request-id", "abc.DEF_1-2")], None);
        assert_eq!(answer.await.header("x-request-id"), "abc.DEF_1-2", "{path}");
    }
    let mut given = BTreeSet::new();
    for odd in ["", "a b", "<script>", "a\"b", "a;b", &"x".repeat(300)] {
        let answer = auditor.send(Method::GET, "/auth/me", &[("x-request-id", odd)], None).await;
        let id = answer.expect(StatusCode::OK).header("x-request-id").to_owned();
        assert_ne!(id, odd);
        given.insert(id);
    }
    for _ in 0..20 {
        given.insert(world.anybody().get("/healthz").await.header("x-request-id").to_owned());
    }
    assert_eq!(given.len(), 26);
}

#[tokio::test]
async fn the_page_of_the_interfaces_is_served_with_all_that_it_loads() {
    let world = TestMesh::shared().await;
    let nobody = world.anybody();
    let bare = nobody.get("/swagger-ui").await;
    assert!(bare.status.is_redirection());
    assert_eq!(bare.header("location"), "/swagger-ui/");
    let page = nobody.get("/swagger-ui/").await.expect(StatusCode::OK);
    assert!(page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains('*'), "{policy}");
    assert!(!policy.contains("script-src 'unsafe-inline'"), "{policy}");
    let loaded = page.text.split("src=\"").chain(page.text.split("href=\"")).skip(1);
    let files: BTreeSet<_> =
        loaded.filter_map(|rest| Some(rest.split_once('"')?.0.trim_start_matches("./"))).collect();
    let files = files.into_iter().filter(|file| file.contains('.') && !file.contains(['<', '\n']));
    let mut seen = 0;
    for file in files {
        assert!(!file.contains("//"), "{file} is somebody else's");
        let answer = nobody.get(&format!("/swagger-ui/{file}")).await.expect(StatusCode::OK);
        let media = answer.header("content-type");
        let fits = match file.rsplit_once('.').unwrap().1 {
            "js" => media.contains("javascript"),
            "css" => media.starts_with("text/css"),
            "png" => media == "image/png",
            other => panic!("{other}"),
        };
        assert!(fits && !answer.text.is_empty(), "{file}: {media}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        seen += 1;
    }
    assert!(seen >= 4, "{seen}");
    let script = nobody.get("/swagger-ui/swagger-initializer.js").await.text;
    for document in DOCUMENTS {
        assert!(script.contains(&format!("/api-docs/{document}")), "{document}");
    }
    nobody.get("/swagger-ui/nothing.js").await.refused(404, "not_found");
    let health = nobody.get("/healthz").await.expect(StatusCode::OK);
    for part in ["auth", "sqlite", "version", "billing"] {
        assert!(!health.text.contains(part), "{}", health.text);
    }
}

#[tokio::test]
async fn every_operation_is_documented_with_examples_and_every_document_is_true() {
    let world = TestMesh::shared().await;
    let mut documented = BTreeSet::new();
    for name in DOCUMENTS {
        let answer = world.anybody().get(&format!("/api-docs/{name}")).await;
        let document = answer.expect(StatusCode::OK).json();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{name}");
        let base = document["servers"][0]["url"].as_str().unwrap_or("").trim_end_matches('/');
        for (path, item) in document["paths"].as_object().unwrap() {
            let path = format!("{base}{path}");
            for (method, operation) in item.as_object().unwrap() {
                let what = format!("{method} {path}");
                documented.insert((method.to_uppercase(), path.clone()));
                assert!(operation["operationId"].is_string(), "{what}");
                assert!(operation["summary"].is_string(), "{what}");
                has_examples(&document, operation, &what);
                let open = operation["security"].as_array().is_none_or(Vec::is_empty);
                let closed = operation["responses"].get("401").is_some();
                assert!(closed || open, "{what} does not tell of a 401");
            }
        }
    }
    let routes: BTreeSet<_> = gateway::policy::route::ROWS
        .iter()
        .filter(|row| row.path.starts_with("/api/") || row.path.starts_with("/auth/"))
        .map(|row| (row.method.to_owned(), row.path.to_owned()))
        .collect();
    assert_eq!(documented, routes);
}

/// What goes in, and what comes out when it went well, is shown by an example.
fn has_examples(document: &Value, operation: &Value, what: &str) {
    let body = operation.get("requestBody").map(|body| (body, "request"));
    let answers = operation["responses"].as_object().unwrap();
    let good = answers.iter().filter(|(status, _)| status.starts_with('2'));
    let good = good.map(|(status, answer)| (answer, status.as_str()));
    for (message, which) in good.chain(body) {
        let Some(content) = message["content"].get("application/json") else { continue };
        let shown = is_shown(document, content, 0);
        assert!(shown, "{what}: no example in its {which}: {content}");
    }
}

fn is_shown(document: &Value, schema: &Value, depth: usize) -> bool {
    assert!(depth < 12, "a schema that holds itself");
    if ["example", "examples", "const", "enum"].iter().any(|key| schema.get(key).is_some()) {
        return true;
    }
    let inner = |schema: &Value| is_shown(document, schema, depth + 1);
    if let Some(path) = schema["$ref"].as_str() {
        return inner(document.pointer(path.trim_start_matches('#')).unwrap());
    }
    if let Some(properties) = schema["properties"].as_object() {
        return properties.values().any(inner);
    }
    ["schema", "items"].iter().any(|key| schema.get(key).is_some_and(inner))
        || ["allOf", "oneOf", "anyOf"]
            .iter()
            .any(|key| schema[key].as_array().is_some_and(|all| all.iter().any(inner)))
}

/// No SQL, no path, no type, no address, no version.
#[track_caller]
fn tells_nothing(answer: &Answer) {
    let text = answer.text.to_lowercase();
    for inside in ["sqlite", "select ", "panicked", ".rs", "/home", "/tmp", "127.0.0.1", "serde"] {
        assert!(!text.contains(inside), "{inside} in {text}");
    }
    assert_eq!(answer.header("content-type"), "application/problem+json");
}

fn json_john(john: &Answer) -> Value {
    let mut patient = a_patient();
    patient["email"] = john.json()["email"].clone();
    patient
}
