//! Tokens of other issuers: people who sign in elsewhere, with the roles that are given there.

use std::{fs, path::Path};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    issuer::Issuer,
    key_server::{KeyServer, answer},
    processes::free_port,
    sessions::{now_s, refused_everywhere},
    test_mesh::{ADMIN, TestMesh, until},
};

const WARD: &str = "https://id.example/realms/ward";
const LAB: &str = "https://lab.example";
const VARIABLE: &str = "MEDISYNC_TOKENS__ISSUERS";

/// A mesh that trusts two others: one by RS256 with roles deep in its tokens, one by EdDSA.
struct Trusting {
    world: TestMesh,
    ward: Issuer,
    lab: Issuer,
    ward_keys: KeyServer,
    _lab_keys: KeyServer,
    _folder: TempDir,
}

// === impl Trusting ===

impl Trusting {
    async fn start() -> Self {
        shared_middleware::token::install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let (ward, lab) = (Issuer::rs256("k1"), Issuer::eddsa("k1"));
        let ward_keys = KeyServer::start(0, key_set(&[&ward])).await;
        let lab_keys = KeyServer::start(0, key_set(&[&lab])).await;
        let issuers = json!([
            trusted(WARD, &ward_keys, folder.path(), "realm_access.roles"),
            trusted(LAB, &lab_keys, folder.path(), "role"),
        ]);
        let world = TestMesh::start_with(&[(VARIABLE, &issuers.to_string())]).await;
        Self { world, ward, lab, ward_keys, _lab_keys: lab_keys, _folder: folder }
    }

    async fn status(&self, token: &str, path: &str) -> u16 {
        self.world.anybody().with(token).get(path).await.status.as_u16()
    }
}

fn key_set(signers: &[&Issuer]) -> String {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    answer(200, "", &json!({"keys": keys}).to_string())
}

/// An issuer as the configuration says it, with the file of its server's authority.
fn trusted(name: &str, keys: &KeyServer, folder: &Path, role_claim: &str) -> Value {
    let ca = folder.join(format!("{}.pem", keys.url().len() + name.len()));
    fs::write(&ca, keys.authority()).unwrap();
    json!({
        "issuer": name, "audience": "patients", "jwks_url": keys.url(), "role_claim": role_claim,
        "ca": ca,
    })
}

fn claims(issuer: &str, sub: &str) -> Value {
    let now_s = now_s();
    json!({"iss": issuer, "aud": "patients", "sub": sub, "iat": now_s, "exp": now_s + 600})
}

fn of_ward(roles: &Value) -> Value {
    let mut claims = claims(WARD, "nurse");
    claims["realm_access"] = json!({"roles": roles});
    claims
}

fn of_lab(role: &str) -> Value {
    let mut claims = claims(LAB, "nurse");
    claims["role"] = json!(role);
    claims
}

#[tokio::test]
async fn people_of_other_issuers_may_do_what_their_role_there_allows() {
    let trusting = Trusting::start().await;
    let nurse = trusting.ward.token(&of_ward(&json!(["offline_access", "CLINICIAN"])));
    until("the ward's keys are known", || async {
        trusting.status(&nurse, "/api/patients").await == 200
    })
    .await;
    let at_patient = trusting.world.at("patient").with(&nurse);
    at_patient.get("/patients").await.expect(StatusCode::OK);
    let auditor = trusting.lab.token(&of_lab("AUDITOR"));
    until("the lab's keys are known", || async {
        trusting.status(&auditor, "/api/analytics/summary").await == 200
    })
    .await;
    let auditor = trusting.world.anybody().with(&auditor);
    auditor.get("/api/patients").await.refused(403, "forbidden");

    // None of our roles, or two of them.
    for roles in [json!([]), json!(["clinician"]), json!(["CLINICIAN", "ADMIN"]), json!(7)] {
        let token = trusting.ward.token(&of_ward(&roles));
        for (part, path) in [("gateway", "/api/patients"), ("patient", "/patients")] {
            let answer = trusting.world.at(part).with(&token).get(path).await;
            answer.refused(403, "forbidden");
        }
    }
    // Anyone who signs in elsewhere is nobody here: there is nothing to show, and nothing to end.
    let nurse = trusting.world.anybody().with(&nurse);
    nurse.get("/auth/validate").await.expect(StatusCode::OK);
    nurse.get("/auth/me").await.refused(404, "not_found");
    let out = nurse.send(Method::POST, "/auth/logout", &[], None).await;
    out.expect(StatusCode::NO_CONTENT);
    nurse.get("/api/patients").await.expect(StatusCode::OK);
    let ours = trusting.world.sign_in(ADMIN).await;
    ours.get("/auth/me").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn no_issuer_signs_for_another_nor_for_us() {
    let trusting = Trusting::start().await;
    let ward = of_ward(&json!(["ADMIN"]));
    let good = [trusting.ward.token(&ward), trusting.lab.token(&of_lab("ADMIN"))];
    for token in &good {
        until("its keys are known", || async {
            trusting.status(token, "/api/patients").await == 200
        })
        .await;
    }
    let mut ours = claims("medisync", "nurse");
    ours["aud"] = json!("medisync-api");
    ours["role"] = json!("ADMIN");
    let (mut elsewhere, mut unknown) = (ward.clone(), ward.clone());
    elsewhere["aud"] = json!("medisync-api");
    unknown["iss"] = json!("https://id.example/realms/other");
    let stranger = Issuer::new("k1");
    for (what, token) in [
        ("the lab signs for the ward", trusting.lab.token(&ward)),
        ("the ward signs for the lab", trusting.ward.token(&of_lab("ADMIN"))),
        ("the ward signs for us", trusting.ward.token(&ours)),
        ("the lab signs for us", trusting.lab.token(&ours)),
        ("a stranger signs for the ward", stranger.token(&ward)),
        ("for somebody else", trusting.ward.token(&elsewhere)),
        ("of nobody who is trusted", trusting.ward.token(&unknown)),
    ] {
        refused_everywhere(&trusting.world, what, &token).await;
    }
}

#[tokio::test]
async fn keys_of_another_issuer_are_followed_as_they_change() {
    let trusting = Trusting::start().await;
    let nurse = of_ward(&json!("CLINICIAN"));
    let old = trusting.ward.token(&nurse);
    until("the first key is known", || async {
        trusting.status(&old, "/api/patients").await == 200
    })
    .await;
    let next = Issuer::new("k2");
    let new = next.token(&nurse);
    assert_eq!(trusting.status(&new, "/api/patients").await, 401);
    trusting.ward_keys.answer_with(key_set(&[&trusting.ward, &next]));
    until("the second key is known", || async {
        trusting.status(&new, "/api/patients").await == 200
    })
    .await;
    assert_eq!(trusting.status(&old, "/api/patients").await, 200);
    // An answer that is none, a redirect and an empty set lock nobody out, however often they come.
    for odd in [answer(500, "", ""), answer(302, "location: /\r\n", ""), answer(200, "", "{}")] {
        trusting.ward_keys.answer_with(odd);
        let asked = trusting.ward_keys.asked();
        until("it was asked again", || async {
            let unknown = Issuer::new("k3").token(&nurse);
            assert_eq!(trusting.status(&unknown, "/api/patients").await, 401);
            trusting.ward_keys.asked() > asked
        })
        .await;
        assert_eq!(trusting.status(&new, "/api/patients").await, 200);
    }
    trusting.ward_keys.answer_with(key_set(&[&next]));
    until("the first key is gone", || async {
        let unknown = Issuer::new("k3").token(&nurse);
        trusting.status(&unknown, "/api/patients").await;
        trusting.status(&old, "/api/patients").await == 401
    })
    .await;
    assert_eq!(trusting.status(&new, "/api/patients").await, 200);
}

#[tokio::test]
async fn an_issuer_that_is_away_keeps_nobody_else_out() {
    shared_middleware::token::install_crypto();
    let (folder, signer, port) = (tempfile::tempdir().unwrap(), Issuer::new("k1"), free_port());
    // Its authority is known, but nobody is there yet.
    let keys = KeyServer::start(port, key_set(&[&signer])).await;
    let issuers = json!([trusted(LAB, &keys, folder.path(), "role")]);
    drop(keys);
    let world = TestMesh::start_with(&[(VARIABLE, &issuers.to_string())]).await;
    let nurse = world.anybody().with(&signer.token(&of_lab("CLINICIAN")));
    nurse.get("/api/patients").await.refused(503, "unavailable");
    let ours = world.sign_in(ADMIN).await;
    ours.get("/api/patients").await.expect(StatusCode::OK);
    world.at("admin").get("/readyz").await.expect(StatusCode::OK);

    let keys = KeyServer::start(port, key_set(&[&signer])).await;
    fs::write(issuers[0]["ca"].as_str().unwrap(), keys.authority()).unwrap();
    until("its keys are known", || async {
        nurse.get("/api/patients").await.status == StatusCode::OK
    })
    .await;
    drop(keys);
    let unknown = world.anybody().with(&Issuer::new("k2").token(&of_lab("CLINICIAN")));
    let failures = world.log().matches("cannot fetch the key set").count();
    until("it was found to be away", || async {
        unknown.get("/api/patients").await.refused(401, "unauthenticated");
        world.log().matches("cannot fetch the key set").count() > failures
    })
    .await;
    nurse.get("/api/patients").await.expect(StatusCode::OK);
}
