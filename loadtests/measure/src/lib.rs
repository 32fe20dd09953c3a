//! What every measurement needs: processes that end with it, what they use, and on which machine.

mod machine;
mod processes;
mod report;
mod spread;
mod usage;

pub use self::{
    machine::{Machine, load_average},
    processes::{Process, command, descendants, own_binary, tied},
    report::write,
    spread::{Spread, median},
    usage::{Member, Memory, Used},
};
pub use testbed::free_port;

/// Tells progress, and in the end the figures.
#[expect(clippy::print_stdout, reason = "it is for commands")]
pub fn tell(what: &str) {
    println!("{what}");
}
