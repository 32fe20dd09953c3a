//! Where a report goes.

use std::{fs, path::Path};

use serde::Serialize;

/// Writes the figures as Markdown, for people, and as JSON, for anyone who compares two runs: to
/// `path` with these endings.
///
/// # Errors
/// When a file or its folder cannot be written.
pub fn write(report: &impl Serialize, markdown: &str, path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path.with_extension("md"), markdown)?;
    fs::write(path.with_extension("json"), serde_json::to_string_pretty(report)? + "\n")?;
    Ok(())
}
