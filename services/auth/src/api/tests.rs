//! Through the routes and every layer of the mesh, as the gateway calls them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use http_body_util::BodyExt as _;
use kit::testing::{TestEngine, engines};
use serde_json::{Value, json};
use shared_middleware::{
    access::{Access, Rules},
    identity::{Part, Peer, Role},
    listen::Connection,
    ready::AlwaysReady,
    stack::{Mesh, wrap},
    token::{KeySet, RevocationPage, Verifier},
};
use tower::ServiceExt as _;

use super::{RULES, documented, openapi};
use crate::{
    app::{DEMO_EMAILS, DEMO_PASSWORD},
    testing::World,
};

const GATEWAY: Option<Part> = Some(Part::Gateway);
const GOOD_PASSWORD: &str = "violet tram 19 umbrella";

/// A service behind the mesh's layers, and the verifier that they ask.
struct Front {
    world: World,
    router: Router,
    verifier: Arc<Verifier>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

// === impl Front ===

impl Front {
    async fn new(engine: TestEngine) -> Self {
        let world = World::demo(engine).await;
        let verifier = world.verifier();
        let mesh = Mesh {
            service: Part::Auth,
            rules: RULES,
            verifier: Arc::clone(&verifier),
            readiness: Arc::new(AlwaysReady),
            in_flight_max: 100,
            deadline: Duration::from_secs(30),
            body_bytes_max: 64 << 10,
        };
        let router = wrap(world.auth.service.rest.clone(), &mesh);
        let mesh = Self { world, router, verifier };
        let keys = mesh.call(None, "GET /.well-known/jwks.json", None, None).await;
        assert_eq!(keys.status, StatusCode::OK);
        mesh.verifier.set_keys(KeySet::parse(keys.text.as_bytes()).unwrap());
        mesh
    }

    async fn call(
        &self,
        peer: Option<Part>,
        line: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let mut request = request.body(body).unwrap();
        let remote = ([127, 0, 0, 1], 1).into();
        request.extensions_mut().insert(Connection { peer: peer.map(Peer::Part), remote });
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = body.collect().await.unwrap().to_bytes().to_vec();
        let text = String::from_utf8(text).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(GATEWAY, &format!("POST {path}"), None, Some(body)).await
    }

    async fn login(&self, email: &str) -> Value {
        let body = json!({"email": email, "password": DEMO_PASSWORD});
        let answer = self.post("/login", body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()
    }

    async fn token(&self, role: Role) -> String {
        let place = Role::ALL.iter().position(|other| *other == role).unwrap();
        self.login(DEMO_EMAILS[place]).await["token"].as_str().unwrap().to_owned()
    }

    async fn as_admin(&self, token: &str, line: &str, body: Option<Value>) -> Answer {
        self.call(GATEWAY, line, Some(token), body).await
    }

    /// Hears what the feed says, as every part does.
    async fn hear(&self) -> RevocationPage {
        let line = "GET /.well-known/revocations?after=0&keys=";
        let answer = self.call(Some(Part::Billing), line, None, None).await;
        let page: RevocationPage = serde_json::from_str(&answer.text).unwrap();
        self.verifier.revoke(&page.revoked);
        page
    }
}

// === impl Answer ===

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn refused(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.json()["code"], code);
    }

    fn fields(&self) -> Vec<String> {
        let problem = self.json();
        let errors = problem["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

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
    assert_eq!(undocumented, ["GET /.well-known/revocations", "GET /v3/api-docs"]);
}

#[tokio::test]
async fn every_route_refuses_whoever_its_rule_does_not_name() {
    for engine in engines() {
        let mesh = Front::new(engine).await;
        let mut tokens = Vec::new();
        for role in Role::ALL {
            tokens.push((role, mesh.token(role).await));
        }
        for rule in RULES {
            let path = rule.path.replace("{id}", "0198c5a2-7e1b-7c3d-9a4f-2b6d8e0f1a3c");
            let line = format!("{} {path}", rule.method);
            let status = async |peer, token: Option<&str>| {
                mesh.call(peer, &line, token, None).await.status.as_u16()
            };
            let patient = status(Some(Part::Patient), Some(&tokens[0].1)).await;
            match rule.access {
                Access::Open => assert_eq!(status(None, None).await, 200, "{line}"),
                Access::Parts(parts) => {
                    assert_eq!(status(None, Some(&tokens[0].1)).await, 401, "{line}");
                    let refused = !parts.contains(&Part::Patient);
                    assert_eq!(patient == 403, refused, "{line}");
                }
                Access::AnyUser | Access::User(_) => {
                    assert_eq!(status(GATEWAY, None).await, 401, "{line}");
                    assert_eq!(status(GATEWAY, Some("forged")).await, 401, "{line}");
                    assert_eq!(patient, 403, "{line}");
                }
            }
            if let Access::User(permission) = rule.access {
                for (role, token) in &tokens {
                    let refused = !permission.allows(*role);
                    assert_eq!(status(GATEWAY, Some(token)).await == 403, refused, "{line} {role}");
                }
            }
        }
        mesh.call(GATEWAY, "PUT /me", None, None).await.refused(405, "method_not_allowed");
        mesh.call(GATEWAY, "GET /nothing", None, None).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_sign_in_from_login_to_logout() {
    for engine in engines() {
        let mesh = Front::new(engine).await;
        let body = json!({"email": "testuser@test.com", "password": DEMO_PASSWORD});
        let answer = mesh.post("/login", body).await;
        assert_eq!(answer.headers["cache-control"], "no-store");
        let pair = answer.json();
        assert_eq!(pair["tokenType"], "Bearer");
        assert_eq!(pair["expiresIn"], 900);
        assert_eq!(pair["role"], "ADMIN");
        assert_eq!(pair.as_object().unwrap().len(), 5);

        let token = pair["token"].as_str();
        let valid = mesh.call(GATEWAY, "GET /validate", token, None).await;
        assert_eq!((valid.status, valid.text.as_str()), (StatusCode::OK, ""));
        let me = mesh.call(GATEWAY, "GET /me", token, None).await.json();
        assert_eq!(me["email"], "testuser@test.com");
        assert_eq!(me["role"], "ADMIN");

        let next =
            mesh.post("/refresh", json!({"refreshToken": pair["refreshToken"]})).await.json();
        assert_ne!(next["refreshToken"], pair["refreshToken"]);
        let token = next["token"].as_str();
        let out = mesh.call(GATEWAY, "POST /logout", token, None).await;
        assert_eq!(out.status, StatusCode::NO_CONTENT);
        while mesh.hear().await.revoked.is_empty() {
            tokio::task::yield_now().await;
        }
        mesh.call(GATEWAY, "GET /validate", token, None).await.refused(401, "unauthenticated");
        let spent = mesh.post("/refresh", json!({"refreshToken": next["refreshToken"]})).await;
        spent.refused(401, "unauthenticated");
        assert_eq!(spent.headers["www-authenticate"], "Bearer");
    }
}

#[tokio::test]
async fn a_refused_login_says_nothing_of_why() {
    for engine in engines() {
        let mesh = Front::new(engine).await;
        let refused = async |email: &str, password: &str| {
            let answer = mesh.post("/login", json!({"email": email, "password": password})).await;
            answer.refused(401, "unauthenticated");
            let mut body = answer.json();
            body.as_object_mut().unwrap().remove("traceId");
            body
        };
        let wrong = refused("testuser@test.com", "wrong").await;
        assert_eq!(refused("nobody@test.com", "wrong").await, wrong);
        assert_eq!(refused("no\0body", "wrong").await, wrong);
    }
}

#[tokio::test]
async fn bad_input_names_every_field_and_quotes_none() {
    for engine in engines() {
        let mesh = Front::new(engine).await;
        let admin = mesh.token(Role::Admin).await;
        for (line, body, fields) in [
            ("POST /login", json!({}), vec!["email", "password"]),
            ("POST /login", json!({"email": "a@b.org"}), vec!["password"]),
            ("POST /login", json!({"email": "a@b.org", "x": "SECRET"}), vec!["x"]),
            ("POST /refresh", json!({}), vec!["refreshToken"]),
            ("POST /users", json!({}), vec!["email", "password", "role"]),
            (
                "POST /users",
                json!({"email": "SECRET", "password": "SECRET", "role": "SECRET"}),
                vec!["email", "password", "role"],
            ),
            (
                "PATCH /users/0198c5a2-7e1b-7c3d-9a4f-2b6d8e0f1a3c",
                json!({"password": "SECRET", "role": "SECRET"}),
                vec!["role", "password"],
            ),
        ] {
            let answer = mesh.call(GATEWAY, line, Some(&admin), Some(body)).await;
            answer.refused(400, "invalid");
            assert_eq!(answer.fields(), fields, "{line}");
            assert!(!answer.text.contains("SECRET"), "{}", answer.text);
        }
        let odd = json!({"password": ["SECRET SECRET"], "email": 1});
        let answer = mesh.post("/login", odd).await;
        answer.refused(400, "invalid");
        assert!(!answer.text.contains("SECRET"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_user_from_first_to_last() {
    for engine in engines() {
        let mesh = Front::new(engine).await;
        let admin = mesh.token(Role::Admin).await;
        let new = json!({"email": " Ann@Test.com", "password": GOOD_PASSWORD, "role": "BILLING"});
        let made = mesh.as_admin(&admin, "POST /users", Some(new.clone())).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        let user = made.json();
        let id = user["id"].as_str().unwrap();
        assert_eq!(made.headers["location"], format!("/api/users/{id}"));
        assert_eq!((&user["email"], &user["disabled"]), (&json!("Ann@Test.com"), &json!(false)));
        assert_eq!(user.as_object().unwrap().len(), 5);
        assert!(!made.text.contains("argon2") && !made.text.contains("password"));

        mesh.as_admin(&admin, "POST /users", Some(new)).await.refused(409, "conflict");
        let line = format!("PATCH /users/{id}");
        let changed = mesh.as_admin(&admin, &line, Some(json!({"disabled": true}))).await.json();
        assert_eq!((&changed["disabled"], &changed["role"]), (&json!(true), &json!("BILLING")));
        let unknown = mesh.as_admin(&admin, &line, Some(json!({"email": "x@y.org"}))).await;
        unknown.refused(400, "invalid");
        let read = mesh.as_admin(&admin, &format!("GET /users/{id}"), None).await;
        assert_eq!(read.json(), changed);

        let line = format!("DELETE /users/{id}");
        assert_eq!(mesh.as_admin(&admin, &line, None).await.status, StatusCode::NO_CONTENT);
        mesh.as_admin(&admin, &line, None).await.refused(404, "not_found");
        mesh.as_admin(&admin, "GET /users/1", None).await.refused(404, "not_found");
        let me = mesh.call(GATEWAY, "GET /me", Some(&admin), None).await.json();
        let last = format!("DELETE /users/{}", me["id"].as_str().unwrap());
        mesh.as_admin(&admin, &last, None).await.refused(409, "conflict");
    }
}

#[tokio::test]
async fn users_are_listed_in_pages() {
    for engine in engines() {
        let mesh = Front::new(engine).await;
        let admin = mesh.token(Role::Admin).await;
        let mut seen = Vec::new();
        let mut line = "GET /users?size=2".to_owned();
        loop {
            let page = mesh.as_admin(&admin, &line, None).await.json();
            for user in page["users"].as_array().unwrap() {
                seen.push(user["email"].as_str().unwrap().to_owned());
            }
            let Some(cursor) = page["nextCursor"].as_str() else {
                assert!(page["nextCursor"].is_null() && page.get("nextCursor").is_some());
                break;
            };
            line = format!("GET /users?size=2&cursor={cursor}");
        }
        assert_eq!(seen, DEMO_EMAILS);
        for odd in ["size=0", "size=201", "cursor=abc", "sort=email"] {
            let answer = mesh.as_admin(&admin, &format!("GET /users?{odd}"), None).await;
            answer.refused(400, "invalid");
        }
    }
}

#[tokio::test]
async fn a_disabled_users_token_is_refused_once_the_feed_was_heard() {
    for engine in engines() {
        let mesh = Front::new(engine).await;
        let token = mesh.token(Role::Clinician).await;
        assert_eq!(
            mesh.call(GATEWAY, "GET /validate", Some(&token), None).await.status,
            StatusCode::OK
        );
        mesh.world.auth.app.disable_user("clinician@test.com").await.unwrap();
        let me = mesh.call(GATEWAY, "GET /me", Some(&token), None).await;
        me.refused(401, "unauthenticated");
        while mesh.hear().await.revoked.is_empty() {
            tokio::task::yield_now().await;
        }
        let refused = mesh.call(GATEWAY, "GET /validate", Some(&token), None).await;
        refused.refused(401, "unauthenticated");
    }
}

#[test]
fn the_document_shows_what_clients_see() {
    let document = serde_json::to_value(openapi()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["servers"][0]["url"], "/");
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    let paths = document["paths"].as_object().unwrap();
    for path in ["/auth/login", "/auth/.well-known/jwks.json", "/api/users", "/api/users/{id}"] {
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
    for path in ["/auth/login", "/auth/refresh"] {
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
