//! `medisync backup` and `medisync restore`: the embedded default, whole.
//!
//! - `snapshot` takes one consistent state of all stores, also while the mesh is running.
//! - `manifest` is the list of what a backup holds, with checksums.
//! - `restore` puts a backup where nothing is yet.
//!
//! A backup is a folder: a SQLite file for each store and the event log, `keys/`, `pki/`, `audit/`,
//! the messages in `outbox/`, and `backup.json`, which is written last. It holds patients and keys:
//! it is for its owner alone.

mod manifest;
mod restore;
mod snapshot;

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use kit::{
    db::DbUrl,
    files::{UNFINISHED, create, is_ours_alone, make_folder, parent, sync_folder},
};
use ring::digest::{Context as Digest, SHA256};
use shared_middleware::{clock::Clock, hex::hex};

pub(crate) use self::restore::{expect_whole, restore};
use self::{
    manifest::{Entry, Manifest},
    snapshot::StoresSnapshot,
};
use crate::{
    config::{Config, EventLogConfig, SERVICES},
    ops::progress::Progress,
};

const KEYS: &str = "keys";
const PKI: &str = "pki";
const AUDIT: &str = "audit";
const OUTBOX: &str = "outbox";
/// A folder whose files somebody may be writing is read again so often at most.
const READS_MAX: u32 = 50;
const BETWEEN_READS: Duration = Duration::from_millis(20);

/// What a backup is of, and where each is: names in the backup, and paths here.
struct Layout {
    stores: Vec<(String, PathBuf)>,
    keys: PathBuf,
    pki: PathBuf,
    audit: PathBuf,
    outbox: PathBuf,
}

/// Names and contents, in order.
type Files = Vec<(String, Vec<u8>)>;

/// What a look into a folder found.
#[derive(Default)]
struct Found {
    files: Files,
    /// Somebody was writing, or had been.
    unfinished: bool,
    /// This many looks before found the same.
    same_since: u32,
}

/// `medisync backup DIR`.
pub(crate) fn backup(config: &Config, dir: &Path) -> anyhow::Result<()> {
    let layout = Layout::of(config, "backed up")?;
    for (name, path) in &layout.stores {
        if !path.exists() {
            let at = path.display();
            bail!("there is no {name} at {at} (--data-dir says where the mesh keeps its data)");
        }
    }
    expect_empty(dir)?;
    let (partial, _lock) = begin_partial(dir)?;
    let written = write(&layout, &partial).and_then(|manifest| {
        fs::rename(&partial, dir).with_context(|| format!("cannot make {}", dir.display()))?;
        sync_folder(parent(dir)).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(manifest)
    });
    let manifest = match written {
        Ok(manifest) => manifest,
        Err(error) => {
            // Half a backup is of no use to anybody.
            let _ = fs::remove_dir_all(&partial);
            return Err(error);
        }
    };
    let (files, bytes) = (manifest.files.len(), manifest.bytes());
    say!("backed up into {}: {files} files, {bytes} bytes, as of {}", dir.display(), manifest.at)?;
    say!("it holds patients and keys: keep it as safe as the mesh itself")?;
    Ok(())
}

/// A folder beside the backup's, which gets its name when all is there; and the lock on it. What a
/// backup that was cut off has left in it goes.
fn begin_partial(dir: &Path) -> anyhow::Result<(PathBuf, File)> {
    let mut partial = dir.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let cannot = || format!("cannot make {}", partial.display());
    make_folder(&partial).with_context(cannot)?;
    if !is_ours_alone(&partial).with_context(cannot)? {
        bail!("{} is there, and others can write to it: remove it", partial.display());
    }
    let lock = File::open(&partial).with_context(cannot)?;
    if lock.try_lock().is_err() {
        bail!("another backup into {} is being made", dir.display());
    }
    for entry in fs::read_dir(&partial).with_context(cannot)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok((partial, lock))
}

/// Writes everything into this folder.
fn write(layout: &Layout, dir: &Path) -> anyhow::Result<Manifest> {
    let mut progress = Progress::new("bytes");
    progress.begin("waiting for the stores");
    let cut = StoresSnapshot::take(&layout.stores, &layout.outbox, &Clock::system())?;
    let mut manifest = Manifest::new(cut.at);
    let mut done = 0;
    let total = cut.bytes();
    for snapshot in &cut.snapshots {
        progress.begin(&snapshot.name);
        let path = dir.join(&snapshot.name);
        let before = done;
        snapshot.copy(&path, |bytes| {
            done = before + bytes;
            progress.show(done, total);
        })?;
        manifest.files.push(entry(&snapshot.name, &path)?);
    }
    for (name, folder) in [(KEYS, &layout.keys), (PKI, &layout.pki), (AUDIT, &layout.audit)] {
        for (file, bytes) in settled(folder)? {
            let name = format!("{name}/{file}");
            write_file(&dir.join(&name), &bytes)?;
            manifest.files.push(entry(&name, &dir.join(&name))?);
        }
    }
    progress.begin(OUTBOX);
    for file in &cut.messages {
        let name = format!("{OUTBOX}/{file}");
        match fs::read(layout.outbox.join(file)) {
            Ok(bytes) => write_file(&dir.join(&name), &bytes)?,
            // Anyone who took it away did so after the cut.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
        }
        manifest.files.push(entry(&name, &dir.join(&name))?);
    }
    manifest.write(dir)?;
    for folder in [KEYS, PKI, AUDIT, OUTBOX].map(|name| dir.join(name)) {
        if folder.exists() {
            sync_folder(&folder).with_context(|| format!("cannot write {}", folder.display()))?;
        }
    }
    sync_folder(dir).with_context(|| format!("cannot write {}", dir.display()))?;
    progress.end();
    Ok(manifest)
}

// === impl Layout ===

impl Layout {
    /// Of a mesh whose stores are all files. `done` is what cannot be done with others.
    fn of(config: &Config, done: &str) -> anyhow::Result<Self> {
        let mut stores = Vec::new();
        for part in SERVICES {
            match &config.database(part).url {
                DbUrl::Sqlite(path) => stores.push((format!("{part}.db"), path.clone())),
                other => bail!(
                    "the store of {part} ({other:?}) is not {done} here: use pg_dump or \
                     PostgreSQL's PITR (docs/operations.md says what has to match)"
                ),
            }
        }
        if !matches!(config.events, EventLogConfig::Embedded) {
            bail!(
                "the event log is on Kafka, and is not {done} here: Kafka's own replication and \
                 mirroring keep it, pg_dump or PITR the stores (docs/operations.md says what has \
                 to match)"
            );
        }
        stores.push(("events.db".to_owned(), config.events_path()));
        Ok(Self {
            stores,
            keys: config.auth.keys_dir.clone(),
            pki: config.pki_dir(),
            audit: config.data_dir.join(AUDIT),
            outbox: config.notification.outbox_dir.clone(),
        })
    }

    /// Where a file of a backup belongs; nowhere when no backup has such a file.
    fn place(&self, name: &str) -> Option<PathBuf> {
        if let Some((_, path)) = self.stores.iter().find(|(store, _)| store == name) {
            return Some(path.clone());
        }
        let (folder, file) = name.split_once('/')?;
        let plain = !file.is_empty() && !file.starts_with('.') && !file.contains(['/', '\0']);
        let folder = match folder {
            KEYS => &self.keys,
            PKI => &self.pki,
            AUDIT => &self.audit,
            OUTBOX => &self.outbox,
            _ => return None,
        };
        plain.then(|| folder.join(file))
    }
}

fn expect_empty(dir: &Path) -> anyhow::Result<()> {
    match fs::read_dir(dir).map(|entries| entries.count()) {
        Ok(0) => Ok(()),
        Ok(_) => bail!("{} is not empty", dir.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot use {}", dir.display())),
    }
}

/// A folder's files by name, as they are when nobody is writing one: a key and its certificate are
/// two files, and belong together.
fn settled(folder: &Path) -> anyhow::Result<Files> {
    let mut before = read_all(folder)?;
    for _ in 0..READS_MAX {
        thread::sleep(BETWEEN_READS);
        let now = read_all(folder)?;
        let same = now.files == before.files;
        if same && !now.unfinished {
            return Ok(now.files);
        }
        before = Found { same_since: if same { before.same_since + 1 } else { 0 }, ..now };
    }
    // What nobody finished all that time was left behind by a crash.
    if before.same_since + 1 >= READS_MAX {
        return Ok(before.files);
    }
    bail!("{} is being changed all the time", folder.display())
}

fn read_all(folder: &Path) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        entries => entries.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !entry.file_type()?.is_file() || name.starts_with('.') {
            continue;
        }
        if name.ends_with(UNFINISHED) {
            found.unfinished = true;
            continue;
        }
        match fs::read(entry.path()) {
            Ok(bytes) => found.files.push((name, bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => found.unfinished = true,
            read => {
                read.with_context(|| format!("cannot read {}", entry.path().display()))?;
            }
        }
    }
    found.files.sort();
    Ok(found)
}

/// Writes a file that only its owner can read, and sees to it that it is on disk.
fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || {
        make_folder(parent(path))?;
        let mut file = create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A file as the manifest lists it.
fn entry(name: &str, path: &Path) -> anyhow::Result<Entry> {
    let mut digest = Digest::new(&SHA256);
    let bytes = each_block(path, |block| {
        digest.update(block);
        Ok(())
    })
    .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Entry { path: name.to_owned(), bytes, sha256: hex(digest.finish().as_ref()) })
}

/// Reads a file block by block: how long it is.
fn each_block(
    path: &Path,
    mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<u64> {
    let (mut file, mut block, mut bytes) = (File::open(path)?, vec![0; 1 << 16], 0);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(bytes),
            read => {
                take(&block[..read])?;
                bytes += read as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_unfinished_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), "whole").unwrap();
        fs::write(folder.path().join("ca.key.7.tmp"), "half").unwrap();
        let files = settled(folder.path()).unwrap();
        assert_eq!(files, [("ca.pem".to_owned(), b"whole".to_vec())]);
        assert!(settled(&folder.path().join("none")).unwrap().is_empty());
    }
}
