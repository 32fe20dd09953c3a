//! MediSync: patient management for hospitals and clinics, a service mesh in one binary.
//!
//! Reading order: `cli` says what can be asked for, `config` what can be set, `run` how parts are
//! started and stopped; the other files are a command each.

#[macro_use]
mod out;

mod admin;
mod audit;
mod backup;
mod cli;
mod config;
mod demo;
mod documents;
mod events;
mod exit;
mod health;
mod keys;
mod launch;
mod pki;
mod probe;
mod process;
mod progress;
mod readiness;
mod reload;
mod run;
mod running;
mod runtimes;
mod signals;
mod status;
mod telemetry;
mod traces;
mod users;

use std::process::ExitCode;

use clap::Parser as _;
use rustix::{fs::Mode, process::umask};

use crate::cli::{Cli, Command, ConfigCommand};

// Without it allocations can be counted from outside (`make cost`).
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Files and folders that we make hold keys and patients: they are for us alone.
    umask(Mode::RWXG | Mode::RWXO);
    let cli = Cli::parse();
    shared_middleware::token::install_crypto();
    let done = match &cli.command {
        Command::Up => run::up(&cli),
        Command::Run { parts } => run::parts(&cli, parts),
        Command::Pki(command) => pki::command(&cli, command),
        Command::User(command) => users::command(&cli, command),
        Command::Demo(command) => demo::command(&cli, command),
        Command::Keys(command) => keys::command(&cli, command),
        Command::Events(command) => events::command(&cli, command),
        Command::Audit(command) => audit::command(&cli, command),
        Command::Backup { dir } => backup::backup(&cli, dir),
        Command::Restore { dir } => backup::restore(&cli, dir),
        Command::Config(ConfigCommand::Show { origin }) => cli::show_config(&cli, *origin),
        Command::Status(asked) => status::command(&cli, asked),
        Command::Healthcheck { url } => probe::healthcheck(&cli, url.as_deref()),
        Command::Openapi { part } => documents::print(*part),
        Command::Completions { shell } => cli::completions(*shell),
    };
    exit::code(done)
}
