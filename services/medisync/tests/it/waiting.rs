//! Waits for what becomes true by itself: as long as that takes, within a bound.

use std::time::{Duration, Instant};

/// What never happens by then, does not happen.
pub(crate) const WITHIN: Duration = Duration::from_secs(60);
const LOOKS_EVERY: Duration = Duration::from_millis(20);

/// Waits until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let mut looks = tokio::time::interval(LOOKS_EVERY);
    let waited = async {
        while !is_so().await {
            looks.tick().await;
        }
    };
    assert!(tokio::time::timeout(WITHIN, waited).await.is_ok(), "it never came to be: {what}");
}

/// Waits until it is so, and has it so for anyone who asks later than this. A busy machine may take
/// its time to answer: what counts is when it was asked.
pub(crate) async fn by<F: Future<Output = bool>>(
    latest: Instant,
    what: &str,
    mut is_so: impl FnMut() -> F,
) {
    until(what, || {
        let (asked, answer) = (Instant::now(), is_so());
        async move {
            let so = answer.await;
            let late = asked.saturating_duration_since(latest);
            assert!(so || late.is_zero(), "not so {late:?} after the latest: {what}");
            so
        }
    })
    .await;
}
