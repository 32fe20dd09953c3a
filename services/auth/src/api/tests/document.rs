//! The OpenAPI document says what is there.

use std::collections::BTreeSet;

use axum::http::Method;
use shared_middleware::access::Rules;

use super::*;
use crate::api::{documented, openapi};

#[tokio::test]
async fn every_documented_operation_is_routed_and_has_a_rule_and_the_rest_is_known() {
    let (_, document) = documented().split_for_parts();
    let document = serde_json::to_value(document).unwrap();
    let rules = Rules::new(RULES);
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            assert!(rules.find(&method, Some(path), path).is_some(), "{method} {path}");
            documented.insert(format!("{method} {path}"));
        }
    }
    let ruled: BTreeSet<_> =
        RULES.iter().map(|rule| format!("{} {}", rule.method, rule.path)).collect();
    let undocumented: Vec<_> = ruled.difference(&documented).map(String::as_str).collect();
    let for_parts = [
        "GET /.well-known/revocations",
        "GET /v3/api-docs",
        "POST /.well-known/audit/entries",
        "POST /.well-known/audit/refusals",
    ];
    assert_eq!(undocumented, for_parts);
}

#[test]
fn the_document_shows_what_clients_see() {
    let document = serde_json::to_value(openapi()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["servers"][0]["url"], "/");
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/auth/login",
        "/auth/.well-known/jwks.json",
        "/api/users",
        "/api/users/{id}",
        "/api/service-accounts",
        "/api/service-accounts/{id}",
        "/auth/token",
        "/auth/password",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path}");
            assert!(operation["operationId"].is_string(), "{method} {path}");
        }
    }
    let users = &paths["/api/users"]["get"];
    assert_eq!(users["security"], json!([{"bearer": []}]));
    for status in ["200", "400", "401", "403", "429", "503", "504"] {
        assert!(users["responses"][status].is_object(), "{status}");
    }
    for (method, path) in [
        ("post", "/auth/login"),
        ("post", "/auth/refresh"),
        ("post", "/api/users"),
        ("patch", "/api/users/{id}"),
    ] {
        let responses = &paths[path][method]["responses"];
        assert!(responses["413"].is_object() && responses["415"].is_object(), "{method} {path}");
    }
    for path in ["/auth/login", "/auth/refresh", "/auth/token"] {
        assert!(paths[path]["post"].get("security").is_none(), "{path} is open");
    }
    let logout = &paths["/auth/logout"]["post"];
    assert!(logout["description"].as_str().unwrap().contains("our own sign-ins only"));
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in ["Login", "Tokens", "NewUser", "User", "Users", "Role", "Problem", "FieldError"] {
        assert!(schemas.contains_key(name), "{name}: {:?}", schemas.keys());
    }
    assert!(!document.to_string().contains("revocations"));
}
