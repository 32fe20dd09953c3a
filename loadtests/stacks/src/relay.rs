//! How fast the relay publishes what waits in the outbox.
//!
//! The mesh is stopped; events are written into patient's outbox as patient would write them, and
//! patient is started with auth, without which it does not begin: nobody consumes meanwhile. The
//! log has all of them on disk before the outbox forgets them.

use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::time::sleep;

use measure::{Used, tell};

use crate::{
    figures::Relay,
    mesh::{Kind, Mesh},
    rounds::each,
    stores::{Store, events_in_log},
};

const LOOKED_AT_EVERY: Duration = Duration::from_millis(10);
/// Less than a hundred events a second would be no relay.
const DONE_WITHIN: Duration = Duration::from_secs(300);
/// Its rows are in the order of their numbers. Zero when there are none.
const OLDEST: &str = "select id from outbox order by id limit 1";
const NONE_LEFT: &str = "select coalesce((select id from outbox order by id limit 1), 0)";

pub(crate) async fn measure(mesh: &mut Mesh, events: u64) -> anyhow::Result<Relay> {
    mesh.stop()?;
    let mut patient = Store::open(mesh, "patient").await?;
    let logged = events_in_log(mesh).await?;
    ensure!(patient.number(NONE_LEFT).await? == 0, "the outbox was left with events in it");
    patient.fill_outbox(events).await?;
    let first = patient.number(OLDEST).await?;
    tell(&format!("{}: {events} events wait in the outbox", mesh.kind));
    let patient_alone: &[&str] = match mesh.kind {
        // There nobody knows the port of auth in another process.
        Kind::Embedded => &["run", "auth", "patient"],
        Kind::Servers => {
            mesh.run(&["run", "auth"])?;
            &["run", "patient"]
        }
    };

    let (begun, used) = (Instant::now(), Used::now(&mesh.members()?)?);
    mesh.run(patient_alone)?;
    // The first look that finds some gone, and how many were left then.
    let mut since = None;
    let emptied = loop {
        let oldest = patient.number(NONE_LEFT).await?;
        if oldest == 0 {
            break Instant::now();
        }
        if oldest > first && since.is_none() {
            since = Some((Instant::now(), events - u64::try_from(oldest - first)?));
        }
        ensure!(begun.elapsed() < DONE_WITHIN, "the outbox is not empty yet");
        sleep(LOOKED_AT_EVERY).await;
    };
    let used = Used::now(&mesh.members()?)?.since(&used);
    let took = emptied - begun;
    let in_log = events_in_log(mesh).await? - logged;
    ensure!(in_log == i64::try_from(events)?, "the log has {in_log} of {events} events");
    let (at, left) = since.unwrap_or((begun, events));
    let per_s = left as f64 / (emptied - at).as_secs_f64();
    tell(&format!("{}: published in {:.1} s, {per_s:.0}/s", mesh.kind, took.as_secs_f64()));
    let others = used.machine.saturating_sub(used.total() + used.ours) as f64;
    Ok(Relay {
        events,
        took_s: took.as_secs_f64(),
        per_s,
        cpu_us: each(&used.members, events as f64),
        others_busy: others / 1e6 / took.as_secs_f64(),
    })
}
