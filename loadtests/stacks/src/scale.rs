//! What requests cost with more and more patients in the store.
//!
//! Few connections, so that latency is that of the work and not of a queue.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use kit::db::{DbConfig, DbUrl};
use measure::{Machine, Spread, Used, median, tell};
use patient::fill;
use serde::Serialize;

use crate::{
    load::{Answers, Load, Pace, Work},
    mesh::Mesh,
    rounds::each,
    stores::Store,
};

const CONNECTIONS: usize = 4;
/// This many different patients are asked for, all over the store.
const ASKED_FOR: u64 = 2000;
/// A name that a thousandth of all have: neither few nor many.
const NAME: &str = "Noor Petrov";
/// Parts of it, in another order.
const PARTS: &str = "pet noo";
/// A part of the names of a fortieth of all.
const LETTERS: &str = "jud";
const WARM_UP: Duration = Duration::from_secs(1);

/// A whole run.
#[derive(Serialize)]
pub(crate) struct Scale {
    machine: Machine,
    stack: String,
    round_s: u64,
    figures: Vec<Figure>,
    stores: Vec<Size>,
}

/// What the store takes on disk, indexes included.
#[derive(Serialize)]
struct Size {
    patients: u64,
    mib: f64,
    /// How long the fill took since the size before, a second's patients.
    filled_per_s: f64,
}

/// Requests of one kind, with this many patients.
#[derive(Serialize)]
struct Figure {
    patients: u64,
    kind: &'static str,
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Processor time of the mesh per request, until the last one was answered.
    cpu_us: f64,
}

/// Fills the store up to each of these numbers, and measures.
pub(crate) async fn measure(
    mesh: &Mesh,
    machine: Machine,
    sizes: &[u64],
    rounds: u32,
    seconds: u64,
) -> anyhow::Result<Scale> {
    let load = Load::sign_in(&mesh.gateway, CONNECTIONS).await?;
    let database = database(&Store::url(mesh, "patient")?)?;
    let store = Store::open(mesh, "patient").await?;
    let (mut figures, mut stores, mut there) = (Vec::new(), Vec::new(), 0);
    for &patients in sizes {
        tell(&format!("{}: filling up to {patients} patients", mesh.kind));
        let begun = Instant::now();
        fill::fill(&database, there..patients).await?;
        let filled_per_s = (patients - there) as f64 / begun.elapsed().as_secs_f64();
        let mib = store.bytes().await? as f64 / f64::from(1 << 20);
        stores.push(Size { patients, mib, filled_per_s });
        there = patients;
        for (kind, work) in works(patients) {
            load.send(work.clone(), Pace::Full, WARM_UP, None).await?;
            let mut all = Vec::new();
            for _ in 0..rounds {
                all.push(round(mesh, &load, work.clone(), seconds).await?);
            }
            let of = |value: fn(&(f64, Spread, f64)) -> f64| median(all.iter().map(value));
            let (per_s, cpu_us) = (of(|it| it.0), of(|it| it.2));
            let (p50_ms, p99_ms) = (of(|it| it.1.p50), of(|it| it.1.p99));
            tell(&format!(
                "{}: {patients} patients: {kind}: {per_s:.0}/s, p50 {p50_ms:.2} ms, p99 \
                 {p99_ms:.2} ms, {cpu_us:.0} µs",
                mesh.kind
            ));
            figures.push(Figure { patients, kind, per_s, p50_ms, p99_ms, cpu_us });
        }
    }
    let stack = mesh.kind.to_string();
    Ok(Scale { machine, stack, round_s: seconds, figures, stores })
}

fn works(patients: u64) -> Vec<(&'static str, Work)> {
    // Steps of an odd length, so that they are all over.
    let asked: Vec<u64> = (0..ASKED_FOR).map(|n| n * 7919 * 31 % patients).collect();
    let ids = asked.iter().map(|number| fill::id(*number).to_string()).collect();
    let emails = asked.iter().map(|number| fill::email(*number)).collect();
    vec![
        ("GET one", Work::Get(Arc::new(ids))),
        ("first page of 20", Work::List),
        ("search for an email", Work::Search(Arc::new(emails))),
        ("search for a name", Work::Search(Arc::new(vec![NAME.to_owned()]))),
        ("search for parts of names", Work::Search(Arc::new(vec![PARTS.to_owned()]))),
        ("search for three letters", Work::Search(Arc::new(vec![LETTERS.to_owned()]))),
        ("register", Work::Register),
    ]
}

async fn round(
    mesh: &Mesh,
    load: &Load,
    work: Work,
    seconds: u64,
) -> anyhow::Result<(f64, Spread, f64)> {
    let used = Used::now(&mesh.members()?)?;
    let time = Duration::from_secs(seconds);
    let Answers { took_us, elapsed, .. } = load.send(work, Pace::Full, time, None).await?;
    let used = Used::now(&mesh.members()?)?.since(&used);
    let requests = took_us.len() as f64;
    let cpu_us: BTreeMap<_, _> = each(&used.members, requests);
    Ok((requests / elapsed.as_secs_f64(), Spread::of(took_us), cpu_us.values().sum()))
}

fn database(url: &str) -> anyhow::Result<DbConfig> {
    let minute = Duration::from_secs(60);
    let url: DbUrl = url.parse().map_err(anyhow::Error::msg)?;
    let owner = "load";
    Ok(DbConfig {
        owner,
        url,
        pool_connections_max: 2,
        acquire: minute,
        statement: minute,
        must_exist: false,
    })
}

// === impl Scale ===

impl Scale {
    /// As Markdown.
    pub(crate) fn markdown(&self) -> anyhow::Result<String> {
        let Machine { processor, processors, date, commit, file_system, .. } = &self.machine;
        let mut text = "# More and more patients, measured\n\n".to_owned();
        writeln!(
            text,
            "By `make bench-scale`; `loadtests/README.md` says what each figure tells."
        )?;
        writeln!(text, "\n- {date}, commit {commit}; {} stack, data on {file_system}", self.stack)?;
        writeln!(text, "- {processors} processors ({processor})")?;
        writeln!(text, "- {CONNECTIONS} connections, rounds of {} s, medians", self.round_s)?;
        writeln!(text, "\n| request | patients | p50 ms | × | p99 ms | × | requests/s | µs |")?;
        writeln!(text, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
        let mut kinds: Vec<_> = self.figures.iter().map(|figure| figure.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            let mut of_kind = self.figures.iter().filter(|figure| figure.kind == kind).peekable();
            let Some(least) = of_kind.peek().copied() else { continue };
            for it in of_kind {
                writeln!(
                    text,
                    "| {kind} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} |",
                    it.patients,
                    it.p50_ms,
                    it.p50_ms / least.p50_ms,
                    it.p99_ms,
                    it.p99_ms / least.p99_ms,
                    it.per_s,
                    it.cpu_us,
                )?;
            }
        }
        writeln!(text, "\n×: of the time with the fewest patients.\n")?;
        writeln!(text, "| patients | store, MiB | bytes each | filled per second |")?;
        writeln!(text, "|--:|--:|--:|--:|")?;
        for Size { patients, mib, filled_per_s } in &self.stores {
            let each = mib * f64::from(1 << 20) / *patients as f64;
            writeln!(text, "| {patients} | {mib:.0} | {each:.0} | {filled_per_s:.0} |")?;
        }
        Ok(text)
    }
}
