//! Service accounts: their keys, and how their sign-ins end.

use super::*;
use crate::{
    app::ServiceToken,
    domain::{NewServiceAccount, OwnPassword, ServiceAccount},
};

impl World {
    async fn program(&self, name: &str, days: i64) -> (ServiceAccount, SecretString) {
        let new = NewServiceAccount::parse(Some(name), Some("BILLING"), Some(days)).ok().unwrap();
        let (account, key) = self.app().create_service_account(new).await.unwrap();
        (account, key.expose().into())
    }

    async fn by_key(&self, key: &SecretString) -> Result<ServiceToken, Error> {
        self.sign_in().await.by_key(key.clone()).await
    }

    /// Waits until this many sign-ins were ended; tells which.
    async fn ended(&self, count: usize) -> Vec<Uuid> {
        loop {
            let ended = self.app().store.revocations_after(0, 10).await.unwrap();
            if ended.len() >= count {
                return ended.into_iter().map(|(_, it)| it.session).collect();
            }
            tokio::task::yield_now().await;
        }
    }
}

fn said(token: &ServiceToken) -> shared_middleware::token::Claims {
    jsonwebtoken::dangerous::insecure_decode(&token.access).unwrap().claims
}

fn program(token: &ServiceToken) -> Caller {
    let claims = said(token);
    Caller { subject: claims.sub.into(), role: claims.role, session: claims.sid }
}

#[tokio::test]
async fn a_key_gives_tokens_that_say_whose_they_are_and_notes_its_use() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let (account, key) = world.program("lab link", 30).await;
        assert_eq!(account.last_used_at, None);
        world.hand.turn_s(60);
        let (one, other) = (world.by_key(&key).await.unwrap(), world.by_key(&key).await.unwrap());
        let claims = said(&one);
        assert_eq!((claims.sub, claims.role), (account.id.to_string(), Role::Billing));
        assert_eq!((claims.exp - claims.iat.unwrap(), one.expires_in_s), (900, 900));
        assert_ne!(claims.sid, said(&other).sid);
        let listed = world.app().service_accounts(None, 10).await.unwrap().0;
        assert_eq!(listed[0].last_used_at, Some(world.hand.clock().now()));
        assert_eq!(
            listed[0].expires_at,
            account.created_at + jiff::SignedDuration::from_hours(720)
        );
    }
}

#[tokio::test]
async fn unknown_wrong_expired_and_deleted_keys_are_refused_alike() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let (account, key) = world.program("a", 2).await;
        let (deleted, deleted_key) = world.program("b", 2).await;
        let (_, expiring) = world.program("c", 1).await;
        world.app().delete_service_account(deleted.id).await.unwrap();
        world.hand.turn_s(86_400);
        let nobodys = crate::api_key::ApiKey::random(Uuid::nil()).unwrap();
        let others = crate::api_key::ApiKey::random(account.id).unwrap();
        for key in
            ["x".into(), nobodys.expose().into(), others.expose().into(), deleted_key, expiring]
        {
            assert!(matches!(world.by_key(&key).await, Err(Error::KeyRefused)));
        }
        assert!(world.by_key(&key).await.is_ok());
        let again = world.app().delete_service_account(deleted.id).await;
        assert!(matches!(again, Err(Error::ServiceAccountNotFound)));
    }
}

#[tokio::test]
async fn a_deleted_accounts_sign_ins_are_ended_and_no_others() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let (account, key) = world.program("a", 2).await;
        let (_, other) = world.program("b", 2).await;
        let tokens = [world.by_key(&key).await.unwrap(), world.by_key(&key).await.unwrap()];
        world.by_key(&other).await.unwrap();
        world.app().delete_service_account(account.id).await.unwrap();
        let mut ended = world.ended(2).await;
        ended.sort_unstable();
        let mut ours = tokens.each_ref().map(|token| said(token).sid.unwrap());
        ours.sort_unstable();
        assert_eq!(ended, ours);
        let who = world.sign_in().await.who(&program(&tokens[0])).await;
        assert!(matches!(who, Err(Error::CallerGone)));
    }
}

#[tokio::test]
async fn when_a_key_expires_so_do_its_tokens() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let (_, key) = world.program("a", 1).await;
        world.hand.turn_s(86_400 - 100);
        let token = world.by_key(&key).await.unwrap();
        assert_eq!(token.expires_in_s, 100, "no token outlives its key");
        // One that was not yet heard of is accepted for some seconds after its end: it is ended.
        world.hand.turn_s(100);
        assert_eq!(world.ended(1).await, [said(&token).sid.unwrap()]);
    }
}

#[tokio::test]
async fn a_program_may_sign_out_and_has_no_password() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let (_, key) = world.program("a", 2).await;
        let token = world.by_key(&key).await.unwrap();
        let change = OwnPassword::parse(Some("x".into()), Some(GOOD_PASSWORD.into())).ok().unwrap();
        let refused = world.app().change_own_password(&program(&token), change, HOME).await;
        assert!(matches!(refused, Err(Error::NoPassword)));
        world.sign_in().await.logout(&program(&token)).await.unwrap();
        assert_eq!(world.ended(1).await, [said(&token).sid.unwrap()]);
    }
}

#[tokio::test]
async fn names_are_unique_without_regard_to_case_and_lists_have_pages() {
    for engine in engines() {
        let world = World::demo(engine).await;
        for name in ["a", "b", "c"] {
            world.program(name, 2).await;
        }
        let again = NewServiceAccount::parse(Some(" B "), Some("AUDITOR"), None).ok().unwrap();
        assert!(matches!(
            world.app().create_service_account(again).await.err(),
            Some(Error::NameTaken)
        ));
        let (first, more) = world.app().service_accounts(None, 2).await.unwrap();
        assert!(more);
        let after = first.last().map(|last| (last.created_at, last.id));
        let (rest, more) = world.app().service_accounts(after, 2).await.unwrap();
        assert!(!more);
        let names: Vec<_> = first.into_iter().chain(rest).map(|account| account.name).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}

#[tokio::test]
async fn a_key_is_kept_as_a_hash_only() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let (account, key) = world.program("a", 2).await;
        let stored = world.app().store.service_account(account.id).await.unwrap().unwrap();
        let key = secrecy::ExposeSecret::expose_secret(&key).as_bytes();
        assert_eq!(stored.key_hash, crate::secret::sha256(key));
        assert_eq!(stored.key_hash.len(), 32);
    }
}
