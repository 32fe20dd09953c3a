//! The OpenAPI documents, as the binary prints them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::test_mesh::medisync;

#[test]
fn every_document_stands_by_itself() {
    let open = ["/auth/login", "/auth/refresh", "/auth/token", "/auth/.well-known/jwks.json"];
    for part in ["gateway", "auth", "patient", "billing", "analytics", "notification"] {
        let printed = medisync().args(["openapi", part]).output().unwrap();
        let document: Value = serde_json::from_slice(&printed.stdout).unwrap();
        // What were said of all operations would be said of the open ones, too.
        assert!(document.get("security").is_none(), "{part}");
        resolves(&document, &document);
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let what = format!("{part}: {method} {path}");
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id), "{what}: {id} is another's name");
                let needs_token = operation["security"] == json!([{"bearer": []}]);
                assert_ne!(needs_token, open.contains(&path.as_str()), "{what}");
                let mut told = vec!["400", "429", "503", "504"];
                if needs_token {
                    told.extend(["401", "403"]);
                }
                if operation.get("requestBody").is_some() {
                    told.extend(["413", "415"]);
                }
                let responses = operation["responses"].as_object().unwrap();
                for status in told {
                    assert!(responses.contains_key(status), "{what} does not tell of a {status}");
                }
                for (status, response) in responses {
                    let description = response["description"].as_str().unwrap_or_default();
                    assert!(!description.trim().is_empty(), "{what}: {status}");
                }
            }
        }
    }
}

/// Every `$ref` within leads somewhere.
fn resolves(document: &Value, within: &Value) {
    match within {
        Value::Object(fields) => {
            if let Some(path) = fields.get("$ref").and_then(Value::as_str) {
                let found = path.strip_prefix('#').and_then(|path| document.pointer(path));
                assert!(found.is_some(), "{path} leads nowhere");
            }
            fields.values().for_each(|value| resolves(document, value));
        }
        Value::Array(values) => values.iter().for_each(|value| resolves(document, value)),
        _ => {}
    }
}
