//! How a sign-in begins, goes on and ends.

use shared_middleware::rate_limit::{Limiter, MonotonicClock, RateLimit};

use super::*;

#[tokio::test]
async fn a_login_gives_a_token_that_says_who_and_for_how_long() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let pair = world.login("TestUser@test.com").await;
        let claims = claims(&pair);
        assert_eq!(claims.sub, world.user(ADMIN).await.to_string());
        assert_eq!((claims.role, pair.role), (Role::Admin, Role::Admin));
        assert_eq!(claims.exp - claims.iat.unwrap(), 900);
        assert!(claims.sid.is_some());
        assert_eq!(world.sign_in().await.me(&caller(&pair)).await.unwrap().email.as_str(), ADMIN);
    }
}

#[tokio::test]
async fn unknown_users_wrong_passwords_and_disabled_users_are_refused_alike() {
    for engine in engines() {
        let world = World::demo(engine).await;
        world.disable(CLINICIAN).await.unwrap();
        for (email, password) in
            [("nobody@test.com", "x"), ("no email", "x"), (ADMIN, "x"), (CLINICIAN, DEMO_PASSWORD)]
        {
            let refused = world.login_with(email, password).await.err().unwrap();
            assert!(matches!(refused, Error::SignInRefused), "{email}");
        }
    }
}

#[tokio::test]
async fn a_hash_is_renewed_on_login_when_its_cost_has_risen() {
    for engine in engines() {
        let world = World::new(engine).await;
        world.app().add_user(ADMIN, GOOD_PASSWORD.into(), Role::Admin).await.unwrap();
        let hash = async || {
            let id = world.user(ADMIN).await;
            world.app().store.user(id).await.unwrap().unwrap().password_hash
        };
        let before = hash().await;
        let config = crate::Config { argon2_memory_kib: 19_456, ..world.config.clone() };
        let passwords = Passwords::new(&config).unwrap();
        let costly =
            build_with(config, passwords, &audit_key(), &world.hand.clock().into(), Ids::system())
                .await
                .unwrap();
        let sign_in = SignIn { app: costly.app, ..world.sign_in().await };
        // Several at once: the first to renew must not lock out the others.
        let logins = join_all((0..4).map(|_| async {
            let login = Login::parse(Some(ADMIN), Some(GOOD_PASSWORD.into())).unwrap();
            sign_in.login(login, HOME).await.is_ok()
        }));
        assert_eq!(logins.await, [true; 4]);
        let after = hash().await;
        assert_ne!(before, after);
        assert!(after.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{after}");
    }
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_return_ends_the_sign_in() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let first = world.login(ADMIN).await;
        let second = world.refresh(&first).await.unwrap();
        assert_eq!(claims(&first).sid, claims(&second).sid);
        world.hand.turn_s(10);
        assert!(matches!(world.refresh(&first).await, Err(Error::RefreshRefused)));
        assert!(matches!(world.refresh(&second).await, Err(Error::RefreshRefused)));
        page(&world.feed(), 0, &world.version().await).await;
        assert_eq!(world.revoked().await, [claims(&first).sid.unwrap()]);
    }
}

/// Nothing is left to do for anyone who asked the store: no crash and no client that leaves before
/// its answer keeps the sign-in alive.
#[tokio::test]
async fn the_transaction_that_finds_a_token_spent_ends_the_sign_in() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let first = world.login(ADMIN).await;
        let second = world.refresh(&first).await.unwrap();
        let session = claims(&first).sid.unwrap();
        let (store, now) = (&world.app().store, world.hand.clock().now());
        let again = async |until_s| {
            let new =
                NewToken { hash: vec![0; 32], expires_at: now + world.app().lifetimes.refresh() };
            let hash = first.refresh.hash();
            let (reuse, session_lives) = (SignedDuration::ZERO, SignedDuration::from_hours(24));
            let spending = Spending { hash, new, now, reuse, session_lives, until_s };
            store.refresh(spending, |_, _, _| Ok(Vec::new())).await.unwrap()
        };
        assert_eq!(again(42).await, Refreshed::Spent { session });
        let revoked = store.revocations_after(0, 10).await.unwrap();
        let revoked: Vec<_> = revoked.into_iter().map(|(_, it)| (it.session, it.until_s)).collect();
        assert_eq!(revoked, [(session, 42)]);
        assert!(matches!(world.refresh(&second).await, Err(Error::RefreshRefused)));
        // It is gone with its sign-in, and ends nothing twice.
        assert_eq!(again(43).await, Refreshed::Refused);
        assert_eq!(store.revocations_after(0, 10).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_logout_without_a_sign_in_of_ours_ends_nothing() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let pair = world.login(ADMIN).await;
        let foreign = Caller { session: None, ..caller(&pair) };
        world.sign_in().await.logout(&foreign).await.unwrap();
        assert!(world.app().store.revocations_after(0, 10).await.unwrap().is_empty());
        assert!(world.refresh(&pair).await.is_ok());
    }
}

#[tokio::test]
async fn refreshes_at_once_get_one_successor_and_the_sign_in_goes_on() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let first = world.login(ADMIN).await;
        let other = world.login(ADMIN).await;
        let sign_in = Arc::new(world.sign_in().await);
        let start = Arc::new(Barrier::new(8));
        let refreshes = (0..8).map(|_| {
            let (sign_in, start) = (Arc::clone(&sign_in), Arc::clone(&start));
            let token = SecretString::from(first.refresh.expose());
            tokio::spawn(async move {
                start.wait().await;
                sign_in.refresh(token).await.ok()
            })
        });
        let outcomes = join_all(refreshes.collect::<Vec<_>>()).await;
        let pairs: Vec<_> = outcomes.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(pairs.len(), 8);
        for pair in &pairs {
            assert_eq!(pair.refresh.expose(), pairs[0].refresh.expose());
            assert_eq!((&pair.access, pair.expires_in_s), (&pairs[0].access, 900));
        }
        let next = world.refresh(&pairs[0]).await.unwrap();
        assert_ne!(next.refresh.expose(), pairs[0].refresh.expose());
        assert!(world.revoked().await.is_empty());
        assert!(world.refresh(&other).await.is_ok(), "another sign-in is not touched");
    }
}

#[tokio::test]
async fn a_spent_token_gives_the_same_pair_for_ten_seconds_unless_its_user_is_out() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let first = world.login(CLINICIAN).await;
        let second = world.refresh(&first).await.unwrap();
        world.hand.turn_s(9);
        let again = world.refresh(&first).await.unwrap();
        assert_eq!(again.refresh.expose(), second.refresh.expose());
        assert_eq!((&again.access, again.expires_in_s), (&second.access, 891));
        // What is kept for that is erased, and no key to it was ever there.
        world.app().store.purge(world.hand.clock().now()).await.unwrap();
        assert!(world.refresh(&first).await.is_ok());
        world.hand.turn_s(300);
        world.app().store.purge(world.hand.clock().now()).await.unwrap();
        let kept = world.app().store.db().read(|tx| {
            Box::pin(async move {
                let sql = "select count(*) from refresh_tokens where successor is not null";
                tx.query_one(sql, &[]).await?.get::<i64>(0)
            })
        });
        assert_eq!(kept.await.unwrap(), 0);
        let third = world.refresh(&second).await.unwrap();
        world.disable(CLINICIAN).await.unwrap();
        assert!(world.refresh(&second).await.is_err() && world.refresh(&third).await.is_err());
    }
}

#[tokio::test]
async fn a_sign_in_that_is_not_refreshed_ends() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let kept = world.login(ADMIN).await;
        let left = world.login(ADMIN).await;
        world.hand.turn_s(20 * 86_400);
        let kept = world.refresh(&kept).await.unwrap();
        world.hand.turn_s(10 * 86_400);
        assert!(world.refresh(&left).await.is_err());
        assert!(world.refresh(&kept).await.is_ok());
    }
}

#[tokio::test]
async fn nobody_signs_in_while_being_disabled() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let sign_in = Arc::new(world.sign_in().await);
        let start = Arc::new(Barrier::new(9));
        let logins = (0..8).map(|_| {
            let (sign_in, start) = (Arc::clone(&sign_in), Arc::clone(&start));
            tokio::spawn(async move {
                let login = Login::parse(Some(CLINICIAN), Some(DEMO_PASSWORD.into())).unwrap();
                start.wait().await;
                sign_in.login(login, HOME).await.ok()
            })
        });
        let logins: Vec<_> = logins.collect();
        start.wait().await;
        world.disable(CLINICIAN).await.unwrap();
        for login in logins {
            if let Some(pair) = login.await.unwrap() {
                assert!(world.refresh(&pair).await.is_err());
            }
        }
    }
}

#[tokio::test]
async fn secrets_are_kept_as_hashes_only() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let pair = world.login(ADMIN).await;
        let token = pair.refresh.expose().as_bytes().to_vec();
        let found = world
            .app()
            .store
            .db()
            .read(move |tx| {
                Box::pin(async move {
                    let sql = "select count(*) from refresh_tokens where token_hash = $1";
                    tx.query_one(sql, kit::params![token]).await?.get::<i64>(0)
                })
            })
            .await
            .map_err(|error: kit::db::DbError| error);
        assert_eq!(found.unwrap(), 0);
        let stored: Store = world.app().store.clone();
        let stored = stored.user(world.user(ADMIN).await).await.unwrap().unwrap();
        assert!(stored.password_hash.starts_with("$argon2id$v=19$"));
    }
}

#[tokio::test]
async fn a_sign_in_ends_however_often_it_is_refreshed() {
    const DAY_S: i64 = 86_400;
    for engine in engines() {
        let world = World::demo(engine).await;
        let mut pair = world.login(ADMIN).await;
        for day in [20, 40, 60, 80] {
            world.hand.turn_s(20 * DAY_S);
            pair = world.refresh(&pair).await.unwrap_or_else(|_| panic!("on day {day}"));
        }
        world.hand.turn_s(10 * DAY_S);
        assert!(matches!(world.refresh(&pair).await, Err(Error::RefreshRefused)));
    }
}

#[tokio::test]
async fn a_sign_in_is_refreshed_so_often_and_no_more() {
    for engine in engines() {
        let world = World::demo(engine).await;
        // A bound that a slow machine does not give back meanwhile.
        let limit = Limiter::new(RateLimit::every(3, 3600), 10, MonotonicClock);
        let sign_in = SignIn { refreshes: Arc::new(limit), ..world.sign_in().await };
        let other = world.login(CLINICIAN).await;
        let mut pair = world.login(ADMIN).await;
        let refresh = async |pair: &TokenPair| sign_in.refresh(pair.refresh.expose().into()).await;
        for _ in 0..3 {
            pair = refresh(&pair).await.unwrap();
        }
        // The token is not spent by it.
        for _ in 0..2 {
            let Err(Error::TooManyRefreshes { retry_after_s }) = refresh(&pair).await else {
                panic!("it was refreshed")
            };
            assert!(retry_after_s > 0);
        }
        refresh(&other).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_ended_is_remembered_for_as_long_as_any_token_may_live() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let pair = world.login(ADMIN).await;
        let now_s = world.hand.clock().unix_s();
        // Whatever the lifetime is now: it may have been longer when the token was signed.
        world.app().disable_user(CLINICIAN).await.unwrap();
        let session = world.login_with(ADMIN, DEMO_PASSWORD).await.unwrap();
        drop((pair, session));
        world.app().set_password(ADMIN, GOOD_PASSWORD.into()).await.unwrap();
        let revoked = world.app().store.revocations_after(0, 10).await.unwrap();
        assert_eq!(revoked.len(), 2);
        for (_, revoked) in revoked {
            assert_eq!(revoked.until_s, now_s + crate::TOKEN_TTL_S_MAX + crate::LEEWAY_S);
        }
    }
}
