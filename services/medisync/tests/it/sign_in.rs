//! Users and their sign-ins: from the first token to the last.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{
    ADMIN, AUDITOR, Answer, BILLING, CLINICIAN, Caller, RECEPTIONIST, World, fields, until,
};

const PASSWORD: &str = "password123";
const NEW_PASSWORD: &str = "a longer pass phrase";

/// How soon what was ended must be refused everywhere.
const CUT_OFF_WITHIN: Duration = Duration::from_secs(1);

/// A sign-in: its access token, and what gives the next one.
struct SignIn {
    caller: Caller,
    refresh: String,
}

#[tokio::test]
async fn a_sign_in_gives_a_token_that_names_its_user() {
    let world = World::start().await;
    let jwks = world.anybody().get("/auth/.well-known/jwks.json").await.expect(StatusCode::OK);
    let keys = jwks.list("keys");
    for key in &keys {
        let names: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    }
    for (email, role) in [
        (ADMIN, "ADMIN"),
        (CLINICIAN, "CLINICIAN"),
        (RECEPTIONIST, "RECEPTIONIST"),
        (BILLING, "BILLING"),
        (AUDITOR, "AUDITOR"),
    ] {
        let answer = world.anybody().log_in(email, PASSWORD).await.expect(StatusCode::OK);
        assert_eq!(answer.header("cache-control"), "no-store");
        let tokens = answer.json();
        let names: Vec<_> = tokens.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["expiresIn", "refreshToken", "role", "token", "tokenType"]);
        assert_eq!((&tokens["tokenType"], &tokens["role"]), (&json!("Bearer"), &json!(role)));
        let token = tokens["token"].as_str().unwrap();
        let (header, claims) = (part(token, 0), part(token, 1));
        assert_eq!(header["alg"], "ES256");
        assert!(keys.iter().any(|key| key["kid"] == header["kid"]), "{header}");
        assert_eq!(claims["iss"], "medisync");
        assert_eq!(claims["aud"], "medisync-api");
        assert_eq!(claims["role"], role);
        let lives_s = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert_eq!(tokens["expiresIn"], lives_s);
        assert!(!claims.to_string().contains('@'), "a person in a token: {claims}");

        let caller = world.anybody().with(token);
        let me = caller.get("/auth/me").await.expect(StatusCode::OK).json();
        assert_eq!(me, json!({"id": claims["sub"], "email": email, "role": role}));
        let valid = caller.get("/auth/validate").await.expect(StatusCode::OK);
        assert_eq!(valid.text, "");
    }
    let upper = world.anybody().log_in(&ADMIN.to_uppercase(), PASSWORD).await;
    upper.expect(StatusCode::OK);
    world.anybody().get("/auth/validate").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_failed_sign_in_does_not_tell_why() {
    let world = World::start().await;
    let admin = world.sign_in(ADMIN).await;
    let id = id_of(&admin, BILLING).await;
    let off = json!({"disabled": true});
    admin.send(Method::PATCH, &format!("/api/users/{id}"), &[], Some(&off)).await;
    let attempts = [
        ("nobody@test.com", PASSWORD),
        (CLINICIAN, "wrong password"),
        (BILLING, PASSWORD),
        (BILLING, "wrong password"),
        ("nobody@test.com' or 1=1 --", PASSWORD),
        (CLINICIAN, "' or 1=1 --"),
        (CLINICIAN, "Password123"),
        (CLINICIAN, "password123 "),
    ];
    let mut told = BTreeSet::new();
    for (email, password) in attempts {
        let answer = world.anybody().log_in(email, password).await;
        let mut headers: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        headers.sort();
        let mut problem = answer.refused(401, "unauthenticated");
        problem["traceId"].take();
        told.insert((problem.to_string(), headers));
    }
    assert_eq!(told.len(), 1, "{told:?}");

    let mut took = [const { Vec::new() }; 3];
    for _ in 0..11 {
        for (which, (email, password)) in attempts.iter().take(3).enumerate() {
            let since = Instant::now();
            world.anybody().log_in(email, password).await;
            took[which].push(since.elapsed());
        }
    }
    let [unknown, wrong, disabled] = took.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64()
    });
    for other in [unknown, disabled] {
        let ratio = other / wrong;
        assert!((0.5..2.0).contains(&ratio), "unknown {unknown}, wrong {wrong}, off {disabled}");
    }
}

#[tokio::test]
async fn a_refresh_token_works_once_and_twice_ends_the_sign_in() {
    let world = World::start().await;
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
async fn of_many_who_refresh_at_once_one_succeeds() {
    let world = World::start().await;
    let SignIn { refresh: token, .. } = sign_in(&world, CLINICIAN, PASSWORD).await;
    let attempts: Vec<_> = (0..8)
        .map(|_| {
            let (anybody, body) = (world.anybody(), json!({"refreshToken": token}));
            tokio::spawn(async move { anybody.post("/auth/refresh", &body).await })
        })
        .collect();
    let mut pairs = Vec::new();
    for attempt in attempts {
        let answer = attempt.await.unwrap();
        if answer.status == StatusCode::OK {
            pairs.push(answer.json());
        } else {
            answer.refused(401, "unauthenticated");
        }
    }
    assert_eq!(pairs.len(), 1);
    let newest = pairs[0]["refreshToken"].as_str().unwrap();
    refresh(&world, newest).await.refused(401, "unauthenticated");
    cut_off(&world, &world.anybody().with(pairs[0]["token"].as_str().unwrap())).await;
}

#[tokio::test]
async fn after_a_logout_the_sign_in_is_refused_everywhere_within_a_second() {
    let world = World::start().await;
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
    let world = World::start().await;
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

/// A part of a JWT, read.
pub(crate) fn part(token: &str, n: usize) -> Value {
    let part = token.split('.').nth(n).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The token is refused at the gateway and at the patient service's own port, soon. Each part hears
/// of it by itself.
pub(crate) async fn cut_off(world: &World, caller: &Caller) {
    let since = Instant::now();
    let own_port = world.at("patient").with(caller.token.as_ref().unwrap());
    for (caller, path) in
        [(caller, "/api/patients"), (&own_port, "/patients"), (caller, "/auth/me")]
    {
        until("the token is refused", || async { caller.get(path).await.status == 401 }).await;
    }
    let took = since.elapsed();
    assert!(took < CUT_OFF_WITHIN, "{took:?}");
}

/// Adds a user with [`NEW_PASSWORD`]; the user's path.
async fn add(admin: &Caller, email: &str, role: &str) -> String {
    let body = json!({"email": email, "password": NEW_PASSWORD, "role": role});
    let answer = admin.post("/api/users", &body).await.expect(StatusCode::CREATED);
    answer.header("location").to_owned()
}

async fn id_of(admin: &Caller, email: &str) -> String {
    let users = admin.get("/api/users?size=200").await.list("users");
    let user = users.iter().find(|user| user["email"] == email).unwrap();
    user["id"].as_str().unwrap().to_owned()
}

async fn sign_in(world: &World, email: &str, password: &str) -> SignIn {
    tokens(world, &world.anybody().log_in(email, password).await)
}

async fn refresh(world: &World, token: &str) -> Answer {
    world.anybody().post("/auth/refresh", &json!({"refreshToken": token})).await
}

async fn refreshed(world: &World, token: &str) -> SignIn {
    tokens(world, &refresh(world, token).await)
}

#[track_caller]
fn tokens(world: &World, answer: &Answer) -> SignIn {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let tokens = answer.json();
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    SignIn { caller: world.anybody().with(&text("token")), refresh: text("refreshToken") }
}
