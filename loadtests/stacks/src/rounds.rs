//! Rounds of requests through the gateway: how many a second, how long each takes, what they cost.
//!
//! A round of registrations is over when everything that follows on them is done, too: published,
//! counted, and the patients written to. What that costs is the registrations' cost.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use measure::{Memory, Spread, Used, tell};
use tokio::time::sleep;

use crate::{
    figures::{Measured, Round},
    load::{Answers, Load, Pace, Work},
    mesh::{Mesh, Servers},
    stores::Store,
};

const WARM_UP: Duration = Duration::from_secs(3);
/// What follows on a round is waited for so long at most.
const QUIET_WITHIN: Duration = Duration::from_secs(30);
const LOOKED_AT_EVERY: Duration = Duration::from_millis(50);
/// Threads that used less than this for a request are not told.
const OF_NOTE_US: f64 = 5.0;

/// The kinds of requests.
const KINDS: [&str; 3] = ["reads", "pages", "registrations"];

/// Looks whether anything is still to be done.
struct Watcher {
    patient: Store,
    analytics: Store,
    notification: Store,
}

/// Signs in and lets everything run once, so that caches are filled and code is compiled.
pub(crate) async fn warm_up(mesh: &Mesh, connections: usize) -> anyhow::Result<Load> {
    let load = Load::sign_in(&mesh.gateway, connections).await?;
    let watcher = Watcher::new(mesh).await?;
    watcher.wait().await?;
    let ids = some_patients(&load).await?;
    for work in [Work::Register, Work::Get(ids), Work::List] {
        load.send(work, Pace::Full, WARM_UP, None).await?;
    }
    watcher.wait().await?;
    Ok(load)
}

/// This many rounds of each kind, in turn.
pub(crate) async fn measure(
    mesh: &Mesh,
    load: &Load,
    rounds: u32,
    for_time: Duration,
) -> anyhow::Result<Measured> {
    let watcher = Watcher::new(mesh).await?;
    let ids = some_patients(load).await?;
    let memory_idle = Memory::of(&mesh.members()?)?;
    let mut all: [Vec<Round>; 3] = Default::default();
    for number in 1..=rounds {
        let works = [Work::Get(Arc::clone(&ids)), Work::List, Work::Register];
        for (place, work) in works.into_iter().enumerate() {
            let round = round(mesh, load, &watcher, work, for_time).await?;
            tell(&format!(
                "{}: {} {number}/{rounds}: {:.0}/s, p50 {:.1} ms, p99 {:.1} ms, quiet after \
                 {:.1} s, others keep {:.1} processors busy",
                mesh.kind,
                KINDS[place],
                round.per_s,
                round.took_ms.p50,
                round.took_ms.p99,
                round.quiet_after_s,
                round.others_busy,
            ));
            all[place].push(round);
        }
    }
    let memory_loaded = Memory::of(&mesh.members()?)?;
    let [reads, pages, registrations] = all;
    Ok(Measured { memory_idle, memory_loaded, reads, pages, registrations })
}

async fn round(
    mesh: &Mesh,
    load: &Load,
    watcher: &Watcher,
    work: Work,
    for_time: Duration,
) -> anyhow::Result<Round> {
    let (begun, done) = (Instant::now(), stores_did(mesh)?);
    let used = Used::now(&mesh.members()?)?;
    let Answers { took_us, elapsed, .. } = load.send(work, Pace::Full, for_time, None).await?;
    let quiet_after = watcher.wait().await?;
    let used = Used::now(&mesh.members()?)?.since(&used);
    let took = begun.elapsed();
    let requests = took_us.len() as f64;
    let per_request = |(name, now): (String, f64)| {
        let before = done.get(&name).copied().unwrap_or_default();
        (name, (now - before) / requests)
    };
    let others = used.machine.saturating_sub(used.total() + used.ours) as f64;
    let threads = used
        .threads
        .iter()
        .map(|((member, thread), us)| (format!("{member}/{thread}"), *us as f64 / requests));
    Ok(Round {
        requests: took_us.len() as u64,
        per_s: requests / elapsed.as_secs_f64(),
        took_ms: Spread::of(took_us),
        cpu_us: each(&used.members, requests),
        cpu_us_of_threads: threads.filter(|(_, us)| *us >= OF_NOTE_US).collect(),
        cpu_us_of_load: used.ours as f64 / requests,
        others_busy: others / 1e6 / took.as_secs_f64(),
        per_request: stores_did(mesh)?.into_iter().map(per_request).collect(),
        quiet_after_s: quiet_after.as_secs_f64(),
    })
}

/// Each member's share of one request or event.
pub(crate) fn each(used: &BTreeMap<String, u64>, count: f64) -> BTreeMap<String, f64> {
    used.iter().map(|(name, us)| (name.clone(), *us as f64 / count)).collect()
}

/// Ids of a page of patients.
async fn some_patients(load: &Load) -> anyhow::Result<Arc<Vec<String>>> {
    let page = load.get("/api/patients?size=100").await?;
    let patients = page["patients"].as_array().context("a page of patients")?;
    let id = |patient: &serde_json::Value| Some(patient["id"].as_str()?.to_owned());
    Ok(Arc::new(patients.iter().filter_map(id).collect()))
}

/// What was done for the mesh so far, apart from computing.
fn stores_did(mesh: &Mesh) -> anyhow::Result<BTreeMap<String, f64>> {
    let mut did = BTreeMap::new();
    if let Some(Servers { postgres, .. }) = &mesh.servers {
        let number = |sql: &str| -> anyhow::Result<f64> { Ok(postgres.ask(sql)?.parse()?) };
        let commits = "select sum(xact_commit) from pg_stat_database where datname <> 'postgres'";
        did.insert("PostgreSQL transactions".to_owned(), number(commits)?);
        let syncs = "select coalesce(sum(fsyncs), 0) from pg_stat_io where object = 'wal'";
        did.insert("PostgreSQL WAL fsyncs".to_owned(), number(syncs)?);
        let wal = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')";
        did.insert("KiB of PostgreSQL's WAL".to_owned(), number(wal)? / 1024.0);
    }
    Ok(did)
}

// === impl Watcher ===

impl Watcher {
    async fn new(mesh: &Mesh) -> anyhow::Result<Self> {
        Ok(Self {
            patient: Store::open(mesh, "patient").await?,
            analytics: Store::open(mesh, "analytics").await?,
            notification: Store::open(mesh, "notification").await?,
        })
    }

    /// Waits until nothing is left to do; how long that took.
    async fn wait(&self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let patients = self.patient.number("select count(*) from patient").await?;
        while begun.elapsed() < QUIET_WITHIN {
            let counted = self.analytics.number("select count(*) from patient").await?;
            let pending = "select count(*) from notification where status = 'PENDING'";
            if counted >= patients && self.notification.number(pending).await? == 0 {
                let notified =
                    self.notification.number("select count(*) from notification").await?;
                if notified >= patients {
                    return Ok(begun.elapsed());
                }
            }
            sleep(LOOKED_AT_EVERY).await;
        }
        tell("  there is still something to do after a while; the next round begins all the same");
        Ok(begun.elapsed())
    }
}
