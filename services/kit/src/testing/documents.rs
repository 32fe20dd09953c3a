//! For tests of OpenAPI documents: whether they say what is there.

use std::collections::BTreeSet;

use serde_json::Value;
use shared_middleware::access::Rule;
use utoipa::openapi::OpenApi;

/// What a service answers to and does not document, as `METHOD path`, in order: `paths` has
/// what it documents, with paths as its rules have them.
///
/// # Panics
/// When something is documented that has no rule: it would be refused.
pub fn undocumented(paths: &OpenApi, rules: &[Rule]) -> Vec<String> {
    let paths = value(paths);
    let told: BTreeSet<_> =
        operations(&paths).map(|(method, path, _)| format!("{method} {path}")).collect();
    let ruled: BTreeSet<_> =
        rules.iter().map(|rule| format!("{} {}", rule.method, rule.path)).collect();
    let ruleless: Vec<_> = told.difference(&ruled).collect();
    assert!(ruleless.is_empty(), "no rule speaks of {ruleless:?}");
    ruled.difference(&told).cloned().collect()
}

/// Looks at what every document has to have, wherever it is shown.
///
/// # Panics
/// When it has another title, says that its paths begin elsewhere at the gateway, or has an
/// operation without a name, or one whose errors are no problem documents (RFC 9457).
pub fn assert_shown(document: &OpenApi, title: &str, begin: &str) {
    let document = value(document);
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], title);
    assert_eq!(document["servers"][0]["url"], begin);
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    let schemas = &document["components"]["schemas"];
    assert!(schemas["Problem"].is_object() && schemas["FieldError"].is_object(), "{schemas}");
    for (method, path, operation) in operations(&document) {
        assert!(operation["summary"].is_string(), "{method} {path}");
        assert!(operation["operationId"].is_string(), "{method} {path}");
        for (status, response) in operation["responses"].as_object().into_iter().flatten() {
            let problem = response["content"]["application/problem+json"].is_object();
            assert_eq!(problem, status.as_str() >= "400", "{method} {path}: {status}");
        }
    }
}

fn value(document: &OpenApi) -> Value {
    serde_json::to_value(document).expect("a document is JSON")
}

fn operations(document: &Value) -> impl Iterator<Item = (String, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let item = item.as_object().into_iter().flatten();
        item.map(|(method, operation)| (method.to_uppercase(), path.as_str(), operation))
    })
}
