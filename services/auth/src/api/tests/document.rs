//! The OpenAPI document says what is there.

use kit::testing::documents::{assert_shown, undocumented};

use super::*;
use crate::api::{documented, openapi};

#[test]
fn every_documented_operation_has_a_rule_and_the_rest_is_for_parts() {
    let (_, documented) = documented().split_for_parts();
    let for_parts = [
        "GET /.well-known/revocations",
        "GET /v3/api-docs",
        "POST /.well-known/audit/entries",
        "POST /.well-known/audit/refusals",
    ];
    assert_eq!(undocumented(&documented, RULES), for_parts);
}

#[test]
fn the_document_shows_what_clients_see() {
    assert_shown(&openapi(), "MediSync auth", "/");
    let document = serde_json::to_value(openapi()).unwrap();
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
