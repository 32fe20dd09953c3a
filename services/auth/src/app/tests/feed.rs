//! Who hears of what ended, and when.

use super::*;

#[tokio::test]
async fn what_has_expired_is_purged_and_the_feeds_position_is_kept() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let kept = world.login(ADMIN).await;
        for _ in 0..2 {
            let ended = world.login(ADMIN).await;
            world.sign_in().await.logout(&caller(&ended)).await.unwrap();
        }
        let store = &world.app().store;
        world.hand.turn_s(86_400);
        store.purge(world.hand.clock().now()).await.unwrap();
        assert_eq!(store.revocations_after(0, 10).await.unwrap().len(), 1);
        let kept = world.refresh(&kept).await.unwrap();
        world.hand.turn_s(31 * 86_400);
        assert!(!store.purge(world.hand.clock().now()).await.unwrap());
        assert!(world.refresh(&kept).await.is_err());
    }
}

#[tokio::test]
async fn a_logout_wakes_whoever_polls() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let pair = world.login(ADMIN).await;
        let (feed, version) = (world.feed(), world.version().await);
        let poll = tokio::spawn(async move { page(&feed, 0, &version).await });
        world.sign_in().await.logout(&caller(&pair)).await.unwrap();
        let page = poll.await.unwrap();
        assert_eq!(page.revoked[0].session, claims(&pair).sid.unwrap());
        assert!(page.revoked[0].until_s > claims(&pair).exp);
        assert!(world.refresh(&pair).await.is_err());
    }
}

#[tokio::test]
async fn what_another_process_ends_wakes_whoever_polls() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let pair = world.login(CLINICIAN).await;
        let (feed, version) = (world.feed(), world.version().await);
        let poll = tokio::spawn(async move { page(&feed, 0, &version).await });
        world.another_process().await.disable_user(CLINICIAN).await.unwrap();
        assert_eq!(poll.await.unwrap().revoked[0].session, claims(&pair).sid.unwrap());
        assert!(world.refresh(&pair).await.is_err());
    }
}

#[tokio::test]
async fn a_new_key_wakes_whoever_polls() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let (feed, version) = (world.feed(), world.version().await);
        let known = version.clone();
        let poll = tokio::spawn(async move { page(&feed, 0, &known).await });
        keys::rotate_at(&world.config.keys_dir, world.hand.clock().now()).unwrap();
        assert_ne!(poll.await.unwrap().keys_version, version);
    }
}

#[tokio::test]
async fn a_poll_without_news_is_answered_in_the_end() {
    for engine in engines() {
        let world = World::new(engine).await;
        let (feed, version) = (world.feed(), world.version().await);
        tokio::time::pause();
        let begun = tokio::time::Instant::now();
        let page = feed.poll(0, &version).await.map_err(|_| "refused").unwrap();
        assert_eq!((page.revoked.len(), page.next), (0, 0));
        assert_eq!(begun.elapsed().as_secs(), shared_middleware::token::POLL_HELD_S_MAX);
        // The next store's server does not wait for a clock that stands still.
        tokio::time::resume();
    }
}

#[tokio::test]
async fn nobody_is_held_when_the_service_ends() {
    for engine in engines() {
        let world = World::demo(engine).await;
        let (feed, version) = (world.feed(), world.version().await);
        let poll = tokio::spawn(async move { feed.poll(0, &version).await.map(drop) });
        world.stop();
        assert_eq!(poll.await.unwrap().unwrap_err().code(), ErrorCode::Unavailable);
    }
}

#[tokio::test]
async fn whoever_was_told_by_a_faster_replica_is_not_told_of_another_store() {
    for engine in engines() {
        let world = World::new(engine).await;
        world.app().ensure_demo_users().await.unwrap();
        let pair = world.login(CLINICIAN).await;
        // No task runs here: only another process knows of the revocation, and its position.
        world.another_process().await.disable_user(CLINICIAN).await.unwrap();
        let page = page(&world.feed(), 1, "").await;
        assert_eq!((page.revoked.len(), page.next), (0, 1));
        assert_eq!(world.revoked().await, [claims(&pair).sid.unwrap()]);
    }
}
