//! The command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use shared_middleware::identity::{Part, Role};

use crate::config::{Config, FILE_VARIABLE, Faults, Sources, read, show};

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
lists all of them and where each is from. RUST_LOG and NO_COLOR are honoured.

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
    /// error, warn, info, debug, trace, or a filter such as info,kit=debug [default: info]
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
    /// The keys that sign users' tokens
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
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
pub(crate) enum PkiCommand {
    /// Make the authority, if there is none: pki/ca.pem and pki/ca.key in the data directory
    Init,
    /// Issue a part's certificate, valid for 24 hours: pki/PART.pem and pki/PART.key
    Issue {
        /// gateway, auth, patient, billing, analytics, notification
        part: Part,
    },
    /// List the certificates: whose they are and when they end
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
pub(crate) enum KeysCommand {
    /// Sign with a new key from now on; tokens of the old one stay valid until they expire
    Rotate,
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
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let flags = [
            ("data_dir", &global.data_dir),
            ("log_format", &global.log_format),
            ("log_level", &global.log_level),
        ];
        let flags = flags.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)));
        Sources::gather(file.as_deref(), environment, flags)
    }

    /// All that was set, understood for a process that runs these parts.
    pub(crate) fn configuration(&self, parts: &[Part], up: bool) -> Result<Config, Faults> {
        read(self.sources(), parts, up)
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
