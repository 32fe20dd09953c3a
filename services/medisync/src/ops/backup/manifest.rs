//! What a backup holds: `backup.json`.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::write_file;

const FILE: &str = "backup.json";
/// Of the folder's form; one that is higher is of a program that knows more than this one.
const FORMAT: u32 = 1;

/// The list of a backup's files.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Manifest {
    format: u32,
    /// Of the program that wrote it.
    pub(super) version: String,
    /// When the stores were as they are here.
    pub(super) at: Timestamp,
    pub(super) files: Vec<Entry>,
}

/// One file.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    /// Its name in the backup.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

// === impl Manifest ===

impl Manifest {
    pub(super) fn new(at: Timestamp) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, version, at, files: Vec::new() }
    }

    pub(super) fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        let text = fs::read(&path)
            .with_context(|| format!("{} is no backup: cannot read {FILE}", dir.display()))?;
        let manifest: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged", path.display()))?;
        if manifest.format > FORMAT {
            bail!("{} was written by a newer MediSync, {}", dir.display(), manifest.version);
        }
        Ok(manifest)
    }

    pub(super) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        write_file(&dir.join(FILE), &text)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}
