//! Who may do what, and who may call whom: both tables of the interfaces, cell by cell.
//!
//! The first is by route and role; the second by certificate and method. They are written down here
//! a second time, by hand, and held against the running mesh.

use std::collections::BTreeSet;

use reqwest::{Client, Method, StatusCode};
use serde_json::json;
use shared_middleware::clock::Ids;

use crate::{
    certificate_forms::{Expected, Shown, forms},
    certs::{Identity, client},
    test_mesh::{ADMIN, AUDITOR, Answer, BILLING, CLINICIAN, Caller, RECEPTIONIST, TestMesh},
};

/// A route: method and path at the gateway; who may (`-` is a caller without a token, then the
/// roles by their letters); the part that answers and its path there.
type Line = (&'static str, &'static str, &'static str, Option<(&'static str, &'static str)>);

const ROLES: [(char, &str); 5] =
    [('A', ADMIN), ('C', CLINICIAN), ('R', RECEPTIONIST), ('B', BILLING), ('U', AUDITOR)];

#[rustfmt::skip]
const LINES: &[Line] = &[
    ("POST",   "/auth/login",                 "-ACRBU", Some(("auth", "/login"))),
    ("POST",   "/auth/refresh",               "-ACRBU", Some(("auth", "/refresh"))),
    ("POST",   "/auth/token",                 "-ACRBU", Some(("auth", "/token"))),
    ("POST",   "/auth/password",              "ACRBU",  Some(("auth", "/password"))),
    ("GET",    "/auth/validate",              "ACRBU",  Some(("auth", "/validate"))),
    ("GET",    "/auth/me",                    "ACRBU",  Some(("auth", "/me"))),
    ("GET",    "/auth/.well-known/jwks.json", "-ACRBU", Some(("auth", "/.well-known/jwks.json"))),
    ("GET",    "/api/users",                  "A",      Some(("auth", "/users"))),
    ("POST",   "/api/users",                  "A",      Some(("auth", "/users"))),
    ("GET",    "/api/users/{id}",             "A",      Some(("auth", "/users/{id}"))),
    ("PATCH",  "/api/users/{id}",             "A",      Some(("auth", "/users/{id}"))),
    ("DELETE", "/api/users/{id}",             "A",      Some(("auth", "/users/{id}"))),
    ("GET",    "/api/service-accounts",       "A",      Some(("auth", "/service-accounts"))),
    ("POST",   "/api/service-accounts",       "A",      Some(("auth", "/service-accounts"))),
    ("DELETE", "/api/service-accounts/{id}",  "A",      Some(("auth", "/service-accounts/{id}"))),
    ("GET",    "/api/audit",                  "AU",     Some(("auth", "/audit"))),
    ("GET",    "/api/patients",               "ACRB",   Some(("patient", "/patients"))),
    ("POST",   "/api/patients",               "ACR",    Some(("patient", "/patients"))),
    ("POST",   "/api/patients/search",        "ACRB",   Some(("patient", "/patients/search"))),
    ("GET",    "/api/patients/{id}",          "ACRB",   Some(("patient", "/patients/{id}"))),
    ("PUT",    "/api/patients/{id}",          "ACR",    Some(("patient", "/patients/{id}"))),
    ("DELETE", "/api/patients/{id}",          "A",      Some(("patient", "/patients/{id}"))),
    ("GET",    "/api/billing/accounts",       "ARB",    Some(("billing", "/accounts"))),
    ("GET",    "/api/billing/accounts/{id}",  "ARB",    Some(("billing", "/accounts/{id}"))),
    ("GET",    "/api/analytics/summary",      "ACBU",   Some(("analytics", "/summary"))),
    ("GET",    "/api/notifications",          "ACR",    Some(("notification", "/notifications"))),
    ("GET",    "/api-docs/auth",              "-ACRBU", Some(("auth", "/v3/api-docs"))),
    ("GET",    "/api-docs/patients",          "-ACRBU", Some(("patient", "/v3/api-docs"))),
    ("GET",    "/api-docs/billing",           "-ACRBU", Some(("billing", "/v3/api-docs"))),
    ("GET",    "/api-docs/analytics",         "-ACRBU", Some(("analytics", "/v3/api-docs"))),
    ("GET",    "/api-docs/notifications",     "-ACRBU", Some(("notification", "/v3/api-docs"))),
    ("GET",    "/v3/api-docs",                "-ACRBU", None),
    ("GET",    "/healthz",                    "-ACRBU", None),
    ("GET",    "/swagger-ui",                 "-ACRBU", None),
    ("GET",    "/swagger-ui/",                "-ACRBU", None),
    ("GET",    "/swagger-ui/{file}",          "-ACRBU", None),
    // The last, since it ends the session that it is asked with.
    ("POST",   "/auth/logout",                "ACRBU",  Some(("auth", "/logout"))),
];

/// What auth answers to the gateway only, since no token is asked for there.
const BEFORE_ANY_TOKEN: [&str; 3] = ["/login", "/refresh", "/token"];
/// What auth tells every part.
const REVOCATIONS: &str = "/.well-known/revocations?after=0&keys=";

/// Every method of billing's gRPC port.
const RPCS: [&str; 7] = [
    "/medisync.billing.v1.BillingService/CreateBillingAccount",
    "/medisync.billing.v1.BillingService/CreateBillingAccounts",
    "/medisync.billing.v1.BillingService/GetBillingAccount",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// What a service answers to anyone who asks, and the gateway passes to nobody.
const READY: &str = "/readyz";

const PARTS: [&str; 6] = ["gateway", "auth", "patient", "billing", "analytics", "notification"];

#[test]
fn every_route_of_the_gateway_has_its_line_and_every_line_its_route() {
    let routes: BTreeSet<_> =
        gateway::policy::route::ROWS.iter().map(|r| (r.method, r.path)).collect();
    let lines: BTreeSet<_> = LINES.iter().map(|(method, path, ..)| (*method, *path)).collect();
    assert_eq!(routes, lines);
    assert_eq!(lines.len(), LINES.len());
}

#[tokio::test]
async fn at_the_gateway_each_role_may_do_what_its_line_says() {
    let world = TestMesh::shared().await;
    let callers = callers(&world).await;
    for (method, path, allowed, _) in LINES {
        for (who, caller) in &callers {
            let what = format!("{who} {method} {path}");
            decided(send(caller, method, path).await, allowed.contains(*who), *who, &what);
            if *method == "GET" {
                let head = send(caller, "HEAD", path).await.status.as_u16();
                let wanted = send(caller, "GET", path).await.status.as_u16();
                assert_eq!(head, wanted, "HEAD, as {what}");
            }
        }
    }
}

#[tokio::test]
async fn at_a_services_own_port_the_token_decides_as_well() {
    let world = TestMesh::permissive().await;
    let callers = callers(&world).await;
    let says_so = [
        ("x-user-id", "123e4567-e89b-12d3-a456-426614174000"),
        ("x-user-role", "ADMIN"),
        ("x-medisync-peer", "gateway"),
        ("x-forwarded-client-cert", "URI=spiffe://medisync/gateway"),
    ];
    for (method, path, allowed, own) in LINES {
        let Some((part, own)) = own else { continue };
        for (who, caller) in &callers {
            let mut here = world.at(part);
            here.token.clone_from(&caller.token);
            let what = format!("{who} {method} {path} at {part}");
            let answer = send(&here, method, own).await;
            if BEFORE_ANY_TOKEN.contains(own) {
                answer.refused(401, "unauthenticated");
                continue;
            }
            decided(answer, allowed.contains(*who), *who, &what);
            if !allowed.contains('-') && *who == '-' {
                let method = method.parse().unwrap();
                let forged = here.send(method, &example(own), &says_so, None).await;
                decided(forged, false, '-', &what);
            }
        }
    }
    let revocations = world.at("auth").with(callers[1].1.token.as_ref().unwrap());
    revocations.get(REVOCATIONS).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn whether_a_service_is_ready_is_told_to_whoever_asks_it_and_to_no_client() {
    let world = TestMesh::shared().await;
    let callers = callers(&world).await;
    for part in PARTS.into_iter().filter(|part| *part != "gateway") {
        for name in PARTS {
            let client = client(&world, Some(&Identity::of(&world, name)));
            world.by(&client, part).get(READY).await.expect(StatusCode::OK);
        }
        let told = world.at(part).get(READY).await.expect(StatusCode::OK);
        assert_eq!(told.text, "ok\n");
        assert_eq!(world.at(part).post(READY, &json!({})).await.status, 404, "{part}");
    }
    for (who, caller) in &callers {
        for before in [
            "",
            "/auth",
            "/api",
            "/api/users",
            "/api/patients",
            "/api/billing",
            "/api/analytics",
            "/api/notifications",
            "/api-docs",
            "/api/billing/accounts",
            "/auth/me",
        ] {
            let path = format!("{before}{READY}");
            let answer = caller.get(&path).await;
            // Where an id may stand, it is none that anybody has.
            assert!(matches!(answer.status.as_u16(), 400 | 401 | 403 | 404), "{who} {path}");
        }
    }
}

#[tokio::test]
async fn over_rest_a_part_is_called_by_the_gateway_alone() {
    let world = TestMesh::shared().await;
    let token = world.sign_in(ADMIN).await.token.unwrap();
    for name in PARTS {
        let client = client(&world, Some(&Identity::of(&world, name)));
        for (method, _, allowed, own) in LINES.iter().filter(|line| line.1 != "/auth/logout") {
            let Some((part, own)) = own else { continue };
            let what = format!("{name} {method} {own} at {part}");
            let answer = send(&world.by(&client, part).with(&token), method, own).await;
            let before_any_token = BEFORE_ANY_TOKEN.contains(own);
            let open = allowed.contains('-') && !before_any_token;
            decided(answer, open || name == "gateway", 'A', &what);
            if name == "gateway" && !open && !before_any_token {
                let without = send(&world.by(&client, part), method, own).await;
                decided(without, false, '-', &what);
            }
        }
        let revocations = world.by(&client, "auth").get(REVOCATIONS).await;
        assert_eq!(revocations.status.as_u16(), 200, "{name}: {}", revocations.text);
    }
}

#[tokio::test]
async fn over_rest_nobody_passes_for_the_gateway() {
    let world = TestMesh::shared().await;
    let token = world.sign_in(ADMIN).await.token.unwrap();
    let routes = [
        ("auth", "/users"),
        ("auth", "/me"),
        ("patient", "/patients"),
        ("billing", "/accounts"),
        ("analytics", "/summary"),
        ("notification", "/notifications"),
        ("auth", REVOCATIONS),
    ];
    for Shown { name, identity } in forms(&world, "gateway", Expected::Denied) {
        let client = client(&world, identity.as_ref());
        for (part, own) in routes {
            let answer = world.by(&client, part).with(&token).get(own).await;
            assert_eq!(answer.status.as_u16(), 403, "{name} {own} at {part}: {}", answer.text);
        }
        let login = json!({"email": ADMIN, "password": "password123"});
        let login = world.by(&client, "auth").post("/login", &login).await;
        assert_eq!(login.status.as_u16(), 403, "{name}: {}", login.text);
    }
    let denied = world.metrics().await;
    for part in ["auth", "patient", "billing", "analytics", "notification"] {
        let series = format!("mesh_peer_denied_total{{peer=\"stranger\",service=\"{part}\"}}");
        assert!(denied.contains(&series), "{series}");
    }
}

#[tokio::test]
async fn over_grpc_billing_is_called_by_the_patient_service_alone() {
    let world = TestMesh::shared().await;
    for name in PARTS {
        let client = client(&world, Some(&Identity::of(&world, name)));
        for rpc in RPCS {
            let status = grpc_status(&world, &client, rpc).await;
            if name == "patient" {
                assert!(!matches!(status.as_deref(), Some("7" | "12" | "16")), "{rpc}: {status:?}");
            } else {
                assert_eq!(status.as_deref(), Some("7"), "{name} {rpc}");
            }
        }
    }
    let patient = client(&world, Some(&Identity::of(&world, "patient")));
    for rpc in [
        "/medisync.billing.v1.BillingService/DeleteBillingAccount",
        "/medisync.billing.v1.BillingService/createbillingaccount",
        "/medisync.billing.v2.BillingService/CreateBillingAccount",
        "/medisync.billing.v1.BillingService/",
        "/medisync.billing.v1.BillingService",
        "//medisync.billing.v1.BillingService/CreateBillingAccount",
        "/grpc.channelz.v1.Channelz/GetServers",
        "/",
    ] {
        let status = grpc_status(&world, &patient, rpc).await;
        assert!(matches!(status.as_deref(), Some("7" | "12")), "{rpc}: {status:?}");
    }
}

/// Nobody, one user of each role, and one service account of each that such may have: it may do
/// what the role may, no more and no less.
async fn callers(world: &TestMesh) -> Vec<(char, Caller)> {
    let mut callers = vec![('-', world.anybody())];
    for (letter, email) in ROLES {
        callers.push((letter, world.sign_in(email).await));
    }
    let admin = callers[1].1.clone();
    for role in ["CLINICIAN", "RECEPTIONIST", "BILLING", "AUDITOR"] {
        // Others make theirs on the same mesh.
        let new = json!({"name": format!("{role} {}", Ids::system().next()), "role": role});
        let made = admin.post("/api/service-accounts", &new).await.expect(StatusCode::CREATED);
        let key = json!({"apiKey": made.json()["key"]});
        let token = world.anybody().post("/auth/token", &key).await.expect(StatusCode::OK).json();
        let letter = if role == "AUDITOR" { 'U' } else { role.chars().next().unwrap_or('-') };
        callers.push((letter, world.anybody().with(token["token"].as_str().unwrap())));
    }
    callers
}

fn example(path: &str) -> String {
    path.replace("{id}", "00000000-0000-4000-8000-00000000dead").replace("{file}", "index.css")
}

/// An empty object is no valid body anywhere that it would do something: to be told so is to be let
/// in.
async fn send(caller: &Caller, method: &str, path: &str) -> Answer {
    let body = json!({});
    let body = matches!(method, "POST" | "PUT" | "PATCH").then_some(&body);
    caller.send(method.parse::<Method>().unwrap(), &example(path), &[], body).await
}

#[track_caller]
fn decided(answer: Answer, allowed: bool, who: char, what: &str) {
    let status = answer.status.as_u16();
    if allowed {
        let let_in = matches!(status, 200..=308 | 400 | 404);
        assert!(let_in, "{what}: {status} {}", answer.text);
        assert!(status != 404 || what.contains("{id}"), "{what}: {}", answer.text);
        return;
    }
    assert_eq!(status, if who == '-' { 401 } else { 403 }, "{what}: {}", answer.text);
    if who == '-' {
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{what}");
        answer.refused(401, "unauthenticated");
    } else {
        answer.refused(403, "forbidden");
    }
}

/// Calls with an empty message; what a call that is refused tells in its headers.
async fn grpc_status(world: &TestMesh, client: &Client, rpc: &str) -> Option<String> {
    let request = client
        .post(format!("{}{rpc}", world.url("billing gRPC")))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(vec![0; 5]);
    let response = request.send().await.unwrap();
    let status = response.headers().get("grpc-status")?;
    Some(status.to_str().unwrap().to_owned())
}
