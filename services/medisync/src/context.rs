//! What every command is given: the configuration, from flags, environment and file.

use std::path::PathBuf;

use clap::Args;
use shared_middleware::identity::Part;

use crate::{
    config::{Config, ConfigErrors, FILE_VARIABLE, Sources, read},
    ops::backup,
};

/// The flags of every command, and what they and the environment come to.
#[derive(Args, Debug)]
pub(crate) struct Context {
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

// === impl Context ===

impl Context {
    /// All that was set.
    pub(crate) fn sources(&self) -> Sources {
        let file = self.config.clone().or_else(|| {
            std::env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
        });
        let flags = [
            ("data_dir", &self.data_dir),
            ("log_format", &self.log_format),
            ("log_level", &self.log_level),
        ];
        let flags = flags.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)));
        Sources::gather(file.as_deref(), std::env::vars_os(), flags)
    }

    /// All that was set, understood for a process that runs these parts.
    pub(crate) fn configuration(&self, parts: &[Part], up: bool) -> Result<Config, ConfigErrors> {
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
        self.log_level.is_some()
    }
}
