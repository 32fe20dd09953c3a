//! What may be asked for on the command line.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::stack::Kind;

const USAGE: &str = "faults [--stack embedded|servers] [--fault NAME] [--long] [--rounds N] \
                     [--seed N|any]";
/// Of the gate: what fails there fails again with it, as far as it depends on chance of ours.
const SEED: u64 = 1;

/// What is to be played.
#[derive(Clone)]
pub(crate) struct Arguments {
    pub(crate) stacks: Vec<Kind>,
    /// This many rounds: each fault once, then by chance. When it is not said, each once.
    pub(crate) rounds: Option<u32>,
    pub(crate) seed: u64,
    /// Only this fault.
    pub(crate) fault: Option<String>,
    /// Also those that take minutes.
    pub(crate) long: bool,
}

// === impl Arguments ===

impl Arguments {
    /// Nothing when only the names of tests are asked for.
    pub(crate) fn read(given: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut read = Self {
            stacks: vec![Kind::Embedded, Kind::Servers],
            rounds: None,
            seed: SEED,
            fault: None,
            long: false,
        };
        let mut given = given;
        while let Some(name) = given.next() {
            // Anyone who lists tests, or runs those of some name, means others: these take minutes.
            if name == "--list" || name == "--skip" || !name.starts_with('-') {
                return Ok(None);
            }
            // Of the usual runner, and without a meaning here.
            if name == "--nocapture" || name.starts_with("--test-threads=") {
                continue;
            }
            if name == "--long" {
                read.long = true;
                continue;
            }
            let value = given.next().ok_or(USAGE)?;
            match name.as_str() {
                "--stack" if value == "embedded" => read.stacks = vec![Kind::Embedded],
                "--stack" if value == "servers" => read.stacks = vec![Kind::Servers],
                "--rounds" => read.rounds = Some(value.parse().map_err(|_| USAGE)?),
                "--seed" if value == "any" => read.seed = any_seed(),
                "--seed" => read.seed = value.parse().map_err(|_| USAGE)?,
                "--fault" => read.fault = Some(value),
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(Some(read))
    }
}

#[expect(clippy::disallowed_methods, reason = "any number is as good as another")]
fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos())
}
