//! Users and their sign-ins: from the first token to the last.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    sessions::cut_off,
    test_mesh::{ADMIN, Answer, CLINICIAN, Caller, RECEPTIONIST, TestMesh, fields},
};

const PASSWORD: &str = "password123";
const NEW_PASSWORD: &str = "a longer pass phrase";

/// A sign-in: its access token, and what gives the next one.
struct SignIn {
    caller: Caller,
    refresh: String,
}

#[tokio::test]
async fn a_refresh_token_works_once_and_twice_ends_the_sign_in() {
    let world = TestMesh::start_with(&[("MEDISYNC_AUTH__REFRESH_REUSE_SECONDS", "0")]).await;
    let first = sign_in(&world, CLINICIAN, PASSWORD).await;
    let other = sign_in(&world, CLINICIAN, PASSWORD).await;
    let second = refreshed(&world, &first.refresh).await;
    let third = refreshed(&world, &second.refresh).await;
    assert_ne!(second.refresh, third.refresh);
    assert_ne!(second.caller.token, third.caller.token);
    for caller in [&first.caller, &second.caller, &third.caller] {
        caller.get("/auth/me").await.expect(StatusCode::OK);
    }
    refresh(&world, &first.refresh).await.refused(401, "unauthenticated");
    for spent in [&third.refresh, &second.refresh, &first.refresh] {
        refresh(&world, spent).await.refused(401, "unauthenticated");
    }
    for caller in [&first.caller, &second.caller, &third.caller] {
        cut_off(&world, caller).await;
    }
    // Another sign-in of the same user is none of it.
    other.caller.get("/auth/me").await.expect(StatusCode::OK);
    let other = refreshed(&world, &other.refresh).await;

    for odd in ["", "x", &"x".repeat(5000), other.caller.token.as_ref().unwrap(), "\u{0}"] {
        refresh(&world, odd).await.refused(401, "unauthenticated");
    }
    let anybody = world.anybody();
    let body = json!({"refreshToken": 1});
    anybody.post("/auth/refresh", &body).await.refused(400, "invalid");
    let problem = anybody.post("/auth/refresh", &json!({})).await.refused(400, "invalid");
    assert_eq!(fields(&problem), ["refreshToken"]);
    anybody.with(&other.refresh).get("/auth/me").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn all_who_refresh_at_once_get_the_same_pair_and_nobody_is_signed_out() {
    let world = TestMesh::shared().await;
    let SignIn { refresh: token, .. } = sign_in(&world, CLINICIAN, PASSWORD).await;
    let attempts: Vec<_> = (0..8)
        .map(|_| {
            let (anybody, body) = (world.anybody(), json!({"refreshToken": token}));
            tokio::spawn(async move { anybody.post("/auth/refresh", &body).await })
        })
        .collect();
    let mut pairs = BTreeSet::new();
    for attempt in attempts {
        let pair = attempt.await.unwrap().expect(StatusCode::OK).json();
        pairs.insert((pair["token"].to_string(), pair["refreshToken"].to_string()));
    }
    assert_eq!(pairs.len(), 1);
    let again = refreshed(&world, &token).await;
    assert_eq!(pairs.first().unwrap().1, json!(again.refresh).to_string());
    again.caller.get("/auth/me").await.expect(StatusCode::OK);
    refreshed(&world, &again.refresh).await;
}

#[tokio::test]
async fn after_a_logout_the_sign_in_is_refused_everywhere_within_a_second() {
    let world = TestMesh::shared().await;
    for email in [CLINICIAN, RECEPTIONIST, ADMIN] {
        let ended = sign_in(&world, email, PASSWORD).await;
        let kept = sign_in(&world, email, PASSWORD).await;
        let newer = refreshed(&world, &ended.refresh).await;
        // Known to every cache, so that it is the end that counts.
        for caller in [&ended.caller, &newer.caller] {
            caller.get("/api/patients").await.expect(StatusCode::OK);
        }
        let answer = newer.caller.send(Method::POST, "/auth/logout", &[], None).await;
        assert_eq!(answer.expect(StatusCode::NO_CONTENT).text, "");
        cut_off(&world, &ended.caller).await;
        cut_off(&world, &newer.caller).await;
        for spent in [&newer.refresh, &ended.refresh] {
            refresh(&world, spent).await.refused(401, "unauthenticated");
        }
        let again = newer.caller.send(Method::POST, "/auth/logout", &[], None).await;
        again.refused(401, "unauthenticated");
        kept.caller.get("/api/patients").await.expect(StatusCode::OK);
    }
    let metrics = world.metrics().await;
    let revoked = "gateway_auth_total{outcome=\"revoked\"} ";
    assert!(!metrics.contains(&format!("{revoked}0\n")) && metrics.contains(revoked), "{metrics}");
}

#[tokio::test]
async fn whoever_may_no_longer_is_cut_off_within_a_second() {
    let world = TestMesh::shared().await;
    let admin = world.sign_in(ADMIN).await;
    for (n, change) in [
        Some(json!({"disabled": true})),
        Some(json!({"role": "AUDITOR"})),
        Some(json!({"password": NEW_PASSWORD})),
        None,
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("somebody.{n}@test.com");
        let path = add(&admin, &email, "CLINICIAN").await;
        let theirs = sign_in(&world, &email, NEW_PASSWORD).await;
        theirs.caller.get("/api/patients").await.expect(StatusCode::OK);
        match &change {
            Some(change) => {
                let answer = admin.send(Method::PATCH, &path, &[], Some(change)).await;
                answer.expect(StatusCode::OK);
            }
            None => drop(admin.delete(&path).await.expect(StatusCode::NO_CONTENT)),
        }
        cut_off(&world, &theirs.caller).await;
        refresh(&world, &theirs.refresh).await.refused(401, "unauthenticated");
        let again = world.anybody().log_in(&email, NEW_PASSWORD).await;
        match n {
            0 | 3 => drop(again.refused(401, "unauthenticated")),
            1 => assert_eq!(again.expect(StatusCode::OK).json()["role"], "AUDITOR"),
            _ => drop(again.expect(StatusCode::OK)),
        }
    }
    // One who is let in again has to sign in again.
    let path = add(&admin, "back@test.com", "BILLING").await;
    let theirs = sign_in(&world, "back@test.com", NEW_PASSWORD).await;
    for disabled in [true, false] {
        let change = json!({"disabled": disabled});
        admin.send(Method::PATCH, &path, &[], Some(&change)).await.expect(StatusCode::OK);
    }
    cut_off(&world, &theirs.caller).await;
    sign_in(&world, "back@test.com", NEW_PASSWORD).await;
}

/// Adds a user with [`NEW_PASSWORD`]; the user's path.
async fn add(admin: &Caller, email: &str, role: &str) -> String {
    let body = json!({"email": email, "password": NEW_PASSWORD, "role": role});
    let answer = admin.post("/api/users", &body).await.expect(StatusCode::CREATED);
    answer.header("location").to_owned()
}

async fn sign_in(world: &TestMesh, email: &str, password: &str) -> SignIn {
    tokens(world, &world.anybody().log_in(email, password).await)
}

async fn refresh(world: &TestMesh, token: &str) -> Answer {
    world.anybody().post("/auth/refresh", &json!({"refreshToken": token})).await
}

async fn refreshed(world: &TestMesh, token: &str) -> SignIn {
    tokens(world, &refresh(world, token).await)
}

#[track_caller]
fn tokens(world: &TestMesh, answer: &Answer) -> SignIn {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let tokens = answer.json();
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    SignIn { caller: world.anybody().with(&text("token")), refresh: text("refreshToken") }
}
