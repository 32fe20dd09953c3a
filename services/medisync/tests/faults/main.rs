//! Nothing acknowledged is lost, nothing is done twice, whatever breaks.
//!
//! Every round lets writers write, breaks something, mends it, and then holds all that the system
//! says against what was acknowledged. The stacks are one process on the embedded stores, and two
//! replicas of every part on PostgreSQL and Kafka, which are this test's own.
//!
//! ```text
//! cargo test -p medisync --test faults -- [--stack embedded|servers] [--rounds N] [--seed S]
//!                                         [--fault NAME]
//! ```
//!
//! - `arguments`: what may be asked for.
//! - `stack`: the mesh, and what can be done to it.
//! - `fault`: what is done to it, and what must hold meanwhile.
//! - `journal`: what was acknowledged.
//! - `writer`: who writes, and does not rest before each write is either done or not.
//! - `topic`: what the event log holds.
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
mod processes;

mod arguments;
mod client;
mod fault;
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

/// So many writes are acknowledged before something breaks, and after it was mended.
const WRITES: std::ops::Range<u64> = 0..60;

/// What one fault came to, in all its rounds.
#[derive(Default)]
struct Tally {
    rounds: u32,
    acknowledged: u64,
    refused: u64,
    recovered: Vec<Duration>,
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
        println!("\nstack {kind}, {} rounds, seed {seed}", arguments.rounds);
        let played = AssertUnwindSafe(|| runtime.block_on(rounds(*kind, &arguments)));
        match catch_unwind(played) {
            Ok(rounds) => passed += rounds,
            Err(_) => {
                failed += 1;
                eprintln!("failed: run it again with --stack {kind} --seed {seed}");
            }
        }
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays all rounds on one stack; how many there were.
async fn rounds(kind: Kind, arguments: &Arguments) -> u32 {
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let mut stack = Stack::start(kind, arguments.seed).await;
    let journal = Arc::new(Journal::default());
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let faults = Fault::of(kind, arguments.fault.as_deref());
    for round in 1..=arguments.rounds {
        // Each once, in this order, then by chance.
        let at = (round - 1) as usize;
        let fault = *faults.get(at).unwrap_or_else(|| random.choice(&faults).unwrap());
        let begun = Instant::now();
        let before = journal.counts();
        let recovered = play(fault, &mut stack, &journal, &mut random).await;
        let after = journal.counts();
        let tally = tallies.entry(fault.name().to_owned()).or_default();
        tally.rounds += 1;
        tally.acknowledged += after.acknowledged - before.acknowledged;
        tally.refused += after.refused - before.refused;
        tally.recovered.push(recovered);
        println!(
            "{round:>3} {:<28} {:>5} acknowledged {:>4} refused  recovered in {recovered:.1?}  \
             ({:.1?})",
            fault.name(),
            after.acknowledged - before.acknowledged,
            after.refused - before.refused,
            begun.elapsed(),
        );
    }
    tell(kind, &tallies, &journal);
    arguments.rounds
}

/// One round; how long it took from the end of what broke it, a start of processes included, until
/// the system took a write again.
async fn play(
    fault: Fault,
    stack: &mut Stack,
    journal: &Arc<Journal>,
    random: &mut fastrand::Rng,
) -> Duration {
    let writers = Writers::start(stack, journal, random, fault.rest());
    journal.go_on_for(random.u64(WRITES)).await;
    let over = fault.strike(stack, journal, random).await;
    writer::write_once(stack, journal).await;
    let recovered = over.elapsed();
    journal.go_on_for(random.u64(WRITES)).await;
    writers.finish().await;
    judge::judge(stack, journal).await;
    recovered
}

/// A table, for the reports.
fn tell(kind: Kind, tallies: &BTreeMap<String, Tally>, journal: &Journal) {
    println!(
        "\n| {kind} | rounds | acknowledged | refused | recovered in |\n|---|---|---|---|---|"
    );
    for (fault, tally) in tallies {
        let most = tally.recovered.iter().max().copied().unwrap_or_default();
        let least = tally.recovered.iter().min().copied().unwrap_or_default();
        println!(
            "| {fault} | {} | {} | {} | {least:.1?} to {most:.1?} |",
            tally.rounds, tally.acknowledged, tally.refused
        );
    }
    let counts = journal.counts();
    println!(
        "\n{} writes acknowledged: 0 lost, 0 done twice, {} events in order",
        counts.acknowledged,
        journal.expected().events(),
    );
}
