//! Users, as administrators manage them.

use super::*;

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
