//! Users: added, changed, deleted, and never without an ADMIN.

use super::*;

#[tokio::test]
async fn a_change_of_what_tokens_say_ends_the_users_sign_ins() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let role = |role| Change { role: Some(role), ..Change::default() };
        let id = world.user(CLINICIAN).await;
        let mut revoked = 0;
        for change in [
            role(Role::Auditor),
            Change::parse(None, Some(GOOD_PASSWORD.into()), None).unwrap(),
            Change { disabled: Some(true), ..Change::default() },
        ] {
            let password = if revoked < 2 { DEMO_PASSWORD } else { GOOD_PASSWORD };
            let pair = world.login_with(CLINICIAN, password).await.unwrap();
            world.app().change(id, change).await.unwrap();
            assert!(world.refresh(&pair).await.is_err());
            revoked += 1;
            while world.revoked().await.len() < revoked {
                tokio::task::yield_now().await;
            }
        }
        // What changes nothing ends nothing.
        let admin = world.login(ADMIN).await;
        world.app().change(world.user(ADMIN).await, role(Role::Admin)).await.unwrap();
        assert!(world.refresh(&admin).await.is_ok());
    }
}

#[tokio::test]
async fn a_deleted_user_is_gone_everywhere() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let pair = world.login(CLINICIAN).await;
        world.app().delete(world.user(CLINICIAN).await).await.unwrap();
        assert!(world.refresh(&pair).await.is_err());
        let me = world.sign_in().await.me(&caller(&pair)).await;
        assert!(matches!(me, Err(Error::CallerGone)));
        assert!(matches!(world.disable(CLINICIAN).await, Err(Error::UserNotFound)));
    }
}

#[tokio::test]
async fn the_last_enabled_admin_stays_whoever_tries_at_once() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let app = world.app();
        let mut admins = vec![world.user(ADMIN).await];
        for n in 0..7 {
            let email = format!("a{n}@test.com");
            let added = app.add_user(&email, GOOD_PASSWORD.into(), Role::Admin);
            admins.push(added.await.unwrap().id);
        }
        let start = Arc::new(Barrier::new(admins.len()));
        let leaving = admins.iter().enumerate().map(|(n, id)| {
            let (app, start, id) = (Arc::clone(app), Arc::clone(&start), *id);
            tokio::spawn(async move {
                start.wait().await;
                match n % 3 {
                    0 => app.delete(id).await,
                    1 => {
                        let change = Change { role: Some(Role::Billing), ..Change::default() };
                        app.change(id, change).await.map(drop)
                    }
                    _ => {
                        let change = Change { disabled: Some(true), ..Change::default() };
                        app.change(id, change).await.map(drop)
                    }
                }
            })
        });
        let outcomes = join_all(leaving.collect::<Vec<_>>()).await;
        let refused: Vec<_> = outcomes.into_iter().filter_map(|left| left.unwrap().err()).collect();
        assert_eq!(refused.len(), 1);
        assert!(matches!(refused[0], Error::LastAdmin));
        let users = app.list_users().await.unwrap();
        assert_eq!(users.iter().filter(|user| user.is_enabled_admin()).count(), 1);
    }
}

#[tokio::test]
async fn an_email_belongs_to_one_user_without_regard_to_case() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let taken = world.app().add_user("TESTUSER@test.com", GOOD_PASSWORD.into(), Role::Billing);
        assert!(matches!(taken.await, Err(Error::EmailTaken)));
    }
}

#[tokio::test]
async fn the_command_line_adds_users_and_sets_passwords_under_the_same_rules() {
    for engine in engines() {
        let world = World::new(engine).await;
        let cli = world.another_process().await;
        let short = cli.add_user("ann", "short".into(), Role::Admin).await.unwrap_err();
        assert_eq!(short.fields().len(), 2);
        cli.add_user("ann@test.com", GOOD_PASSWORD.into(), Role::Admin).await.unwrap();
        assert!(cli.set_password("ann@test.com", "short".into()).await.is_err());
        cli.set_password("Ann@test.com", "umbrella 19 tram".into()).await.unwrap();
        assert!(world.login_with("ann@test.com", GOOD_PASSWORD).await.is_err());
        assert!(world.login_with("ann@test.com", "umbrella 19 tram").await.is_ok());
        assert!(matches!(cli.disable_user("ann@test.com").await, Err(Error::LastAdmin)));
        assert_eq!(cli.list_users().await.unwrap().len(), 1);
        assert!(!cli.has_demo_users().await.unwrap());
    }
}

#[tokio::test]
async fn demo_users_are_made_once_and_left_alone() {
    for engine in engines() {
        let world = World::new(engine).await;
        let app = world.app();
        assert_eq!(app.ensure_demo_users().await.unwrap(), 5);
        world.disable(CLINICIAN).await.unwrap();
        assert_eq!(app.ensure_demo_users().await.unwrap(), 0);
        assert!(app.has_demo_users().await.unwrap());
        let users = app.list_users().await.unwrap();
        assert_eq!(users.iter().map(|user| user.role).collect::<Vec<_>>(), Role::ALL);
        assert!(users[1].disabled);
        // Their password is what the policy would refuse.
        assert!(app.set_password(ADMIN, DEMO_PASSWORD.into()).await.is_err());
    }
}

#[tokio::test]
async fn of_replicas_that_start_together_each_demo_user_is_made_by_one() {
    const REPLICAS: usize = 8;
    for engine in engines() {
        for _ in 0..5 {
            let world = World::new(engine).await;
            let starts = (0..REPLICAS).map(|_| world.app().ensure_demo_users());
            let made = join_all(starts).await;
            assert_eq!(made.into_iter().map(Result::unwrap).sum::<u64>(), 5);
        }
    }
}

#[tokio::test]
async fn a_configuration_below_the_floor_is_refused_with_every_fault() {
    for engine in engines() {
        let world = World::new(engine).await;
        let weak = crate::Config {
            argon2_memory_kib: 19_455,
            argon2_passes: 1,
            hashes_at_once_max: 0,
            token_ttl_s: 0,
            ..world.config.clone()
        };
        assert_eq!(weak.faults().len(), 4);
        let refused = open_app(weak, &audit_key(), &world.hand.clock().into(), Ids::system())
            .await
            .err()
            .unwrap();
        assert!(refused.to_string().contains("argon2_memory_kib must be from 19456"), "{refused}");
        assert!(world.config.faults().is_empty());
    }
}
