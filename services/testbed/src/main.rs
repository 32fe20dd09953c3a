//! `testbed with-servers COMMAND…`: runs a command with the servers that the tests need.

use std::{ffi::OsString, process};

const USAGE: &str = "usage: testbed with-servers COMMAND...";

#[expect(clippy::print_stderr, reason = "a command tells why it failed")]
fn main() {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let code = match arguments.split_first() {
        Some((verb, command)) if verb == "with-servers" && !command.is_empty() => {
            testbed::with_servers::with_servers(command).unwrap_or_else(|error| {
                eprintln!("testbed: {error}");
                1
            })
        }
        _ => {
            eprintln!("{USAGE}");
            2
        }
    };
    process::exit(code);
}
