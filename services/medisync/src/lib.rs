//! MediSync: patient management for hospitals and clinics, a service mesh in one binary.
//!
//! - `commands` is the command line: each command with its arguments;
//! - `config` is what can be set, `context` what a command is given of it;
//! - `runtime` starts and stops parts: `up` and `run`;
//! - `ops` is what operators do: certificates, backups, status.

#[macro_use]
mod out;

mod commands;
mod config;
mod context;
mod exit_code;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod ops;
mod runtime;

pub use self::commands::main;
