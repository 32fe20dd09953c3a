//! Sign-ins of users, and their own passwords.

use futures_util::future::join_all;

use super::*;

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
async fn a_user_changes_the_own_password_and_is_signed_out() {
    for engine in engines() {
        let mesh = Front::new(engine).await;
        let token = mesh.token(Role::Clinician).await;
        let change = async |current: &str| {
            let body = json!({"currentPassword": current, "newPassword": GOOD_PASSWORD});
            mesh.call(GATEWAY, "POST /password", Some(&token), Some(body)).await
        };
        let wrong = change("wrong").await;
        wrong.refused(400, "invalid");
        assert_eq!(wrong.fields(), ["currentPassword"]);
        assert_eq!(change(DEMO_PASSWORD).await.status, StatusCode::NO_CONTENT);
        while mesh.hear().await.revoked.is_empty() {
            tokio::task::yield_now().await;
        }
        change(GOOD_PASSWORD).await.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn attempts_beyond_the_limit_are_told_when_to_come_back_by_the_clients_address() {
    for engine in engines() {
        let mesh = Front::of(World::limited(engine).await).await;
        mesh.login("testuser@test.com").await;
        let wrong = json!({"email": "testuser@test.com", "password": "wrong"});
        let from = async |client: &str, body: &Value| {
            let request = request("POST /login", None, Some(body), &[("x-forwarded-for", client)]);
            mesh.send(GATEWAY, request).await
        };
        // The first one came from a new place, too, and cost nothing: it was right.
        for n in 0..10 {
            from(&format!("192.0.2.{n}"), &wrong).await.refused(401, "unauthenticated");
        }
        let refused = from("192.0.2.99", &wrong).await;
        refused.refused(429, "rate_limited");
        let wait_s: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=360).contains(&wait_s), "{wait_s}");
        // From where the user was before: the connection's address, as no other was said.
        mesh.login("testuser@test.com").await;
    }
}

#[tokio::test]
async fn while_fifty_sign_in_everything_else_goes_on() {
    for engine in engines() {
        let mesh = Front::new(engine).await;
        let admin = mesh.token(Role::Admin).await;
        let held = mesh.world.passwords.hold_all().await;
        let body = json!({"email": "clinician@test.com", "password": DEMO_PASSWORD});
        let mut logins = Box::pin(join_all((0..50).map(|_| mesh.post("/login", body.clone()))));
        let others = async {
            for line in ["GET /validate", "GET /me", "GET /users", "GET /service-accounts"] {
                assert_eq!(
                    mesh.as_admin(&admin, line, None).await.status,
                    StatusCode::OK,
                    "{line}"
                );
            }
        };
        tokio::select! {
            biased;
            _ = &mut logins => panic!("nothing is hashed yet"),
            () = others => {}
        }
        drop(held);
        assert!(logins.await.iter().all(|answer| answer.status == StatusCode::OK));
    }
}
