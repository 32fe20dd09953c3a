//! From a registration's 201 until analytics has counted it.
//!
//! At a modest rate, as in a hospital that is busy and not overrun. Analytics' store is looked up
//! directly, by the ids of patients that it has not counted yet: a request through the gateway
//! would take as long as what is measured. Many are counted before their 201 has come, because the
//! event leaves while billing is still asked for the account; they count as found at once.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::ensure;
use tokio::{sync::mpsc, time::sleep};
use uuid::Uuid;

use measure::{Spread, tell};

use crate::{
    figures::Effect,
    load::{Load, Pace, Registered, Work},
    mesh::Mesh,
    stores::Store,
};

const PER_SECOND: u32 = 50;
const FOR: Duration = Duration::from_secs(10);
const LOOKED_AT_EVERY: Duration = Duration::from_millis(1);
/// What is not counted by then will not be.
const COUNTED_WITHIN: Duration = Duration::from_secs(30);

pub(crate) async fn measure(mesh: &Mesh, load: &Load) -> anyhow::Result<Effect> {
    let analytics = Store::open(mesh, "analytics").await?;
    let (tell_us, told) = mpsc::unbounded_channel();
    let sending = load.send(Work::Register, Pace::PerSecond(PER_SECOND), FOR, Some(tell_us));
    let watching = watch(&analytics, told);
    let (answers, watched) = tokio::join!(sending, watching);
    let (answers, watched) = (answers?, watched?);
    let registrations = watched.took_us.len();
    ensure!(registrations == answers.took_us.len(), "a registration was not seen");
    let effect = Effect {
        registrations,
        per_s: registrations as f64 / answers.elapsed.as_secs_f64(),
        took_ms: Spread::of(watched.took_us),
        at_once: watched.at_once,
        looked_every_ms: watched.looked_every.as_secs_f64() * 1000.0,
    };
    let Spread { p50, p99, max } = effect.took_ms;
    tell(&format!(
        "{}: {registrations} registrations took effect in analytics: p50 {p50:.1} ms, p99 \
         {p99:.1} ms, at most {max:.1} ms",
        mesh.kind,
    ));
    Ok(effect)
}

struct Watched {
    took_us: Vec<u64>,
    at_once: usize,
    looked_every: Duration,
}

/// Looks for what was registered, until there is no more to come.
async fn watch(
    analytics: &Store,
    mut told: mpsc::UnboundedReceiver<Registered>,
) -> anyhow::Result<Watched> {
    let mut waiting: HashMap<Uuid, (Instant, bool)> = HashMap::new();
    let (mut took_us, mut at_once, mut looked, mut looking) =
        (Vec::new(), 0, 0_u32, Duration::ZERO);
    loop {
        let begun = Instant::now();
        let over = loop {
            match told.try_recv() {
                Ok(Registered { id, at }) => {
                    waiting.insert(id.parse()?, (at, false));
                }
                Err(mpsc::error::TryRecvError::Empty) => break false,
                Err(mpsc::error::TryRecvError::Disconnected) => break true,
            }
        };
        if over && waiting.is_empty() {
            let looked_every = looking / looked.max(1);
            return Ok(Watched { took_us, at_once, looked_every });
        }
        if !waiting.is_empty() {
            let ids: Vec<_> = waiting.keys().copied().collect();
            let found = analytics.counted(&ids).await?;
            let now = Instant::now();
            for (at, seen) in found.iter().filter_map(|id| waiting.remove(id)) {
                at_once += usize::from(!seen);
                took_us.push(u64::try_from((now - at).as_micros())?);
            }
            for (at, seen) in waiting.values_mut() {
                ensure!(at.elapsed() < COUNTED_WITHIN, "a registration was never counted");
                *seen = true;
            }
        }
        sleep(LOOKED_AT_EVERY).await;
        looked += 1;
        looking += begun.elapsed();
    }
}
