//! Service accounts, from key to cut-off.

use super::*;

#[tokio::test]
async fn a_service_account_from_first_to_last() {
    for engine in engines() {
        let mesh = Front::new(engine).await;
        let admin = mesh.token(Role::Admin).await;
        let new = json!({"name": " lab link ", "role": "CLINICIAN"});
        let made = mesh.as_admin(&admin, "POST /service-accounts", Some(new.clone())).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        assert_eq!(made.headers["cache-control"], "no-store");
        let account = made.json();
        assert_eq!((&account["name"], &account["role"]), (&json!("lab link"), &json!("CLINICIAN")));
        assert!(account["lastUsedAt"].is_null());
        assert_eq!(account.as_object().unwrap().len(), 7);
        let key = account["key"].as_str().unwrap();
        let again = mesh.as_admin(&admin, "POST /service-accounts", Some(new)).await;
        again.refused(409, "conflict");

        let answer = mesh.post("/token", json!({"apiKey": key})).await;
        assert_eq!(answer.headers["cache-control"], "no-store");
        let token = answer.json();
        assert_eq!(token["tokenType"], "Bearer");
        assert_eq!((&token["expiresIn"], &token["role"]), (&json!(900), &json!("CLINICIAN")));
        assert_eq!(token.as_object().unwrap().len(), 4, "no refresh token");
        let token = token["token"].as_str();
        let me = mesh.call(GATEWAY, "GET /me", token, None).await.json();
        let expected = json!({"id": account["id"], "name": "lab link", "role": "CLINICIAN"});
        assert_eq!(me, expected);
        mesh.call(GATEWAY, "GET /users", token, None).await.refused(403, "forbidden");
        let change = json!({"currentPassword": "x", "newPassword": GOOD_PASSWORD});
        mesh.call(GATEWAY, "POST /password", token, Some(change)).await.refused(403, "forbidden");

        let listed = mesh.as_admin(&admin, "GET /service-accounts", None).await;
        assert!(!listed.text.contains("msk_") && !listed.text.contains("key"), "{}", listed.text);
        let listed = listed.json();
        assert!(listed["nextCursor"].is_null());
        assert!(listed["serviceAccounts"][0]["lastUsedAt"].is_string());

        let line = format!("DELETE /service-accounts/{}", account["id"].as_str().unwrap());
        assert_eq!(mesh.as_admin(&admin, &line, None).await.status, StatusCode::NO_CONTENT);
        mesh.as_admin(&admin, &line, None).await.refused(404, "not_found");
        while mesh.hear().await.revoked.is_empty() {
            tokio::task::yield_now().await;
        }
        mesh.call(GATEWAY, "GET /me", token, None).await.refused(401, "unauthenticated");
        mesh.post("/token", json!({"apiKey": key})).await.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_refused_key_says_nothing_of_why() {
    for engine in engines() {
        let mesh = Front::new(engine).await;
        let admin = mesh.token(Role::Admin).await;
        let new = json!({"name": "a", "role": "BILLING"});
        let made = mesh.as_admin(&admin, "POST /service-accounts", Some(new)).await.json();
        let key = made["key"].as_str().unwrap();
        let refused = async |key: &str| {
            let answer = mesh.post("/token", json!({"apiKey": key})).await;
            answer.refused(401, "unauthenticated");
            let mut body = answer.json();
            body.as_object_mut().unwrap().remove("traceId");
            body
        };
        let unknown = refused("x").await;
        let (id, secret) = key.split_at("msk_".len() + 32 + "_".len());
        assert_eq!(refused(&format!("{id}{}", "A".repeat(secret.len()))).await, unknown);
        let nobody = format!("msk_{}_", "0".repeat(32));
        assert_eq!(refused(&format!("{nobody}{secret}")).await, unknown);
        mesh.world.hand.turn_s(90 * 86_400);
        assert_eq!(refused(key).await, unknown);
    }
}

#[tokio::test]
async fn service_accounts_are_listed_in_pages() {
    for engine in engines() {
        let mesh = Front::new(engine).await;
        let admin = mesh.token(Role::Admin).await;
        for name in ["a", "b", "c"] {
            let new = json!({"name": name, "role": "BILLING"});
            mesh.as_admin(&admin, "POST /service-accounts", Some(new)).await;
        }
        let page = mesh.as_admin(&admin, "GET /service-accounts?size=2", None).await.json();
        assert_eq!(page["serviceAccounts"].as_array().unwrap().len(), 2);
        let cursor = page["nextCursor"].as_str().unwrap();
        let line = format!("GET /service-accounts?size=2&cursor={cursor}");
        let page = mesh.as_admin(&admin, &line, None).await.json();
        assert_eq!(page["serviceAccounts"][0]["name"], "c");
        assert!(page["nextCursor"].is_null());
        let other = format!("GET /users?cursor={cursor}");
        mesh.as_admin(&admin, &other, None).await.refused(400, "invalid");
    }
}
