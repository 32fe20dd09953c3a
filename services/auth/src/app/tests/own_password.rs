//! A user's own password: by anyone who knows it, and everybody is signed out.

use super::*;
use crate::domain::OwnPassword;

async fn change(world: &World, pair: &TokenPair, current: &str, new: &str) -> Result<(), Error> {
    let change = OwnPassword::parse(Some(current.into()), Some(new.into()));
    let change = change.map_err(Error::Invalid)?;
    world.app().change_own_password(&caller(pair), change, HOME).await
}

fn wrong_field(refused: Result<(), Error>) -> String {
    let fields = refused.unwrap_err().fields();
    assert_eq!(fields.len(), 1);
    fields[0].field.to_string()
}

#[tokio::test]
async fn a_new_password_ends_every_sign_in_of_the_user_and_nobody_elses() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let (own, other) = (world.login(CLINICIAN).await, world.login(CLINICIAN).await);
        let admin = world.login(ADMIN).await;
        change(&world, &own, DEMO_PASSWORD, GOOD_PASSWORD).await.unwrap();
        for pair in [&own, &other] {
            assert!(matches!(world.refresh(pair).await, Err(Error::RefreshRefused)));
        }
        assert!(world.refresh(&admin).await.is_ok());
        while world.revoked().await.len() < 2 {
            tokio::task::yield_now().await;
        }
        let ended = world.revoked().await;
        assert!([&own, &other].iter().all(|pair| ended.contains(&claims(pair).sid.unwrap())));
        assert!(world.login_with(CLINICIAN, DEMO_PASSWORD).await.is_err());
        assert!(world.login_with(CLINICIAN, GOOD_PASSWORD).await.is_ok());
    }
}

#[tokio::test]
async fn a_change_needs_the_current_password_and_a_new_one_that_may_be_set() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let pair = world.login(CLINICIAN).await;
        let field = async |current, new| wrong_field(change(&world, &pair, current, new).await);
        assert_eq!(field("wrong", GOOD_PASSWORD).await, "currentPassword");
        assert_eq!(field(DEMO_PASSWORD, "short").await, "newPassword");
        assert_eq!(field(DEMO_PASSWORD, "qwertyuiop123").await, "newPassword");
        assert_eq!(field(DEMO_PASSWORD, CLINICIAN).await, "newPassword");
        assert!(world.refresh(&pair).await.is_ok(), "the sign-in goes on");
        change(&world, &pair, DEMO_PASSWORD, GOOD_PASSWORD).await.unwrap();
        let pair = world.login_with(CLINICIAN, GOOD_PASSWORD).await.unwrap();
        let same = change(&world, &pair, GOOD_PASSWORD, GOOD_PASSWORD).await;
        assert_eq!(wrong_field(same), "newPassword");
    }
}

#[tokio::test]
async fn guessing_the_current_password_counts_as_signing_in() {
    for engine in engines() {
        let world = World::limited(engine).await;
        let pair = world.login(CLINICIAN).await;
        for _ in 0..10 {
            let refused = change(&world, &pair, "wrong", GOOD_PASSWORD).await;
            assert_eq!(wrong_field(refused), "currentPassword");
        }
        let refused = change(&world, &pair, DEMO_PASSWORD, GOOD_PASSWORD).await;
        assert!(matches!(refused, Err(Error::TooManyAttempts { .. })));
        let login = world.login_with(CLINICIAN, DEMO_PASSWORD).await;
        assert!(matches!(login, Err(Error::TooManyAttempts { .. })));
    }
}

#[tokio::test]
async fn of_two_changes_at_once_one_takes_effect() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let pair = world.login(CLINICIAN).await;
        let (one, other) = tokio::join!(
            change(&world, &pair, DEMO_PASSWORD, GOOD_PASSWORD),
            change(&world, &pair, DEMO_PASSWORD, "umbrella 19 tram"),
        );
        assert_ne!(one.is_ok(), other.is_ok());
        let new = if one.is_ok() { GOOD_PASSWORD } else { "umbrella 19 tram" };
        assert!(world.login_with(CLINICIAN, new).await.is_ok());
    }
}
