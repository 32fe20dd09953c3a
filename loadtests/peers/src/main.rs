//! Our gateway beside others, on one machine: what a request costs each of them.
//!
//! Starts nginx, HAProxy, Envoy and our gateway before the same upstream, with the same policy as
//! far as each has it, checks that they refuse what they have to, and loads them in turn with wrk.
//! `make bench-peers` runs it; `loadtests/README.md` says what each figure tells.
//!
//! - `site`: the upstream, the keys, and anyone who calls (`tokens`).
//! - `proxy`: the proxies, started. Their settings are in `conf/`.
//! - `policy`: what each has to refuse.
//! - `collector`: who takes the spans of one of them.
//! - `cost`: what a request costs ours in instructions and allocations.
//! - `load`: wrk. `plan`: what is measured, in which order.
//! - `report`: how it is written.

mod collector;
mod cost;
mod load;
mod plan;
mod policy;
mod proxy;
mod report;
mod site;
mod tokens;

use std::{path::PathBuf, time::Instant};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use measure::{Machine, tell};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{plan::Rounds, proxy::Kind, report::Report, site::Site};

/// What a request costs at the gateway.
#[derive(Parser)]
struct Arguments {
    /// The binary that is measured; the one beside this when not given.
    #[arg(long, global = true)]
    binary: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Measures our gateway beside nginx, HAProxy and Envoy.
    Compare(Compare),
    /// Counts our gateway's instructions and allocations, and compares with what is recorded.
    Cost {
        /// What is recorded.
        #[arg(long, default_value = "loadtests/peers/cost.json")]
        file: PathBuf,
        /// Records what was counted.
        #[arg(long)]
        record: bool,
        /// Keeps callgrind's profile here, for `callgrind_annotate`.
        #[arg(long)]
        profile: Option<PathBuf>,
        /// A build of the binary without an allocator of its own.
        #[arg(long, default_value = "target/debug/medisync")]
        plain: PathBuf,
    },
}

#[derive(clap::Args)]
struct Compare {
    /// Only these.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Envoy's binary.
    #[arg(long)]
    envoy: Option<PathBuf>,
    /// Where the report goes: NAME.md and NAME.json.
    #[arg(long, default_value = "loadtests/reports/peers")]
    report: PathBuf,
    /// So often each figure is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// A round lasts so long.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Only the comparison, without what a request costs by connections, sizes and tokens.
    #[arg(long)]
    quick: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    open_files_to_the_limit()?;
    shared_middleware::token::install_crypto();
    let binary = measure::own_binary(arguments.binary.as_deref())?;
    let site = Site::build(&binary)?;
    match arguments.what {
        What::Compare(how) => compare(&site, &how),
        What::Cost { file, record, profile, plain } => {
            cost::count(&site, &file, record, profile.as_deref(), &plain)
        }
    }
}

fn compare(site: &Site, how: &Compare) -> anyhow::Result<()> {
    let begun = Instant::now();
    let kinds = if how.only.is_empty() { &Kind::ALL[..] } else { &how.only };
    let mut proxies = Vec::new();
    for kind in kinds {
        let proxy = kind.start(site, how.envoy.as_deref(), false)?;
        policy::check(&proxy, site).with_context(|| kind.name())?;
        tell(&format!("{}: refuses what it has to", proxy.version));
        proxies.push(proxy);
    }
    let versions = proxies.iter().map(|proxy| proxy.version.clone()).collect();
    if !how.quick {
        // The same once more, with the same settings but for the public port.
        for kind in kinds {
            proxies.push(kind.start(site, how.envoy.as_deref(), true)?);
        }
    }
    let rounds = Rounds { count: how.rounds, seconds: how.seconds };
    let figures = plan::measure(&proxies, site, rounds, how.quick)?;
    let report = Report {
        machine: Machine::look(site.folder())?,
        versions,
        round_s: how.seconds,
        took_s: begun.elapsed().as_secs_f64(),
        figures,
    };
    let text = report::markdown(&report)?;
    measure::write(&report, &text, &how.report)?;
    tell(&format!("\n{text}\nwritten to {}.md and .json", how.report.display()));
    Ok(())
}

/// A thousand connections are two thousand files for a proxy. What we start inherits this.
fn open_files_to_the_limit() -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot allow more open files")
}
