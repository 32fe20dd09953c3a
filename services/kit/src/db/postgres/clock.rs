//! The server's clock, which all replicas share.
//!
//! Replicas compare times that others have written: what is due, expired or claimed. One machine's
//! clock that is wrong would decide for all. So they read the server's, and not for each question:
//! asked every few seconds, its answer goes on by this process's monotonic clock, which nobody
//! sets. Half of the round trip is taken for the way back, as in RFC 5905 (NTP).

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use shared_middleware::clock::Clock;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::{connect::Connections, error::failed};
use crate::db::{DbError, Metrics};

const ASKED_EVERY: Duration = Duration::from_secs(5);
/// An answer that took longer says too little, when another is known.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(1);
/// A machine whose clock differs by more is not ready: its tokens, traces and logs are wrong.
const SKEW_MAX: SignedDuration = SignedDuration::from_secs(30);
/// A difference that is worth a word.
const SKEW_TOLD: SignedDuration = SignedDuration::from_secs(2);

/// The server's clock.
pub(super) struct ServerClock {
    owner: &'static str,
    metrics: Arc<Metrics>,
    /// What it said, and when.
    told: Mutex<(Timestamp, Instant)>,
    /// The clock of this machine, to compare it with.
    machine: OnceLock<Clock>,
}

// === impl ServerClock ===

impl ServerClock {
    pub(super) async fn read(
        owner: &'static str,
        metrics: Arc<Metrics>,
        client: &Client,
    ) -> Result<Self, DbError> {
        let (told, _) = ask(client).await?;
        Ok(Self { owner, metrics, told: Mutex::new(told), machine: OnceLock::new() })
    }

    pub(super) fn now(&self) -> Timestamp {
        let (told, at) = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told + SignedDuration::try_from(at.elapsed()).unwrap_or_default()
    }

    /// This clock, instead of the machine's.
    pub(super) fn instead_of(self: &Arc<Self>, machine: &Clock) -> Clock {
        let _ = self.machine.set(machine.clone());
        self.compare();
        let server = Arc::clone(self);
        machine.told_by(move || server.now())
    }

    /// What is wrong with the machine's clock, if it is too far from this one.
    pub(super) fn complaint(&self) -> Option<String> {
        let skew = self.skew()?;
        let way = if skew.is_positive() { "ahead of" } else { "behind" };
        let seconds = skew.abs().as_secs();
        (skew.abs() > SKEW_MAX)
            .then(|| format!("this machine's clock is {seconds} s {way} the store's"))
    }

    fn skew(&self) -> Option<SignedDuration> {
        Some(self.machine.get()?.now().duration_since(self.now()))
    }

    /// Returns how far the machine's clock is from this one.
    fn compare(&self) -> Option<SignedDuration> {
        let skew = self.skew()?;
        self.metrics.clock_skew(skew);
        Some(skew)
    }
}

/// Asks the server again and again, as long as somebody has its clock.
pub(super) async fn follow(clock: Weak<ServerClock>, pool: bb8::Pool<Connections>) {
    let mut told = false;
    loop {
        sleep(ASKED_EVERY).await;
        let Some(clock) = clock.upgrade() else { return };
        let Ok(connection) = pool.get().await else { continue };
        let Ok((answer, round_trip)) = ask(&connection.client).await else { continue };
        drop(connection);
        if round_trip <= ROUND_TRIP_MAX {
            *clock.told.lock().unwrap_or_else(PoisonError::into_inner) = answer;
        }
        let Some(skew) = clock.compare() else { continue };
        let differs = skew.abs() > SKEW_TOLD;
        if differs && !told {
            let (owner, ahead_s) = (clock.owner, skew.as_secs_f64());
            tracing::warn!(owner, ahead_s, "clock skew between this machine and PostgreSQL");
        }
        told = differs;
    }
}

/// What the server's clock says, and at which moment; how long it took to say so.
async fn ask(client: &Client) -> Result<((Timestamp, Instant), Duration), DbError> {
    let asked = Instant::now();
    let row = client.query_one("select clock_timestamp()", &[]).await.map_err(failed)?;
    let round_trip = asked.elapsed();
    let told: SystemTime = row.try_get(0).map_err(failed)?;
    let told =
        Timestamp::try_from(told).map_err(|_| DbError::Corrupt("no time of our calendar"))?;
    Ok(((told, asked + round_trip / 2), round_trip))
}
