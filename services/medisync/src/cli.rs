//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use jiff::Timestamp;
use kit::log::Start;
use shared_middleware::identity::{Part, Role};

use crate::{
    audit::cli::AuditCommand,
    backup,
    config::{Config, FILE_VARIABLE, Faults, Sources, read, show},
    events::{self, Group, Output},
    pki::Step,
};

/// Patient management for hospitals and clinics: a service mesh in one binary.
///
/// `medisync up` runs everything on this machine with nothing else installed. The same binary runs
/// single parts as processes or containers of their own with `medisync run PART...`.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = HELP_ENVIRONMENT)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP_ENVIRONMENT: &str = "\
Settings come from flags, then the environment (MEDISYNC_SECTION__KEY, such as \
MEDISYNC_GATEWAY__LISTEN), then a file (--config), then defaults; `medisync config show --origin` \
lists all of them and where each is from. RUST_LOG, NO_COLOR, OTEL_EXPORTER_OTLP_ENDPOINT and \
OTEL_TRACES_SAMPLER_ARG are honoured.

Signals to `up` and `run`: TERM, INT and QUIT stop the process when what is in flight is done, HUP \
has certificates and the log level read again, USR1 and USR2 do nothing.

Exit codes: 0 done, 1 it failed, 2 unknown command or flag, 64 the configuration is not valid.";

/// Flags of every command.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// A TOML file with settings
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where this machine keeps what it must not lose [default: ./data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// How log lines are written: text or json [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug, trace, off, or a filter such as info,kit=debug [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
    /// The audit trails: whether they are what was written, how far they have come
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
    Status(Status),
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

#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Admin listeners of its processes, HOST:PORT [default: this configuration's]
    #[arg(value_name = "ADMIN")]
    pub(crate) admins: Vec<String>,
    /// Again and again, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
    /// Seconds over which rates are taken, and between the looks of --watch
    #[arg(long, value_name = "SECONDS", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) interval: u64,
    /// How to print: text, or json, one object a line
    #[arg(long, value_enum, hide_possible_values = true, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PkiCommand {
    /// Make the authority, if there is none: pki/ca.pem and pki/ca.key in the data directory
    Init,
    /// Issue a part's certificate, valid for 24 hours: pki/PART.pem and pki/PART.key
    Issue {
        /// gateway, auth, patient, billing, analytics, notification
        part: Part,
        /// Use pki/ca.key although others can read it, as when it is mounted into a container
        #[arg(long)]
        allow_readable_key: bool,
    },
    /// Revoke a part's certificate (pki/crl.pem): it has no connections until another is issued
    Revoke {
        /// gateway, auth, patient, billing, analytics, notification
        part: Part,
    },
    /// Replace the authority, without a call that fails: begin, switch, finish
    RotateCa {
        /// What to do; README.md says what to wait for before the next
        step: Step,
    },
    /// List the certificates: whose they are, when they end, and what was revoked
    Show,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Create a user; the password is asked for, or read from standard input
    Add {
        /// What the user signs in with
        email: String,
        /// ADMIN, CLINICIAN, RECEPTIONIST, BILLING or AUDITOR
        #[arg(long)]
        role: Role,
    },
    /// Set a user's password; it is asked for, or read from standard input
    Passwd {
        /// Whose
        email: String,
    },
    /// Disable a user: signed out everywhere within a second, and cannot sign in again
    Disable {
        /// Whom
        email: String,
    },
    /// List the users
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DemoCommand {
    /// Take it out of every store: users, patients, accounts, messages; also of a running mesh
    Remove,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Sign with a new key from now on; tokens of the old one stay valid until they expire
    Rotate,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Print events as they are published, until Ctrl-C
    ///
    /// Each on a line: when it occurred, its type, the patient's id and version, the event's id,
    /// partition/offset. What cannot be decoded is shown with its headers.
    Tail(Tail),
    /// Events that a consumer group gave up
    ///
    /// An event that cannot be handled is given up after five tries, so that it blocks no other; so
    /// is a message that can never be delivered. Its record stays in the log, a copy goes to the
    /// topic patient.dlq for whoever reads that, and a row is kept here until it is retried with
    /// success or dropped.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Build a group's projection once more from the log, while the old one is served
    ///
    /// For when a projection is wrong, or is to count what it did not. The mesh goes on meanwhile:
    /// readers see the old projection until the new one has all that the old one has, then the new
    /// one. One at a time. A replay that ends before changes nothing; run it again.
    Replay {
        /// analytics-service
        #[arg(long)]
        group: Group,
        /// beginning; or RFC 3339, or a day (UTC): then only events published since are counted
        #[arg(long, value_name = "TIME", value_parser = events::first_event)]
        from: Start,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Tail {
    /// The topic; patient.dlq has the dead letters
    #[arg(long, default_value = "patient")]
    pub(crate) topic: String,
    /// Begin with the oldest event that is still there, not with the next one
    #[arg(long, conflicts_with = "since")]
    pub(crate) from_beginning: bool,
    /// Begin with the first event published then or later: RFC 3339, or a day (UTC)
    #[arg(long, value_name = "TIME", value_parser = events::moment)]
    pub(crate) since: Option<Timestamp>,
    /// How to print: text, or json, one object a line
    #[arg(long, value_enum, hide_possible_values = true, default_value = "text")]
    pub(crate) output: Output,
    /// End after so many events
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Print names and emails, too. They are left out otherwise, since what is on a terminal ends
    /// up in scrollbacks, screenshots and tickets
    #[arg(long)]
    pub(crate) with_personal_data: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List them, oldest first
    List {
        /// Of this consumer group only: analytics-service or notification-service
        #[arg(long)]
        group: Option<Group>,
        /// How to print: text, or json, one object a line
        #[arg(long, value_enum, hide_possible_values = true, default_value = "text")]
        output: Output,
    },
    /// Show one, and the event itself as far as the log still has it
    Show {
        /// Which, such as analytics-3
        id: String,
        /// Of this consumer group: then the number is enough
        #[arg(long)]
        group: Option<Group>,
        /// How to print: text or json
        #[arg(long, value_enum, hide_possible_values = true, default_value = "text")]
        output: Output,
        /// Print name and email, too. They are left out otherwise, since what is on a terminal ends
        /// up in scrollbacks, screenshots and tickets
        #[arg(long)]
        with_personal_data: bool,
    },
    /// Let their group handle them once more; what fails again is kept
    ///
    /// Effect and removal are one transaction, so a retry takes effect once, and one of an event
    /// that had its effect already changes nothing. An older event than the patient's latest does
    /// no harm. Exits with 1 when any is still dead.
    Retry(Chosen),
    /// Forget them: the events will never take effect for their group
    Drop(Chosen),
}

/// Which dead letters a command is for.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("which").args(["ids", "all"]).required(true)))]
pub(crate) struct Chosen {
    /// Which, such as analytics-3
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
    /// Of this consumer group only: analytics-service or notification-service
    #[arg(long)]
    pub(crate) group: Option<Group>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the configuration in effect as a file that would give the same; secrets are masked
    Show {
        /// Say where each value is from
        #[arg(long)]
        origin: bool,
    },
}

// === impl Cli ===

impl Cli {
    /// All that was set.
    pub(crate) fn sources(&self) -> Sources {
        let global = &self.global;
        let file = global.config.clone().or_else(|| {
            std::env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
        });
        let flags = [
            ("data_dir", &global.data_dir),
            ("log_format", &global.log_format),
            ("log_level", &global.log_level),
        ];
        let flags = flags.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)));
        Sources::gather(file.as_deref(), std::env::vars_os(), flags)
    }

    /// All that was set, understood for a process that runs these parts.
    pub(crate) fn configuration(&self, parts: &[Part], up: bool) -> Result<Config, Faults> {
        read(self.sources(), parts, up)
    }

    /// The same, of a data directory that can be used: not one that is half restored.
    pub(crate) fn usable(&self, parts: &[Part], up: bool) -> anyhow::Result<Config> {
        let config = self.configuration(parts, up)?;
        backup::expect_whole(&config.data_dir)?;
        Ok(config)
    }

    /// The same, for a command that reads or changes what is there: where nothing is it makes
    /// nothing.
    pub(crate) fn of_what_is_there(&self) -> anyhow::Result<Config> {
        Ok(Config { stores_must_exist: true, ..self.usable(&[], false)? })
    }

    /// Whether the log level was given by a flag, which beats `RUST_LOG`.
    pub(crate) const fn log_level_by_flag(&self) -> bool {
        self.global.log_level.is_some()
    }
}

pub(crate) fn show_config(cli: &Cli, origin: bool) -> anyhow::Result<()> {
    cli.configuration(&[], true)?;
    say!("{}", show(&cli.sources(), origin).trim_end())?;
    Ok(())
}

pub(crate) fn completions(shell: Shell) -> anyhow::Result<()> {
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
