//! How the process ends: one line that says why, and a code.

use std::process::ExitCode;

use crate::config::ConfigErrors;

/// `EX_USAGE` of `sysexits.h`: the configuration is wrong.
const BAD_CONFIGURATION: u8 = 64;

/// Says what went wrong, if anything, and with which code to end.
#[expect(clippy::print_stderr, reason = "the one place where a command says why it failed")]
pub(crate) fn code(done: anyhow::Result<()>) -> ExitCode {
    let Err(error) = done else { return ExitCode::SUCCESS };
    // On one line, with its causes; faults of the configuration on one line each.
    eprintln!("medisync: {error:#}");
    if error.is::<ConfigErrors>() { ExitCode::from(BAD_CONFIGURATION) } else { ExitCode::FAILURE }
}
