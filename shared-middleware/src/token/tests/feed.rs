//! How key sets are fetched: when, how often, and what a failure changes.

use std::{
    sync::{Mutex, atomic::AtomicUsize},
    time::Duration,
};

use tokio::{
    task::yield_now,
    time::{Instant, advance, sleep},
};

use super::{
    super::feed::{FeedError, fetch_always, first_of},
    *,
};

/// Who publishes, and how often that was asked for.
struct Publisher {
    world: World,
    answer: Mutex<Vec<u8>>,
    asked: AtomicUsize,
}

// === impl Publisher ===

impl Publisher {
    fn of(signers: &[&Issuer]) -> Self {
        let world = World::trusting([external(THEIRS, "role")]);
        Self { world, answer: Mutex::new(set_of(signers)), asked: AtomicUsize::new(0) }
    }

    async fn followed_while(&self, story: impl Future<Output = ()>) {
        let fetch = || async {
            self.asked.fetch_add(1, Ordering::SeqCst);
            Ok::<_, FeedError>(self.answer.lock().unwrap().clone())
        };
        tokio::select! {
            () = fetch_always(&self.world.verifier.externals()[0], THEIRS, fetch) => {}
            () = story => {}
        }
    }

    fn publish(&self, answer: &[u8]) {
        *self.answer.lock().unwrap() = answer.to_vec();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn verdict(&self, signer: &Issuer) -> Result<Caller, TokenError> {
        self.world.verdict(&signer.token(&their_claims(THEIRS)))
    }
}

/// Lets so much time go by.
async fn pass(seconds: u64) {
    advance(Duration::from_secs(seconds)).await;
    for _ in 0..10 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_set_is_fetched_every_minute_and_for_an_unknown_key_at_most_every_five_seconds() {
    let (first, second, unknown) = (Issuer::new("k1"), Issuer::rs256("k2"), Issuer::new("k3"));
    let publisher = Publisher::of(&[&first]);
    let story = async {
        pass(0).await;
        publisher.verdict(&first).unwrap();
        pass(59).await;
        assert_eq!(publisher.asked(), 1);
        pass(1).await;
        assert_eq!(publisher.asked(), 2);

        publisher.publish(&set_of(&[&first, &second]));
        assert_eq!(publisher.verdict(&second), Err(TokenError::Forged));
        pass(4).await;
        assert_eq!(publisher.asked(), 2);
        pass(1).await;
        assert_eq!(publisher.asked(), 3);
        publisher.verdict(&second).unwrap();

        // However many tokens name it.
        for _ in 0..20 {
            for _ in 0..100 {
                assert_eq!(publisher.verdict(&unknown), Err(TokenError::Forged));
            }
            pass(1).await;
        }
        assert!((6..=8).contains(&publisher.asked()), "{}", publisher.asked());
    };
    publisher.followed_while(story).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_key_set_changes_nothing() {
    let (first, second) = (Issuer::new("k1"), Issuer::new("k2"));
    let publisher = Publisher::of(&[&first]);
    let story = async {
        pass(0).await;
        for odd in [&b""[..], b"<html>", b"{}", b"[]", br#"{"keys": []}"#, br#"{"keys": [{}]}"#] {
            publisher.publish(odd);
            let asked = publisher.asked();
            pass(60).await;
            pass(5).await;
            assert!(publisher.asked() > asked);
            publisher.verdict(&first).unwrap();
        }
        publisher.publish(&set_of(&[&second]));
        pass(60).await;
        pass(5).await;
        publisher.verdict(&second).unwrap();
        assert_eq!(publisher.verdict(&first), Err(TokenError::Forged));
    };
    publisher.followed_while(story).await;
}

#[tokio::test(start_paused = true)]
async fn before_a_key_is_known_a_token_has_it_asked_for() {
    let signer = Issuer::eddsa("k1");
    let publisher = Publisher::of(&[]);
    let story = async {
        pass(0).await;
        assert_eq!(publisher.verdict(&signer), Err(TokenError::NoKeys));
        publisher.publish(&set_of(&[&signer]));
        pass(5).await;
        publisher.verdict(&signer).unwrap();
    };
    publisher.followed_while(story).await;
}

/// What became of three replicas: when each answers, if it does, and whether it is with a failure.
async fn first(replicas: [(Option<u64>, bool); 3]) -> (Option<usize>, Duration) {
    let begun = Instant::now();
    let poll = |replica: usize| async move {
        let (after_ms, fails) = replicas[replica];
        match after_ms {
            Some(after_ms) => sleep(Duration::from_millis(after_ms)).await,
            None => std::future::pending().await,
        }
        if fails { Err(FeedError::TooLate) } else { Ok(replica) }
    };
    (first_of(0..3, poll).await.ok(), begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_hangs_keeps_a_sign_out_from_nobody_for_a_second() {
    let (hangs, answers, fails) = ((None, false), (Some(10), false), (Some(10), true));
    let quiet = (Some(5000), false);
    for (replicas, wanted, at_ms) in [
        ([answers, hangs, hangs], Some(0), 10),
        ([hangs, answers, hangs], Some(1), 510),
        ([hangs, (Some(400), false), answers], Some(1), 900),
        // One that says no is not waited for.
        ([fails, answers, hangs], Some(1), 20),
        ([fails, fails, answers], Some(2), 30),
        ([fails, fails, fails], None, 30),
        // With nothing to tell the first one answers first, as if it were alone.
        ([quiet, quiet, quiet], Some(0), 5000),
    ] {
        let (answered, took) = first(replicas).await;
        assert_eq!((answered, took.as_millis()), (wanted, at_ms));
    }
}
