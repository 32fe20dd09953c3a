//! Puts a backup where nothing is yet. Everything is looked at before anything is written.
//!
//! While files are put there, a list of them lies in the data directory ([`MARK`]): one that has it
//! is half restored, and nothing but another restore may use it. That one removes them first.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use kit::files::{Folder, create, make_folder, parent, sync_folder};
use ring::digest::{Context as Digest, SHA256};
use shared_middleware::hex::hex;

use super::{
    Layout, each_block,
    manifest::{Entry, Manifest},
};
use crate::{config::Config, ops::progress::Progress};

/// Names, one a line, what a restore that has not ended puts into a data directory.
const MARK: &str = "restore.unfinished";
/// What stands at the end of a file's name until all of them are there.
const RESTORING: &str = ".restoring";

/// A file of the backup, and where it belongs.
struct Move<'m> {
    entry: &'m Entry,
    from: PathBuf,
    to: PathBuf,
}

/// `medisync restore DIR`.
pub(crate) fn restore(config: &Config, dir: &Path) -> anyhow::Result<()> {
    let layout = Layout::of(config, "restored")?;
    let manifest = Manifest::read(dir)?;
    let moves = moves(&layout, dir, &manifest)?;
    let before = left_by_another(&config.data_dir)?;
    expect_nothing(&layout, &moves, &before)?;
    let mut progress = Progress::new("bytes");
    let total = 2 * manifest.bytes();
    let mut done = 0;
    for each in &moves {
        progress.begin(&format!("checking {}", each.entry.path));
        each.check()?;
        done += each.entry.bytes;
        progress.show(done, total);
    }
    let folder = begin(&config.data_dir, &layout, &moves)?;
    let copied = moves.iter().try_for_each(|each| {
        progress.begin(&each.entry.path);
        done += each.entry.bytes;
        progress.show(done, total);
        each.copy()
    });
    if let Err(error) = copied.and_then(|()| finish(&moves)) {
        for each in &moves {
            let _ = fs::remove_file(each.unfinished());
        }
        let _ = folder.remove(MARK);
        return Err(error);
    }
    folder.remove(MARK).with_context(|| format!("cannot remove {MARK}"))?;
    progress.end();
    let (files, at, version) = (moves.len(), manifest.at, &manifest.version);
    let data = config.data_dir.display();
    say!("restored {files} files into {data}, as of {at} (MediSync {version})")?;
    say!(
        "next: start the mesh on it (`medisync up --data-dir {data}`, or `run`). What was done \
         after {at} is gone, sign-outs and disabled users among it: look at `medisync user list`"
    )?;
    Ok(())
}

/// Whether a data directory can be used: what is restored to a half is no mesh's.
pub(crate) fn expect_whole(data: &Path) -> anyhow::Result<()> {
    if data.join(MARK).exists() {
        bail!(
            "a restore into {} was cut off, or goes on: run `medisync restore` again, with the \
             same backup or another",
            data.display()
        );
    }
    Ok(())
}

/// What a restore that was cut off has put here, or was about to.
fn left_by_another(data: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    match fs::read_to_string(data.join(MARK)) {
        Ok(list) => Ok(list.lines().map(PathBuf::from).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {MARK}")),
    }
}

/// Has the data directory to itself from here on, marks it, and removes what one before us left.
fn begin(data: &Path, layout: &Layout, moves: &[Move<'_>]) -> anyhow::Result<Folder> {
    let cannot = || format!("cannot write {}", data.display());
    let folder = Folder::make(data).with_context(cannot)?;
    let before = left_by_another(data)?;
    // Another restore may have been first.
    expect_nothing(layout, moves, &before)?;
    let mut all: BTreeSet<_> = moves.iter().map(|each| each.to.clone()).collect();
    all.extend(before.iter().cloned());
    let list: String = all.iter().map(|path| format!("{}\n", path.display())).collect();
    folder.write(MARK, list.as_bytes()).with_context(cannot)?;
    for path in before.iter().flat_map(|path| [path.clone(), with_end(path, RESTORING)]) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(folder)
}

/// Every file's way; a list that is odd, or lacks a store, is refused.
fn moves<'m>(layout: &Layout, dir: &Path, manifest: &'m Manifest) -> anyhow::Result<Vec<Move<'m>>> {
    let (mut moves, mut seen) = (Vec::new(), BTreeSet::new());
    for entry in &manifest.files {
        let name = &entry.path;
        let to = layout.place(name).filter(|_| seen.insert(name.clone()));
        let to = to.with_context(|| format!("backup.json is damaged: it lists {name:?}"))?;
        moves.push(Move { entry, from: dir.join(name), to });
    }
    if let Some((store, _)) = layout.stores.iter().find(|(store, _)| !seen.contains(store)) {
        bail!("backup.json is damaged: it does not list {store}");
    }
    // The stores come last: what has all of them has everything.
    moves.sort_by_key(|each| layout.stores.iter().any(|(name, _)| *name == each.entry.path));
    Ok(moves)
}

/// A store that is there is not written over, and neither is what SQLite keeps beside one: it would
/// take that for the restored one's. What a restore before us left is as good as nothing.
fn expect_nothing(
    layout: &Layout,
    moves: &[Move<'_>],
    before: &BTreeSet<PathBuf>,
) -> anyhow::Result<()> {
    let beside = ["-wal", "-shm", "-journal"];
    let beside = layout.stores.iter().flat_map(|(_, path)| beside.map(|end| with_end(path, end)));
    let targets = moves.iter().map(|each| each.to.clone());
    let is_there = |path: &PathBuf| path.symlink_metadata().is_ok() && !before.contains(path);
    if let Some(there) = targets.chain(beside).find(is_there) {
        bail!(
            "{} is there already: restore into a data directory that has no stores yet \
             (--data-dir)",
            there.display()
        );
    }
    Ok(())
}

/// Gives all files their names, or none.
fn finish(moves: &[Move<'_>]) -> anyhow::Result<()> {
    for (place, each) in moves.iter().enumerate() {
        if let Err(error) = fs::rename(each.unfinished(), &each.to) {
            for done in &moves[..place] {
                let _ = fs::remove_file(&done.to);
            }
            return Err(error).with_context(|| format!("cannot make {}", each.to.display()));
        }
    }
    let folders: BTreeSet<_> = moves.iter().map(|each| parent(&each.to)).collect();
    folders.into_iter().try_for_each(sync_folder).context("cannot write the restored folders")
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

// === impl Move ===

impl Move<'_> {
    fn unfinished(&self) -> PathBuf {
        with_end(&self.to, RESTORING)
    }

    /// Whether the file is the one that was written.
    fn check(&self) -> anyhow::Result<()> {
        let about = self.from.symlink_metadata();
        let about = about.with_context(|| format!("{} is missing", self.from.display()))?;
        if !about.is_file() || about.len() != self.entry.bytes {
            bail!("{} is damaged: it is not as long as it was", self.from.display());
        }
        self.read(|_| Ok(()))
    }

    /// Copies it to a name of its own beside its place, and on disk.
    fn copy(&self) -> anyhow::Result<()> {
        let unfinished = self.unfinished();
        let cannot = || format!("cannot write {}", unfinished.display());
        make_folder(parent(&self.to)).with_context(cannot)?;
        let mut file = create(&unfinished).with_context(cannot)?;
        self.read(|block| file.write_all(block))?;
        file.sync_all().with_context(cannot)
    }

    fn read(&self, mut take: impl FnMut(&[u8]) -> std::io::Result<()>) -> anyhow::Result<()> {
        let mut digest = Digest::new(&SHA256);
        let read = each_block(&self.from, |block| {
            digest.update(block);
            take(block)
        });
        read.with_context(|| format!("cannot copy {}", self.from.display()))?;
        if hex(digest.finish().as_ref()) != self.entry.sha256 {
            bail!("{} is damaged: its checksum is another", self.from.display());
        }
        Ok(())
    }
}
