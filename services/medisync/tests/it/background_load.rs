//! Requests that go on while something else is done.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use reqwest::StatusCode;
use tokio::task::JoinHandle;

use crate::test_mesh::{RECEPTIONIST, TestMesh, a_patient, until};

/// Requests that go on, on another thread, until told to end.
pub(crate) struct Meanwhile {
    ends: Arc<AtomicBool>,
    rounds: Arc<AtomicU32>,
    going_on: JoinHandle<()>,
}

// === impl Meanwhile ===

impl Meanwhile {
    /// Makes round after round; one that panics fails the test at the end.
    pub(crate) fn repeat<F>(mut round: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let (ends, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (its_end, its_rounds) = (Arc::clone(&ends), Arc::clone(&rounds));
        let going_on = tokio::spawn(async move {
            while !its_end.load(Ordering::SeqCst) {
                round().await;
                its_rounds.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { ends, rounds, going_on }
    }

    /// A clerk's day: each round registers somebody and asks every other part.
    pub(crate) async fn working(world: &TestMesh) -> Self {
        let clerk = world.sign_in(RECEPTIONIST).await;
        Self::repeat(move || {
            let clerk = clerk.clone();
            async move {
                let answer = clerk.post("/api/patients", &a_patient()).await;
                let patient = answer.expect(StatusCode::CREATED).json();
                assert_eq!(patient["billing"]["status"], "ACTIVE");
                clerk.get("/api/billing/accounts").await.expect(StatusCode::OK);
                clerk.get("/api/notifications").await.expect(StatusCode::OK);
                clerk.get("/auth/me").await.expect(StatusCode::OK);
            }
        })
    }

    /// Waits for this many more rounds.
    pub(crate) async fn goes_on(&self, rounds: u32) {
        let wanted = self.rounds.load(Ordering::SeqCst) + rounds;
        until("requests go on", || async {
            assert!(!self.going_on.is_finished(), "a request failed");
            self.rounds.load(Ordering::SeqCst) >= wanted
        })
        .await;
    }

    /// Ends it: every round has gone well.
    pub(crate) async fn ends_well(self) {
        self.ends.store(true, Ordering::SeqCst);
        self.going_on.await.unwrap();
    }
}
