//! Nothing acknowledged is lost, nothing is done twice, whatever breaks.
//!
//! Every round lets writers write, breaks something, mends it, and then holds all that the system
//! says against what was acknowledged. The stacks are one process on the embedded stores, and two
//! replicas of every part on PostgreSQL and Kafka, which are this test's own.
//!
//! ```text
//! cargo test --workspace --test faults -- [--stack embedded|servers] [--fault NAME] [--long]
//!                                         [--rounds N] [--seed N|any]
//! ```
//!
//! Each fault is played once, always with the same seed; the one of a minute only when `--long` or
//! its name is given. `--rounds` goes on by chance, for which `--seed any` takes another seed.
//!
//! - `arguments`: what may be asked for.
//! - `stack`: the mesh, and what can be done to it.
//! - `fault`: what is done to it, and what must hold meanwhile.
//! - `journal`: what was acknowledged.
//! - `writer`: who writes, and does not rest before each write is either done or not.
//! - `topic`: what the event log holds.
//! - `groups`: how soon its consumers have caught up with it.
//! - `judge`: what must be true in the end.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a test, and tells what it does"
)]

#[path = "../common/caller.rs"]
#[expect(dead_code, reason = "the stories say more than the writers do")]
mod caller;
#[path = "../common/containers.rs"]
mod containers;
#[path = "../common/processes.rs"]
#[expect(dead_code, reason = "stories start processes in more ways")]
mod processes;

mod arguments;
mod client;
mod fault;
mod groups;
mod journal;
mod judge;
mod stack;
mod topic;
mod writer;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    arguments::Arguments,
    fault::Fault,
    journal::Journal,
    stack::{Kind, Stack},
    writer::Writers,
};

/// This many writes are acknowledged before something breaks, and after it was mended.
const WRITES: std::ops::Range<u64> = 0..60;

/// What one fault came to, in all its rounds.
#[derive(Default)]
struct Tally {
    rounds: u32,
    acknowledged: u64,
    refused: u64,
    recovered: Vec<Duration>,
    caught_up: Vec<Duration>,
}

/// How long things took from the end of what broke the mesh.
struct Took {
    /// A start of processes included, until a write was taken again.
    recovered: Duration,
    /// Until all consumer groups had read what was written by then: on servers only.
    caught_up: Option<Duration>,
}

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return ExitCode::SUCCESS,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    shared_middleware::token::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (mut passed, mut failed) = (0, 0);
    for kind in &arguments.stacks {
        let seed = arguments.seed;
        println!("\nstack {kind}, seed {seed}");
        let played = AssertUnwindSafe(|| runtime.block_on(rounds(*kind, &arguments)));
        match catch_unwind(played) {
            Ok(rounds) => passed += rounds,
            Err(_) => {
                failed += 1;
                eprintln!(
                    "failed: run it again with --stack {kind} --seed {seed}{}",
                    again(&arguments)
                );
            }
        }
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What else was asked for.
fn again(arguments: &Arguments) -> String {
    let fault = arguments.fault.as_ref().map(|name| format!(" --fault {name}"));
    let rounds = arguments.rounds.map(|rounds| format!(" --rounds {rounds}"));
    let long = arguments.long.then(|| " --long".to_owned());
    [fault, rounds, long].into_iter().flatten().collect()
}

/// Plays all rounds on one stack; how many there were.
async fn rounds(kind: Kind, arguments: &Arguments) -> u32 {
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let mut stack = Stack::start(kind, arguments.seed).await;
    let journal = Arc::new(Journal::default());
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let faults = Fault::of(kind, arguments.fault.as_deref(), arguments.long);
    let rounds = arguments.rounds.unwrap_or_else(|| u32::try_from(faults.len()).unwrap());
    for round in 1..=rounds {
        // Each once, in this order, then by chance.
        let at = (round - 1) as usize;
        let fault = *faults.get(at).unwrap_or_else(|| random.choice(&faults).unwrap());
        let begun = Instant::now();
        let before = journal.counts();
        let took = play(fault, &mut stack, &journal, &mut random).await;
        let after = journal.counts();
        let tally = tallies.entry(fault.name().to_owned()).or_default();
        tally.rounds += 1;
        tally.acknowledged += after.acknowledged - before.acknowledged;
        tally.refused += after.refused - before.refused;
        tally.recovered.push(took.recovered);
        tally.caught_up.extend(took.caught_up);
        let caught_up = took.caught_up.map(|after| format!("  groups caught up after {after:.1?}"));
        println!(
            "{round:>3} {:<28} {:>5} acknowledged {:>4} refused  recovered in {:.1?}{}  ({:.1?})",
            fault.name(),
            after.acknowledged - before.acknowledged,
            after.refused - before.refused,
            took.recovered,
            caught_up.unwrap_or_default(),
            begun.elapsed(),
        );
    }
    tell(kind, &tallies, &journal);
    rounds
}

/// One round.
async fn play(
    fault: Fault,
    stack: &mut Stack,
    journal: &Arc<Journal>,
    random: &mut fastrand::Rng,
) -> Took {
    let writers = Writers::start(stack, journal, random, fault.rest());
    journal.go_on_for(random.u64(WRITES)).await;
    let over = fault.strike(stack, journal, random).await;
    let records = journal.expected().events() + journal.poison();
    let catching_up = stack.servers.as_ref().map(|servers| {
        let bootstrap = servers.kafka.bootstrap();
        tokio::task::spawn_blocking(move || groups::caught_up(&bootstrap, records, over))
    });
    writer::write_once(stack, journal).await;
    let recovered = over.elapsed();
    journal.go_on_for(random.u64(WRITES)).await;
    writers.finish().await;
    judge::judge(stack, journal).await;
    let caught_up = match catching_up {
        Some(watched) => Some(watched.await.unwrap()),
        None => None,
    };
    Took { recovered, caught_up }
}

/// A table, for the reports.
fn tell(kind: Kind, tallies: &BTreeMap<String, Tally>, journal: &Journal) {
    println!(
        "\n| {kind} | rounds | acknowledged | refused | recovered in | groups caught up after |\n\
         |---|---|---|---|---|---|"
    );
    for (fault, tally) in tallies {
        println!(
            "| {fault} | {} | {} | {} | {} | {} |",
            tally.rounds,
            tally.acknowledged,
            tally.refused,
            span(&tally.recovered),
            span(&tally.caught_up),
        );
    }
    let counts = journal.counts();
    println!(
        "\n{} writes acknowledged: 0 lost, 0 done twice, {} events in order",
        counts.acknowledged,
        journal.expected().events(),
    );
}

fn span(all: &[Duration]) -> String {
    match (all.iter().min(), all.iter().max()) {
        (Some(least), Some(most)) => format!("{least:.1?} to {most:.1?}"),
        _ => "-".to_owned(),
    }
}
