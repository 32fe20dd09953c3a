//! Attempts to sign in to one account: limited, and no way to lock its user out.

use super::*;
use crate::account_limit::Attempt;

const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

/// Tries with a wrong password from this many addresses; how many got as far as it.
async fn flood(sign_in: &SignIn, email: &str, addresses: std::ops::Range<u8>) -> usize {
    let mut compared = 0;
    for last in addresses {
        let from = IpAddr::from([198, 51, 100, last]);
        match attempt(sign_in, email, "wrong", from).await {
            Err(Error::SignInRefused) => compared += 1,
            Err(Error::TooManyAttempts { retry_after_s }) => assert!(retry_after_s > 0),
            other => panic!("{:?}", other.err()),
        }
    }
    compared
}

async fn attempt(
    sign_in: &SignIn,
    email: &str,
    password: &str,
    from: IpAddr,
) -> Result<TokenPair, Error> {
    let login = Login::parse(Some(email), Some(password.into())).map_err(Error::Invalid)?;
    sign_in.login(login, from).await
}

#[tokio::test]
async fn the_eleventh_attempt_is_refused_wherever_it_comes_from_and_whoever_it_is_for() {
    for engine in engines() {
        let world = World::limited(engine).await;
        let sign_in = world.sign_in().await;
        for email in [ADMIN, "nobody@test.com", "no email at all"] {
            assert_eq!(flood(&sign_in, email, 0..30).await, 10, "{email}");
        }
        assert!(attempt(&sign_in, CLINICIAN, DEMO_PASSWORD, AWAY).await.is_ok(), "others get in");
    }
}

#[tokio::test]
async fn a_flood_does_not_lock_a_user_out_at_a_place_where_the_user_was_before() {
    for engine in engines() {
        let world = World::limited(engine).await;
        let sign_in = world.sign_in().await;
        attempt(&sign_in, ADMIN, DEMO_PASSWORD, HOME).await.unwrap();
        flood(&sign_in, ADMIN, 0..30).await;
        for n in 0..10 {
            let pair = attempt(&sign_in, ADMIN, DEMO_PASSWORD, HOME).await;
            assert!(pair.is_ok(), "attempt {n}");
        }
        // The place has a limit of failures as well, and it is the account's own place.
        for n in 0..10 {
            let wrong = attempt(&sign_in, ADMIN, "a wrong password", HOME).await;
            assert!(matches!(wrong, Err(Error::SignInRefused)), "attempt {n}");
        }
        let more = attempt(&sign_in, ADMIN, DEMO_PASSWORD, HOME).await;
        assert!(matches!(more, Err(Error::TooManyAttempts { .. })));
        let new = attempt(&sign_in, ADMIN, DEMO_PASSWORD, AWAY).await;
        assert!(matches!(new, Err(Error::TooManyAttempts { .. })));
        flood(&sign_in, CLINICIAN, 0..30).await;
        let other = attempt(&sign_in, CLINICIAN, DEMO_PASSWORD, HOME).await;
        assert!(matches!(other, Err(Error::TooManyAttempts { .. })));
    }
}

#[tokio::test]
async fn a_wrong_password_makes_no_place_known_and_a_known_one_is_forgotten_in_time() {
    for engine in engines() {
        let world = World::limited(engine).await;
        let sign_in = world.sign_in().await;
        assert!(attempt(&sign_in, ADMIN, "wrong", AWAY).await.is_err());
        attempt(&sign_in, ADMIN, DEMO_PASSWORD, HOME).await.unwrap();
        flood(&sign_in, ADMIN, 0..30).await;
        assert!(matches!(
            attempt(&sign_in, ADMIN, DEMO_PASSWORD, AWAY).await,
            Err(Error::TooManyAttempts { .. })
        ));
        world.hand.turn_s(29 * 86_400);
        assert!(attempt(&sign_in, ADMIN, DEMO_PASSWORD, HOME).await.is_ok());
        world.hand.turn_s(30 * 86_400);
        let refused = attempt(&sign_in, ADMIN, DEMO_PASSWORD, HOME).await;
        assert!(matches!(refused, Err(Error::TooManyAttempts { .. })));
    }
}

#[tokio::test]
async fn of_one_user_the_last_twenty_places_are_kept() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let sign_in = world.sign_in().await;
        for last in 0..25 {
            world.hand.turn_s(1);
            let from = IpAddr::from([198, 51, 100, last]);
            attempt(&sign_in, ADMIN, DEMO_PASSWORD, from).await.unwrap();
        }
        let since = world.hand.clock().now() - crate::store::KNOWN_PLACE_FOR;
        for last in 0..25 {
            let place = Attempt::new(ADMIN, IpAddr::from([198, 51, 100, last])).place();
            let known = world.app().store.is_known_place(place, since).await.unwrap();
            assert_eq!(known, last >= 5, "{last}");
        }
    }
}

/// With no permit to be had, anyone who is not refused before would wait for ever.
#[tokio::test]
async fn who_is_refused_for_the_limit_costs_no_hash() {
    for engine in engines() {
        let world = World::limited(engine).await;
        let sign_in = world.sign_in().await;
        flood(&sign_in, ADMIN, 0..10).await;
        let held = world.passwords.hold_all().await;
        let refused = timeout(Duration::from_secs(10), flood(&sign_in, ADMIN, 10..30)).await;
        assert_eq!(refused.unwrap(), 0);
        drop(held);
    }
}

#[tokio::test]
async fn a_new_password_forgets_from_where_its_user_signed_in() {
    for engine in engines() {
        let world = World::limited(engine).await;
        let sign_in = world.sign_in().await;
        // A thief with the old password.
        attempt(&sign_in, ADMIN, DEMO_PASSWORD, HOME).await.unwrap();
        world.app().set_password(ADMIN, GOOD_PASSWORD.into()).await.unwrap();
        flood(&sign_in, ADMIN, 0..30).await;
        let guess = attempt(&sign_in, ADMIN, "wrong", HOME).await;
        assert!(matches!(guess, Err(Error::TooManyAttempts { .. })), "it is a stranger's");
    }
}
