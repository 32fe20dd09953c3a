//! Tokens: forged in every way that is known, and of another issuer.

use std::{fs, io, net::TcpListener};

use base64::Engine as _;
use reqwest::{StatusCode, header::HeaderValue};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    corpus::{Cast, forms},
    heavy,
    issuer::{self, Issuer, base64},
    sessions::{now_s, refused_everywhere},
    test_mesh::{ADMIN, CLINICIAN, TestMesh, until},
};

/// A mesh that trusts somebody else's key, by a file.
struct Foreign {
    issuer: Issuer,
    world: TestMesh,
    folder: TempDir,
}

#[tokio::test]
async fn no_forged_token_is_taken() {
    let _turn = heavy::turn().await;
    let foreign = Foreign::start().await;
    let good = foreign.world.anybody().with(&foreign.issuer.token(&claims()));
    good.get("/api/patients").await.expect(StatusCode::OK);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let mut refused = 0;
    for form in forms() {
        let trusted = &foreign.issuer;
        let cast = Cast { trusted, claims: claims(), url: &url, now_s: now_s() };
        let token = form.token(&cast);
        if form.outcome(&cast) == "accepted" {
            let at_patient = foreign.world.at("patient").with(&token).get("/patients").await;
            let at_gateway = good.with(&token).get("/api/patients").await;
            for answer in [at_gateway, at_patient] {
                assert_eq!(answer.status, StatusCode::OK, "{}: {}", form.what, answer.text);
            }
        } else if HeaderValue::from_str(&token).is_ok() {
            refused_everywhere(&foreign.world, &form.what, &token).await;
            refused += 1;
        }
    }
    assert!(refused >= 250, "{refused}");
    let visitor = listener.accept().map_err(|error| error.kind());
    assert!(matches!(visitor, Err(io::ErrorKind::WouldBlock)), "a key was fetched: {visitor:?}");
    good.get("/api/patients").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn no_bit_of_a_token_may_be_another() {
    let world = TestMesh::untouched().await;
    let token = world.sign_in(ADMIN).await.token.unwrap();
    let decode = |part: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part);
    let parts: Vec<_> = token.split('.').map(|part| decode(part).unwrap()).collect();
    let bits: usize = parts.iter().map(|part| part.len() * 8).sum();
    for n in 0..256 {
        let mut bit = n * bits / 256;
        let mut changed = parts.clone();
        for part in &mut changed {
            if bit < part.len() * 8 {
                part[bit / 8] ^= 1 << (bit % 8);
                break;
            }
            bit -= part.len() * 8;
        }
        assert_ne!(changed, parts);
        let changed: Vec<_> = changed.iter().map(base64).collect();
        let caller = world.anybody().with(&changed.join("."));
        caller.get("/auth/validate").await.refused(401, "unauthenticated");
    }
    for n in [0, 1, 10, token.len() / 2, token.len() - 43, token.len() - 2, token.len() - 1] {
        refused_everywhere(&world, "cut off", &token[..n]).await;
    }
    let body = json!({"email": ADMIN, "password": "password123"});
    let answer = world.anybody().post("/auth/login", &body).await.json();
    let refresh = answer["refreshToken"].as_str().unwrap();
    refused_everywhere(&world, "a refresh token", refresh).await;
    world.anybody().with(&token).get("/auth/validate").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_key_set_of_somebody_else_is_trusted_and_nobody_but_it() {
    let foreign = Foreign::start().await;
    let anybody = foreign.world.anybody();
    let without_kid = foreign.issuer.sign(r#"{"alg":"ES256"}"#, &claims().to_string());
    anybody.with(&without_kid).get("/api/patients").await.expect(StatusCode::OK);
    let auditor = foreign.issuer.token(&claims_with("role", json!("AUDITOR")));
    anybody.with(&auditor).get("/api/patients").await.refused(403, "forbidden");
    anybody.with(&auditor).get("/api/analytics/summary").await.expect(StatusCode::OK);
    let at_patient = foreign.world.at("patient").with(&foreign.issuer.token(&claims()));
    at_patient.get("/patients").await.expect(StatusCode::OK);
    // Auth still signs people in, for anyone who trusts it.
    let ours = foreign.world.sign_in(CLINICIAN).await;
    ours.get("/api/patients").await.refused(401, "unauthenticated");

    // With a second key, a token has to say which; a file that is broken changes nothing.
    let second = Issuer::new("k2");
    foreign.publish(&json!({"keys": [foreign.issuer.jwk(), second.jwk()]}).to_string());
    let of_second = second.token(&claims());
    until("the second key is trusted", || async {
        anybody.with(&of_second).get("/api/patients").await.status == StatusCode::OK
    })
    .await;
    anybody.with(&without_kid).get("/api/patients").await.refused(401, "unauthenticated");
    foreign.publish("{\"keys\": [");
    until("the broken file was read", || async {
        foreign.world.log().contains("cannot read the key set")
    })
    .await;
    anybody.with(&of_second).get("/api/patients").await.expect(StatusCode::OK);

    // A key that is withdrawn takes its tokens along.
    foreign.publish(&json!({"keys": [second.jwk()]}).to_string());
    let of_first = foreign.issuer.token(&claims());
    until("the first key is trusted no more", || async {
        anybody.with(&of_first).get("/api/patients").await.status == StatusCode::UNAUTHORIZED
    })
    .await;
    anybody.with(&of_second).get("/api/patients").await.expect(StatusCode::OK);
}

// === impl Foreign ===

impl Foreign {
    async fn start() -> Self {
        let (issuer, folder) = (Issuer::new("k1"), tempfile::tempdir().unwrap());
        let path = folder.path().join("jwks.json");
        fs::write(&path, json!({"keys": [issuer.jwk()]}).to_string()).unwrap();
        let source = format!("file:{}", path.display());
        let world = TestMesh::start_with(&[("MEDISYNC_GATEWAY__JWKS", &source)]).await;
        Self { issuer, world, folder }
    }

    fn publish(&self, keys: &str) {
        fs::write(self.folder.path().join("jwks.json"), keys).unwrap();
    }
}

fn claims() -> Value {
    issuer::claims(now_s())
}

fn claims_with(name: &str, value: Value) -> Value {
    issuer::claims_with(now_s(), name, value)
}
