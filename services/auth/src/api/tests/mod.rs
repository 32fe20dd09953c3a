//! Through the routes and every layer of the mesh, as the gateway calls them.

mod document;
mod service_accounts;
mod sign_in;
mod users;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt as _;
use kit::testing::{TestEngine, engines};
use serde_json::{Value, json};
use shared_middleware::{
    access::Access,
    identity::{Part, Peer, Role},
    listen::Connection,
    ready::AlwaysReady,
    stack::{Mesh, wrap},
    token::{KeySet, RevocationPage, Verifier},
};
use tower::ServiceExt as _;

use super::RULES;
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
        Self::of(World::demo(engine).await).await
    }

    async fn of(world: World) -> Self {
        let verifier = world.verifier();
        let mesh = Mesh {
            service: Part::Auth,
            rules: RULES,
            verifier: Arc::clone(&verifier),
            audit_log: Arc::new(world.auth.service.audit_log.clone()),
            clock: world.hand.clock(),
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
        mesh.verifier.knows_revocations();
        mesh
    }

    async fn call(
        &self,
        peer: Option<Part>,
        line: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        self.send(peer, request(line, token, body.as_ref(), &[])).await
    }

    async fn send(&self, peer: Option<Part>, mut request: Request<Body>) -> Answer {
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
        self.verifier.revoke(&page.revoked, page.now_s);
        self.verifier.knows_revocations();
        page
    }
}

fn request(
    line: &str,
    token: Option<&str>,
    body: Option<&Value>,
    headers: &[(&str, &str)],
) -> Request<Body> {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_string()))).unwrap()
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
async fn bad_input_names_every_field_and_quotes_none() {
    for engine in engines() {
        let mesh = Front::new(engine).await;
        let admin = mesh.token(Role::Admin).await;
        for (line, body, fields) in [
            ("POST /login", json!({}), vec!["email", "password"]),
            ("POST /login", json!({"email": "a@b.org"}), vec!["password"]),
            ("POST /login", json!({"email": "a@b.org", "x": "SECRET"}), vec!["password", "x"]),
            ("POST /refresh", json!({}), vec!["refreshToken"]),
            ("POST /token", json!({}), vec!["apiKey"]),
            ("POST /token", json!({"apiKey": "SECRET", "x": 1}), vec!["x"]),
            ("POST /password", json!({}), vec!["currentPassword", "newPassword"]),
            (
                "POST /password",
                json!({"currentPassword": "SECRET", "newPassword": "SECRET"}),
                vec!["newPassword"],
            ),
            ("POST /service-accounts", json!({}), vec!["name", "role"]),
            (
                "POST /service-accounts",
                json!({"name": "\u{1}SECRET", "role": "ADMIN", "expiresInDays": 366}),
                vec!["name", "role", "expiresInDays"],
            ),
            (
                "POST /service-accounts",
                json!({"name": "SECRET", "role": "AUDITOR", "key": "SECRET"}),
                vec!["key"],
            ),
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
        assert_eq!(answer.fields(), ["email", "password"]);
        assert!(!answer.text.contains("SECRET"), "{}", answer.text);
    }
}
