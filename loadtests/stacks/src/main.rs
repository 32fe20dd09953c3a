//! What the mesh takes and costs on each stack: measured, not asserted.
//!
//! Starts the binary on the embedded stores (`medisync up`) and on servers (every part a
//! process of its own, PostgreSQL and Apache Kafka), measures both in the same way, and writes the
//! figures as Markdown and JSON. `make bench-stacks` runs it; `loadtests/README.md` says what each
//! figure tells.
//!
//! - `mesh`: what is measured, and its processes.
//! - `load`: who sends requests (`people`: of whom they speak), and how long answers take.
//! - `rounds`, `effect`, `relay`: a measurement each; `scale`: another run, with many patients.
//! - `stores`: what the stores say, looked up beside the mesh.
//! - `figures`: what was measured; `report`: how it is written.

mod effect;
mod figures;
mod load;
mod mesh;
mod people;
mod relay;
mod report;
mod rounds;
mod scale;
mod stores;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use measure::{Machine, tell};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    figures::{Report, Stack},
    mesh::{Kind, Mesh},
};

/// Measures the mesh on each stack.
#[derive(Parser)]
struct Arguments {
    /// Only this stack.
    #[arg(long, value_enum)]
    stack: Option<Kind>,
    /// The binary that is measured; the one beside this when not given.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Where all data is kept meanwhile: on a real disk, in a folder that everybody may enter.
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    /// Where the report goes: NAME.md and NAME.json.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Instead: what requests cost with this many patients in the store, one after the other.
    #[arg(long, value_delimiter = ',')]
    patients: Vec<u64>,
    /// So often each kind of request is measured.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// A round lasts so long.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// This many connections send requests, each one after the other.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// On servers, Kafka's topics have this many partitions.
    #[arg(long, default_value_t = 6)]
    partitions: u32,
    /// This many events wait for the relay.
    #[arg(long, default_value_t = 50_000)]
    events: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    // What was started ends with what is dropped here.
    tokio::select! {
        done = measure(&arguments) => done,
        _ = terminated.recv() => anyhow::bail!("terminated"),
        _ = interrupted.recv() => anyhow::bail!("interrupted"),
    }
}

async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let begun = Instant::now();
    let binary = measure::own_binary(arguments.binary.as_deref())?;
    let folder = arguments.folder.canonicalize().context("the folder for data")?;
    testbed::keep_in(&folder);
    if !arguments.patients.is_empty() {
        return scale(&binary, &folder, arguments).await;
    }
    let mut report = Report {
        machine: Machine::look(&folder)?,
        connections: arguments.connections,
        round_s: arguments.seconds,
        took_s: 0.0,
        stacks: Vec::new(),
    };
    let kinds = arguments.stack.map_or(vec![Kind::Embedded, Kind::Servers], |kind| vec![kind]);
    for kind in kinds {
        report.stacks.push(stack(kind, &binary, &folder, arguments).await?);
    }
    report.took_s = begun.elapsed().as_secs_f64();
    let text = report::markdown(&report)?;
    tell_all(&report, &text, arguments, "loadtests/reports/stacks")
}

/// What requests cost with many patients, on one stack.
async fn scale(binary: &Path, folder: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { stack, patients, rounds, seconds, partitions, .. } = arguments;
    let mesh = Mesh::start(stack.unwrap_or(Kind::Embedded), binary, folder, *partitions)?;
    let machine = Machine::look(folder)?;
    let report = scale::measure(&mesh, machine, patients, *rounds, *seconds).await?;
    tell_all(&report, &report.markdown()?, arguments, "loadtests/reports/scale")
}

fn tell_all(
    report: &impl serde::Serialize,
    text: &str,
    arguments: &Arguments,
    usually: &str,
) -> anyhow::Result<()> {
    let path = arguments.report.as_deref().unwrap_or(Path::new(usually));
    measure::write(report, text, path)?;
    tell(&format!("\n{text}\nwritten to {}.md and .json", path.display()));
    Ok(())
}

/// All figures of one stack.
async fn stack(
    kind: Kind,
    binary: &Path,
    folder: &Path,
    arguments: &Arguments,
) -> anyhow::Result<Stack> {
    let load_average = measure::load_average()?;
    tell(&format!("{kind}: starting, load average {load_average}"));
    let begun = Instant::now();
    let mut mesh = Mesh::start(kind, binary, folder, arguments.partitions)?;
    let ready_s = begun.elapsed().as_secs_f64();
    let load = rounds::warm_up(&mesh, arguments.connections).await?;
    let for_one = Duration::from_secs(arguments.seconds);
    let measured = rounds::measure(&mesh, &load, arguments.rounds, for_one).await?;
    let effect = effect::measure(&mesh, &load).await?;
    let versions = mesh.versions()?;
    let relay = relay::measure(&mut mesh, arguments.events).await?;
    Ok(Stack { kind: kind.to_string(), load_average, versions, ready_s, measured, effect, relay })
}
