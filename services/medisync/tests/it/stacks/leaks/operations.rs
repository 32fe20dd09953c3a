//! Every documented operation, with everything that can be wrong with it.

use super::*;

/// What a document lists: method, path at the gateway, the names of its body's fields, if it takes
/// one, and of its query.
async fn listed(anybody: &Caller) -> Vec<(Method, String, Option<Vec<String>>, Vec<String>)> {
    let mut all = Vec::new();
    for part in ["auth", "patients", "billing", "analytics", "notifications"] {
        let document = anybody.get(&format!("/api-docs/{part}")).await.json();
        let prefix = document["servers"][0]["url"].as_str().unwrap().trim_end_matches('/');
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let method = method.to_uppercase().parse().unwrap();
                let fields = fields(&document, operation);
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let query = parameters.filter(|it| it["in"] == "query");
                let query = query.map(|it| it["name"].as_str().unwrap().to_owned()).collect();
                all.push((method, format!("{prefix}{path}"), fields, query));
            }
        }
    }
    all
}

fn fields(document: &Value, operation: &Value) -> Option<Vec<String>> {
    let schema = operation.pointer("/requestBody/content/application~1json/schema")?;
    let schema = schema["$ref"].as_str().map_or(Some(schema), |at| document.pointer(&at[1..]))?;
    Some(schema["properties"].as_object()?.keys().cloned().collect())
}

/// What a field of this name would hold.
fn canary_for(field: &str) -> &'static str {
    match field {
        "email" => EMAIL,
        "address" => ADDRESS,
        "dateOfBirth" => BORN,
        field if field.to_lowercase().contains("password") => WRONG_PASSWORD,
        field if field.to_lowercase().contains("token") => FORGED_TOKEN,
        _ => NAME,
    }
}

fn object<'f>(fields: impl IntoIterator<Item = &'f String>) -> Map<String, Value> {
    fields.into_iter().map(|field| (field.clone(), json!(canary_for(field)))).collect()
}

/// Bodies for these fields: of the right shape, and of every wrong one.
fn bodies(fields: Option<&Vec<String>>) -> Vec<Body> {
    let Some(fields) = fields else { return vec![Body::None] };
    let right = object(fields);
    let mut unknown = right.clone();
    unknown.insert(EMAIL.to_owned(), json!(NAME));
    let nested = fields.iter().map(|field| (field.clone(), json!([{ NAME: EMAIL }])));
    let text = Value::from(right.clone()).to_string();
    vec![
        Body::Json(unknown.into()),
        Body::Json(Value::Object(nested.collect())),
        Body::Json(json!([NAME, EMAIL])),
        Body::Text("application/json", text[..text.len() - 1].to_owned()),
        Body::Text("application/json", format!("{{\"name\":{NAME},{text}}}")),
        Body::Text("text/plain", text.clone()),
        Body::Text("application/x-www-form-urlencoded", format!("email={EMAIL}&name={NAME}")),
        Body::Text("application/json", format!("{text}{}", NAME.repeat(5000))),
        Body::Json(right.into()),
    ]
}

/// Every documented operation, with everything that can be wrong with it.
pub(super) async fn all(world: &TestMesh, scan: &mut Scan) {
    let operations = listed(&world.anybody()).await;
    assert!(operations.len() >= 20, "{} operations", operations.len());
    let auditor = world.sign_in(AUDITOR).await;
    for (method, path, fields, query) in &operations {
        // One that ends a sign-in must not end that of the others.
        let admin = world.sign_in(ADMIN).await;
        let callers = [world.anybody(), auditor.clone(), admin.with(FORGED_TOKEN), admin];
        for (caller, body) in callers
            .iter()
            .flat_map(|caller| bodies(fields.as_ref()).into_iter().map(move |body| (caller, body)))
        {
            let path = path.replace("{id}", NOBODY);
            scan.send(caller, method, &path, &body).await;
        }
        let admin = &callers[3];
        scan.send(admin, method, &path.replace("{id}", "Qorvexil%20Zandermund"), &Body::None).await;
        scan.send(admin, method, &path.replace("{id}", EMAIL), &Body::None).await;
        for name in query.iter().map(String::as_str).chain(["Qorvexil+Zandermund"]) {
            let path = path.replace("{id}", NOBODY);
            scan.send(admin, method, &format!("{path}?{name}={EMAIL}"), &Body::None).await;
        }
    }
}
