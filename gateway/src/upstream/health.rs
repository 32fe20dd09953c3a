//! Asks every place of a part, again and again, whether requests should go there.
//!
//! The verdict itself is the [`Place`]'s. Each check is a connection of its own, so that it also
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
    place::{Check, Place},
};

/// A place that has not answered by then has not answered: with the pause between two checks, soon
/// enough to notice a part that leaves while it still serves.
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
        for place in pool.places(ANSWER_WITHIN).await {
            checks.spawn(check(pool.part, place, Arc::clone(&tls)));
        }
        while checks.join_next().await.is_some() {}
        pool.show();
    }
}

async fn check(part: Part, place: Arc<Place>, tls: Arc<MeshTls>) {
    let found = ask(part, &place, &tls).await;
    if !place.checked(found) {
        return;
    }
    let address = place.socket;
    match found {
        Check::Ready => tracing::info!(upstream = %part, %address, "readmitted"),
        Check::NotReady => tracing::warn!(upstream = %part, %address, "ejected: it is not ready"),
        Check::Failed => tracing::warn!(upstream = %part, %address, "ejected: it does not answer"),
    }
}

async fn ask(part: Part, place: &Place, tls: &Arc<MeshTls>) -> Check {
    let Ok(url) = url(place) else { return Check::Failed };
    match timeout(ANSWER_WITHIN, client::get(&url, READY_PATH, part, tls)).await {
        Ok(Ok(_)) => Check::Ready,
        Ok(Err(ClientError::Status(StatusCode::SERVICE_UNAVAILABLE))) => Check::NotReady,
        Ok(Err(_)) | Err(_) => Check::Failed,
    }
}

fn url(place: &Place) -> Result<Uri, http::Error> {
    let scheme = if place.tls { "https" } else { "http" };
    let authority = place.socket.to_string();
    Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build()
}
