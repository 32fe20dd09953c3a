//! Asks every endpoint of a part, again and again, whether requests should go there.
//!
//! The verdict itself is the [`Endpoint`]'s. Each check is a connection of its own, so that it also
//! finds out whether there still is somebody who takes connections.

use std::{sync::Arc, time::Duration};

use http::{StatusCode, Uri};
use shared_middleware::{
    client::{self, ClientError},
    identity::Part,
    ready::READY_PATH,
    tls::MeshTls,
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use super::{
    Pool,
    endpoint::{Check, Endpoint},
};

/// Time-out of a check: together with the pause between two checks, short enough to notice a part
/// that drains while it still serves.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Checks a part for ever; the caller drops the future to stop.
///
/// The first check comes after one pause: what starts together with the gateway, in the same
/// process even, has that long to become ready.
pub(super) async fn watch(pool: Arc<Pool>, tls: Arc<MeshTls>, every: Duration) {
    let mut rounds = interval_at(Instant::now() + every, every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let mut checks = JoinSet::new();
        // One that is slow must not delay what is found out of the others.
        for endpoint in pool.endpoints(ANSWER_WITHIN).await {
            checks.spawn(check(pool.part, endpoint, Arc::clone(&tls)));
        }
        while checks.join_next().await.is_some() {}
        pool.update_gauges();
    }
}

async fn check(part: Part, endpoint: Arc<Endpoint>, tls: Arc<MeshTls>) {
    let found = ask(part, &endpoint, &tls).await;
    if !endpoint.checked(found) {
        return;
    }
    let address = endpoint.socket;
    match found {
        Check::Ready => tracing::info!(upstream = %part, %address, "endpoint healthy again"),
        Check::NotReady => {
            tracing::warn!(upstream = %part, %address, "endpoint ejected: not ready")
        }
        Check::Failed => tracing::warn!(upstream = %part, %address, "endpoint ejected: no answer"),
    }
}

async fn ask(part: Part, endpoint: &Endpoint, tls: &Arc<MeshTls>) -> Check {
    let Ok(url) = url(endpoint) else { return Check::Failed };
    match timeout(ANSWER_WITHIN, client::get(&url, READY_PATH, part, tls)).await {
        Ok(Ok(_)) => Check::Ready,
        Ok(Err(ClientError::Status(StatusCode::SERVICE_UNAVAILABLE))) => Check::NotReady,
        Ok(Err(_)) | Err(_) => Check::Failed,
    }
}

fn url(endpoint: &Endpoint) -> Result<Uri, http::Error> {
    let scheme = if endpoint.tls { "https" } else { "http" };
    let authority = endpoint.socket.to_string();
    Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build()
}
