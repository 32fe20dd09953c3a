//! The command line: its commands, each of which declares its arguments itself.
//!
//! The files are a command each; `backup`, `status` and `openapi` are in `ops`, `up` and `run` in
//! `runtime`.

mod audit;
mod demo;
mod events;
mod healthcheck;
mod keys;
mod pki;
mod users;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use rustix::{fs::Mode, process::umask};
use shared_middleware::identity::Part;

use self::{
    audit::AuditCommand, demo::DemoCommand, events::EventsCommand, keys::KeysCommand,
    pki::PkiCommand, users::UserCommand,
};
use crate::{
    config::show,
    context::Context,
    exit_code,
    ops::{
        backup, openapi,
        status::{self, StatusArgs},
    },
    runtime::start,
};

/// Patient management for hospitals and clinics: a service mesh in one binary.
///
/// `medisync up` runs everything on this machine with nothing else installed. The same binary runs
/// single parts as processes or containers of their own with `medisync run PART...`.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = HELP_ENVIRONMENT)]
struct Cli {
    #[command(flatten)]
    context: Context,
    #[command(subcommand)]
    command: Command,
}

const HELP_ENVIRONMENT: &str = "\
Settings come from flags, then the environment (MEDISYNC_SECTION__KEY, such as \
MEDISYNC_GATEWAY__LISTEN), then a file (--config), then defaults; `medisync config show --origin` \
lists all of them and where each is from. RUST_LOG, NO_COLOR, OTEL_EXPORTER_OTLP_ENDPOINT and \
OTEL_TRACES_SAMPLER_ARG are honoured.

Signals to `up` and `run`: TERM, INT and QUIT stop the process when what is in flight is done, HUP \
has certificates and the log level read again, USR1 and USR2 do nothing.

Exit codes: 0 done, 1 it failed, 2 unknown command or flag, 64 the configuration is not valid.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole mesh in this process; prints a line beginning with `ready` when it is
    Up,
    /// Run only the named parts in this process
    Run {
        /// gateway, auth, patient, billing, analytics, notification
        #[arg(required = true, value_name = "PART")]
        parts: Vec<Part>,
    },
    /// The mesh's own certificate authority and the parts' certificates
    #[command(subcommand)]
    Pki(PkiCommand),
    /// Users, from the shell: the first administrator of an installation
    #[command(subcommand)]
    User(UserCommand),
    /// The demo's users and patients
    #[command(subcommand)]
    Demo(DemoCommand),
    /// The keys that sign users' tokens
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Events: watch them, deal with those that could not be handled, replay them
    #[command(subcommand)]
    Events(EventsCommand),
    /// The audit logs: whether they are what was written, how far they have come
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Write a backup of the embedded default into a new folder, also while the mesh is running
    ///
    /// One consistent state of every store and of the event log, with the keys, the certificates
    /// and the messages that were written; checked, and with checksums. It holds patients and keys.
    /// Stores on PostgreSQL and events on Kafka are backed up by their own means.
    Backup {
        /// A folder that does not exist, or is empty
        dir: PathBuf,
    },
    /// Restore a backup into a data directory that has no stores yet
    ///
    /// Every checksum is looked at before anything is written. Tokens stay valid, since the keys
    /// are the same.
    Restore {
        /// The folder that `medisync backup` made
        dir: PathBuf,
    },
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// What a running mesh does: parts, rates, errors, lag, certificates
    Status(StatusArgs),
    /// Exit with 0 when ready, else 1: for containers
    Healthcheck {
        /// What to ask [default: http://ADMIN/readyz of this configuration]
        url: Option<String>,
    },
    /// Print the OpenAPI document of a part
    Openapi {
        /// gateway (all parts together), auth, patient, billing, analytics, notification
        part: Part,
    },
    /// Print a completion script
    Completions {
        /// bash, elvish, fish, powershell, zsh
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the configuration in effect as a file that would give the same; secrets are masked
    Show {
        /// Say where each value is from
        #[arg(long)]
        origin: bool,
    },
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    // Files and folders that we make hold keys and patients: they are for us alone.
    umask(Mode::RWXG | Mode::RWXO);
    let Cli { context, command } = Cli::parse();
    shared_middleware::token::install_crypto();
    let done = match &command {
        Command::Up => start::up(&context),
        Command::Run { parts } => start::parts(&context, parts),
        Command::Pki(command) => pki::command(&context, command),
        Command::User(command) => users::command(&context, command),
        Command::Demo(command) => demo::command(&context, command),
        Command::Keys(command) => keys::command(&context, command),
        Command::Events(command) => events::command(&context, command),
        Command::Audit(command) => audit::command(&context, command),
        Command::Backup { dir } => {
            context.of_what_is_there().and_then(|config| backup::backup(&config, dir))
        }
        Command::Restore { dir } => restore(&context, dir),
        Command::Config(ConfigCommand::Show { origin }) => show_config(&context, *origin),
        Command::Status(args) => status::command(&context, args),
        Command::Healthcheck { url } => healthcheck::healthcheck(&context, url.as_deref()),
        Command::Openapi { part } => openapi::print(*part),
        Command::Completions { shell } => completions(*shell),
    };
    exit_code::code(done)
}

fn restore(context: &Context, dir: &Path) -> anyhow::Result<()> {
    backup::restore(&context.configuration(&[], false)?, dir)
}

fn show_config(context: &Context, origin: bool) -> anyhow::Result<()> {
    context.configuration(&[], true)?;
    say!("{}", show(&context.sources(), origin).trim_end())?;
    Ok(())
}

fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut command = Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "medisync", &mut script);
    say!("{}", String::from_utf8_lossy(&script).trim_end())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
