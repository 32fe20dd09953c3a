//! Tokens while keys change.

use std::{
    fs,
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use serde_json::json;

use crate::{
    background_load::Meanwhile,
    sessions::{part, refused_by, refused_everywhere},
    test_mesh::{ADMIN, CLINICIAN, Caller, TestMesh, files, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_while_requests_go_on() {
    let world = TestMesh::start().await;
    let old = world.sign_in(ADMIN).await;
    let anybody = world.anybody();
    let requests = Meanwhile::repeat(move || {
        let anybody = anybody.clone();
        async move {
            let fresh = anybody.log_in(CLINICIAN, "password123").await.expect(StatusCode::OK);
            let fresh = anybody.with(fresh.json()["token"].as_str().unwrap());
            fresh.get("/api/patients").await.expect(StatusCode::OK);
            fresh.get("/api/analytics/summary").await.expect(StatusCode::OK);
        }
    });
    let readers: Vec<_> = (0..4)
        .map(|n| {
            let (gateway, patient) = (old.clone(), world.at("patient"));
            let patient = patient.with(old.token.as_ref().unwrap());
            Meanwhile::repeat(move || {
                let (gateway, patient) = (gateway.clone(), patient.clone());
                async move {
                    gateway.get("/api/patients?size=1").await.expect(StatusCode::OK);
                    let path = if n % 2 == 0 { "/auth/me" } else { "/api/notifications" };
                    gateway.get(path).await.expect(StatusCode::OK);
                    patient.get("/patients?size=1").await.expect(StatusCode::OK);
                }
            })
        })
        .collect();
    requests.goes_on(3).await;
    let kid = |token: &str| part(token, 0)["kid"].as_str().unwrap().to_owned();
    let mut kids = vec![kid(old.token.as_ref().unwrap())];
    for _ in 0..2 {
        let told = world.command(&["keys", "rotate"], "");
        let last = kids.last().unwrap().clone();
        until("new tokens are signed by the new key", || async {
            kid(world.sign_in(ADMIN).await.token.as_ref().unwrap()) != last
        })
        .await;
        let new = kid(world.sign_in(ADMIN).await.token.as_ref().unwrap());
        assert!(told.contains(&new), "{told}");
        kids.push(new);
        requests.goes_on(3).await;
        for reader in &readers {
            reader.goes_on(10).await;
        }
    }
    requests.ends_well().await;
    for reader in readers {
        reader.ends_well().await;
    }
    let jwks = world.anybody().get("/auth/.well-known/jwks.json").await;
    let listed: Vec<_> = jwks.list("keys").iter().map(|key| key["kid"].clone()).collect();
    for kid in &kids {
        assert!(listed.contains(&json!(kid)), "{kid} in {listed:?}");
    }
    old.get("/api/patients").await.expect(StatusCode::OK);
    assert!(!world.log().contains("http.status=5"), "a request failed");
}

#[tokio::test]
async fn a_signing_key_that_is_taken_away_takes_its_tokens_along() {
    let world = TestMesh::start().await;
    let old = world.sign_in(CLINICIAN).await;
    let kid = |caller: &Caller| {
        let header = part(caller.token.as_ref().unwrap(), 0);
        header["kid"].as_str().unwrap().to_owned()
    };
    let retired = kid(&old);
    world.command(&["keys", "rotate"], "");
    until("new tokens are signed by the new key", || async {
        kid(&world.sign_in(CLINICIAN).await) != retired
    })
    .await;
    let new = world.sign_in(CLINICIAN).await;
    let at_patient = |caller: &Caller| world.at("patient").with(caller.token.as_ref().unwrap());
    // Both are good, and remembered to be, until the old one's key is gone.
    for caller in [&old, &new] {
        caller.get("/api/patients").await.expect(StatusCode::OK);
        at_patient(caller).get("/patients").await.expect(StatusCode::OK);
    }
    let latest = Instant::now() + Duration::from_secs(2);
    let key = files(&world.data().join("keys"), ".der")
        .into_iter()
        .find(|path| path.to_string_lossy().contains(&retired));
    fs::remove_file(key.unwrap()).unwrap();
    refused_by(latest, &old, "/api/patients").await;
    refused_by(latest, &at_patient(&old), "/patients").await;
    refused_everywhere(&world, "of a retired key", old.token.as_ref().unwrap()).await;
    new.get("/api/patients").await.expect(StatusCode::OK);
    at_patient(&new).get("/patients").await.expect(StatusCode::OK);
}
