//! What `medisync audit` can be asked for.

use std::path::PathBuf;

use clap::Subcommand;
use shared_middleware::identity::Part;

/// A longer reason is a report.
const REASON_CHARS_MAX: usize = 300;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Verify trails; names the first entry that was changed, moved, removed, inserted or cut off
    ///
    /// Each part has a trail in its own store; auth keeps copies of all, by which it is known how
    /// far the others had come. Exits with 1 when any is not what was written.
    Verify {
        /// Of these parts only
        #[arg(value_name = "PART")]
        parts: Vec<Part>,
        /// A file with what `audit checkpoint` printed before, kept where nobody here could write:
        /// the trails must still have those entries
        #[arg(long = "checkpoint", value_name = "FILE")]
        checkpoints: Option<PathBuf>,
    },
    /// Print a signed statement of how far each trail has come, to be kept elsewhere
    ///
    /// A line of JSON for each, which `audit verify --checkpoint` reads.
    Checkpoint {
        /// Of these parts only
        #[arg(value_name = "PART")]
        parts: Vec<Part>,
    },
    /// Close a trail that was found broken: from then on it is verified from there
    ///
    /// First find out what happened, and keep a copy of the store: what is before is not spoken of
    /// any more. Stop the part's processes meanwhile. The reason, and that the trail was closed,
    /// are entries of the trail themselves.
    Close {
        /// Whose trail
        part: Part,
        /// Why, in a few words without anybody's name: auditors read it
        #[arg(long, value_parser = reason)]
        reason: String,
    },
}

/// A reason is short, and can be read.
fn reason(text: &str) -> Result<String, &'static str> {
    let is_short = !text.trim().is_empty() && text.chars().count() <= REASON_CHARS_MAX;
    let is_readable = !text.chars().any(char::is_control);
    if is_short && is_readable { Ok(text.to_owned()) } else { Err("must be 1 to 300 characters") }
}
