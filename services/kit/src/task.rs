//! What a service does beside answering: relays, consumers, reconcilers.

use std::future::Future;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

/// Work that lasts as long as the service. It ends soon after its token is cancelled; should it end
/// before, the process stops, since a service without it only looks alive.
pub struct Task {
    /// What the log calls it.
    pub name: &'static str,
    run: Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>,
}

// === impl Task ===

impl Task {
    /// A task that runs this.
    pub fn new<F, R>(name: &'static str, run: F) -> Self
    where
        F: FnOnce(CancellationToken) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self { name, run: Box::new(move |stop| Box::pin(run(stop))) }
    }

    /// Runs until asked to stop.
    pub async fn run(self, stop: CancellationToken) {
        (self.run)(stop).await;
    }
}
