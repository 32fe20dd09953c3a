//! Hostile requests at the front door. None may get an answer that it should not have, and none may
//! get into the answer of anybody else.

use reqwest::{Method, StatusCode};
use testbed::corpora;

use crate::{
    test_mesh::{ADMIN, AUDITOR, Answer, CLINICIAN, Caller, TestMesh},
    wire::answers,
};

#[tokio::test]
async fn no_other_way_of_writing_a_path_leads_anywhere() {
    let world = TestMesh::untouched().await;
    let canary = Canary::of(&world).await;
    let url = world.url("gateway");
    let auditor = bearer(&world.sign_in(AUDITOR).await);
    let admin = bearer(&world.sign_in(ADMIN).await);
    for form in corpora::paths() {
        let wanted = match form.outcome {
            "invalid" => 400,
            "not_found" => 404,
            "other_method" => 405,
            // Those lead where they say.
            _ => continue,
        };
        for (who, token) in [("nobody", ""), ("an auditor", &auditor), ("an admin", &admin)] {
            let rest = format!(" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}\r\n");
            let request = [b"GET ", &form.bytes[..], rest.as_bytes()].concat();
            let (found, ()) = tokio::join!(answers(url, &request), canary.sings());
            let what = format!("{} as {who}", form.text);
            assert_eq!(found.len(), 1, "{what}");
            assert_eq!(found[0].status, wanted, "{what}: {}", found[0].text);
            is_problem(&found[0], &what);
        }
    }
}

#[tokio::test]
async fn of_every_request_of_the_corpus_becomes_what_its_file_says_and_nothing_else() {
    let world = TestMesh::untouched().await;
    let canary = Canary::of(&world).await;
    let admin = world.sign_in(ADMIN).await;
    for form in corpora::requests(admin.token.as_deref().unwrap()) {
        let sent = answers(world.url("gateway"), &form.bytes);
        let (found, ()) = tokio::join!(sent, canary.sings());
        let statuses: Vec<_> = found.iter().map(|it| it.status.as_str().to_owned()).collect();
        match form.outcome {
            // The part has something to say of an empty body, too.
            "broken" | "once" => {
                assert!(found.len() <= 1, "{}: {statuses:?}", form.text);
                assert!(found.iter().all(|it| it.status.is_client_error()), "{}", form.text);
            }
            outcome => assert_eq!(statuses.join(","), outcome, "{}", form.text),
        }
        found.iter().filter(|it| !it.status.is_success()).for_each(|it| is_problem(it, form.text));
    }
    nothing_happened(&world).await;
}

#[tokio::test]
async fn each_of_several_requests_on_a_connection_is_judged_by_itself() {
    let world = TestMesh::untouched().await;
    let canary = Canary::of(&world).await;
    let url = world.url("gateway");
    let token = bearer(&world.sign_in(ADMIN).await);
    let last = "GET /api/users HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for upgrade in ["h2c", "websocket", "TLS/1.0", "HTTP/2.0"] {
        let first = format!(
            "GET /auth/me HTTP/1.1\r\nHost: x\r\n{token}Connection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        );
        let request = format!("{first}{last}");
        let (found, ()) = tokio::join!(answers(url, request.as_bytes()), canary.sings());
        let statuses: Vec<_> = found.iter().map(|answer| answer.status.as_u16()).collect();
        assert!(matches!(statuses[..], [200, 401] | [200] | [400]), "{upgrade}: {statuses:?}");
    }
    let first = format!("GET /auth/me HTTP/1.1\r\nHost: x\r\n{token}\r\n");
    let body = "{\"email\":\"x\"}";
    let second = format!(
        "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let request = format!("{first}{second}{last}");
    let found = answers(url, request.as_bytes()).await;
    let statuses: Vec<_> = found.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [200, 400, 401]);
    assert_eq!(found[0].json()["email"], ADMIN);
    // One that goes away within its body has asked for nothing.
    let half = format!(
        "POST /api/patients HTTP/1.1\r\nHost: x\r\n{token}Content-Type: application/json\r\n\
         Content-Length: 99999\r\nConnection: close\r\n\r\n"
    );
    let refused = answers(url, half.as_bytes()).await;
    assert!(refused.iter().all(|answer| !answer.status.is_success()), "{refused:?}");
    nothing_happened(&world).await;
}

#[tokio::test]
async fn what_is_too_long_or_too_much_is_refused() {
    let world = TestMesh::untouched().await;
    let canary = Canary::of(&world).await;
    let url = world.url("gateway");
    let token = bearer(&world.sign_in(ADMIN).await);
    let get = |path: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}{more}\r\n")
    };
    for (what, request) in [
        ("headers", get("/auth/me", &"X: x\r\n".repeat(101))),
        ("a header's value", get("/auth/me", &format!("X: {}\r\n", "x".repeat(16 << 10)))),
        ("a header's name", get("/auth/me", &format!("{}: x\r\n", "x".repeat(16 << 10)))),
        ("a head", get("/auth/me", &format!("X: {}\r\n", "x".repeat(700)).repeat(90))),
        ("a path", get(&format!("/api/patients/{}", "x".repeat(8 << 10)), "")),
        ("a query", get(&format!("/api/patients?search={}", "x".repeat(8 << 10)), "")),
        ("a method", format!("{} /auth/me HTTP/1.1\r\nHost: x\r\n\r\n", "X".repeat(20 << 10))),
    ] {
        let (found, ()) = tokio::join!(answers(url, request.as_bytes()), canary.sings());
        assert_eq!(found.len(), 1, "{what}");
        let status = found[0].status.as_u16();
        assert!(matches!(status, 400 | 414 | 431), "{what}: {status}");
        is_problem(&found[0], what);
    }
    let fits = get("/auth/me", &format!("X: {}\r\n", "x".repeat(8 << 10)));
    assert_eq!(answers(url, fits.as_bytes()).await[0].status, StatusCode::OK);

    let post = |framing: &str, body: &str| {
        let head = "POST /api/patients HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        format!("{head}{token}Connection: close\r\n{framing}\r\n\r\n{body}")
    };
    for (bytes, wanted) in [(64 << 10, 400), ((64 << 10) + 1, 413), (900 << 10, 413)] {
        let body = format!("{{\"x\":\"{}\"}}", "x".repeat(bytes - 8));
        let whole = post(&format!("Content-Length: {bytes}"), &body);
        let (first, second) = body.split_at(1000);
        let chunks = format!("3e8\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", second.len());
        for request in [whole, post("Transfer-Encoding: chunked", &chunks)] {
            let (found, ()) = tokio::join!(answers(url, request.as_bytes()), canary.sings());
            assert_eq!(found.len(), 1, "{bytes}");
            assert_eq!(found[0].status.as_u16(), wanted, "{bytes}: {}", found[0].text);
            is_problem(&found[0], "a body");
        }
    }
    nothing_happened(&world).await;
}

#[tokio::test]
async fn an_odd_method_is_told_which_there_are() {
    let world = TestMesh::untouched().await;
    let admin = world.sign_in(ADMIN).await;
    for (path, allowed) in [
        ("/api/patients", "GET, HEAD, POST"),
        ("/api/patients/123e4567-e89b-12d3-a456-426614174000", "GET, HEAD, PUT, DELETE"),
        ("/api/patients/search", "POST"),
        ("/auth/login", "POST"),
        ("/auth/me", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
    ] {
        let allowed: Vec<_> = allowed.split(", ").collect();
        for method in ["TRACE", "FOO", "PROPFIND", "get", "OPTIONS", "PATCH", "DELETE", "PUT"] {
            if allowed.contains(&method) {
                continue;
            }
            for caller in [&admin, &world.anybody()] {
                let answer = caller.send(method.parse().unwrap(), path, &[], None).await;
                let mut told: Vec<_> = answer.header("allow").split(", ").collect();
                told.sort_unstable();
                let mut wanted = allowed.clone();
                wanted.sort_unstable();
                assert_eq!(told, wanted, "{method} {path}");
                answer.refused(405, "method_not_allowed");
            }
        }
    }
    admin.send(Method::DELETE, "/nowhere", &[], None).await.refused(404, "not_found");
    for overriding in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let path = "/api/patients/123e4567-e89b-12d3-a456-426614174000";
        let answer = admin.send(Method::GET, path, &[(overriding, "DELETE")], None).await;
        assert_eq!(answer.expect(StatusCode::OK).json()["name"], "John Doe");
    }
    let tunnel = b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\nSSH-2.0-x\r\n";
    let found = answers(world.url("gateway"), tunnel).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].status.as_u16(), 405);
    assert!(!found[0].header("allow").is_empty());
    is_problem(&found[0], "CONNECT");
}

#[tokio::test]
async fn what_a_client_says_of_itself_changes_nothing() {
    let world = TestMesh::untouched().await;
    let url = world.url("gateway");
    let auditor = world.sign_in(AUDITOR).await;
    let admin = world.sign_in(ADMIN).await;
    for (name, value) in [
        ("X-User-Id", "123e4567-e89b-12d3-a456-426614174000"),
        ("x-user-role", "ADMIN"),
        ("X_User_Role", "ADMIN"),
        ("X-USER-EMAIL", ADMIN),
        ("X-Forwarded-User", ADMIN),
        ("X-Forwarded-Client-Cert", "URI=spiffe://medisync/gateway"),
        ("X-Medisync-Role", "ADMIN"),
        ("X-Medisync-Peer", "gateway"),
        ("X-Original-URL", "/healthz"),
        ("X-Rewrite-URL", "/healthz"),
        ("X-Forwarded-Host", "localhost"),
        ("Proxy-Authorization", admin.token.as_deref().unwrap()),
        ("Cookie", &format!("token={}", admin.token.as_deref().unwrap())),
    ] {
        let said = [(name, value)];
        let refused = auditor.send(Method::GET, "/api/patients", &said, None).await;
        refused.refused(403, "forbidden");
        let refused = world.anybody().send(Method::GET, "/auth/me", &said, None).await;
        refused.refused(401, "unauthenticated");
        let me = auditor.send(Method::GET, "/auth/me", &said, None).await;
        assert_eq!(me.expect(StatusCode::OK).json()["email"], AUDITOR, "{name}");
    }
    // What `Connection` names is for the gateway alone: the part behind sees no token, then.
    let named = [("connection", "authorization, x-request-id, traceparent, x-forwarded-for")];
    let refused = admin.send(Method::GET, "/auth/me", &named, None).await;
    assert!(matches!(refused.status.as_u16(), 400 | 401), "{refused:?}");
    let token = admin.token.clone().unwrap();
    for query in ["token", "access_token", "authorization", "jwt"] {
        let answer = world.anybody().get(&format!("/auth/me?{query}={token}")).await;
        answer.refused(401, "unauthenticated");
    }
    for (first, second) in [(&admin, &auditor), (&auditor, &admin), (&admin, &admin)] {
        let (first, second) = (bearer(first), bearer(second));
        let request = format!("GET /auth/me HTTP/1.1\r\nHost: x\r\n{first}{second}\r\n");
        let request = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let found = answers(url, request.as_bytes()).await;
        let statuses: Vec<_> = found.iter().map(|answer| answer.status.as_u16()).collect();
        assert!(matches!(statuses[..], [400 | 401]), "{statuses:?}");
    }
    assert!(!world.log().contains(&token), "a token was logged");
}

/// Somebody else, who never may get anything but their own answers.
struct Canary {
    caller: Caller,
}

impl Canary {
    async fn of(world: &TestMesh) -> Self {
        Self { caller: world.sign_in(CLINICIAN).await }
    }

    /// Asks twice, once before and once while or after something else is going on.
    async fn sings(&self) {
        for song in ["canary-1", "canary-2"] {
            let id = [("x-request-id", song)];
            let answer = self.caller.send(Method::GET, "/auth/me", &id, None).await;
            assert_eq!(answer.header("x-request-id"), song);
            assert_eq!(answer.expect(StatusCode::OK).json()["email"], CLINICIAN);
        }
    }
}

fn bearer(caller: &Caller) -> String {
    format!("Authorization: Bearer {}\r\n", caller.token.as_ref().unwrap())
}

#[track_caller]
fn is_problem(answer: &Answer, what: &str) {
    assert_eq!(answer.header("content-type"), "application/problem+json", "{what:?}");
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status.as_u16(), "{what:?}: {problem}");
    for field in ["type", "title", "detail", "code", "traceId"] {
        assert!(problem[field].is_string(), "{what:?}: {field} in {problem}");
    }
}

/// The demo patients are there, and nobody else.
async fn nothing_happened(world: &TestMesh) {
    let admin = world.sign_in(ADMIN).await;
    assert_eq!(admin.get("/api/patients?size=200").await.list("patients").len(), 15);
    assert_eq!(admin.get("/api/users?size=200").await.list("users").len(), 5);
}
