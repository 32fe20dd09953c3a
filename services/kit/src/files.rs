//! Files that are their owner's alone, and that are there whole or not at all.
//!
//! Whatever writes keys, certificates or lists of ours does so by a [`Folder`]: locked against
//! everybody else who does, each file under a temporary name, on disk, then under its own. A
//! process that is killed leaves at most a temporary file, which the next one writes over or
//! removes. The lock is the system's, and goes with the process.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// What the names of unfinished files end with.
pub const UNFINISHED: &str = "tmp";

/// A folder of ours that nobody else writes to meanwhile.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Holds the lock.
    file: File,
}

// === impl Folder ===

impl Folder {
    /// Locks a folder, which is made if it is not there.
    pub fn make(path: &Path) -> io::Result<Self> {
        make_folder(path)?;
        Self::lock(path)
    }

    /// The same, of a folder that is there.
    pub fn lock(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        file.lock()?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Removes what processes that were killed have left unfinished: in a folder that is all ours.
    pub fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == UNFINISHED) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Where a file of it is.
    pub fn place(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file, or puts this in its place: whole, or not at all. It is on disk afterwards.
    pub fn write(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.place(unfinished(name.as_ref()));
        let mut file = create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(unfinished, self.place(name.as_ref()))?;
        self.file.sync_all()
    }

    /// Gives a file another name, in place of the one that has it.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.place(from), self.place(to))?;
        self.file.sync_all()
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.place(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.file.sync_all(),
        }
    }
}

/// A folder that only its owner can look into, with those above it. Each that is new is on disk.
pub fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    if above != path {
        make_folder(above)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        // Another process was first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    sync_folder(above)
}

/// An empty file that only its owner can read, in place of what has its name: a file that somebody
/// else has put there, or a link, is not written into.
pub fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// Whether nobody else can put anything into this folder: it is no link, and ours alone to write.
pub fn is_ours_alone(folder: &Path) -> io::Result<bool> {
    let about = fs::symlink_metadata(folder)?;
    let ours = about.uid() == rustix::process::geteuid().as_raw();
    Ok(about.is_dir() && ours && about.mode() & 0o022 == 0)
}

/// Names in a folder are on disk after this.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The folder that a file is in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

fn unfinished(name: &OsStr) -> OsString {
    let mut unfinished = name.to_owned();
    unfinished.push(".");
    unfinished.push(UNFINISHED);
    unfinished
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, thread};

    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_somebody_else_has_put_there_is_not_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let [other, link, shared] = ["other", "link", "shared"].map(|it| folder.path().join(it));
        fs::write(&other, "theirs").unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o666)).unwrap();
        symlink(&other, &link).unwrap();
        let held = File::open(&other).unwrap();
        for path in [&link, &other] {
            create(path).unwrap().write_all(b"ours").unwrap();
            assert_eq!(fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let mut theirs = String::new();
        io::Read::read_to_string(&mut &held, &mut theirs).unwrap();
        assert_eq!(theirs, "theirs");
        make_folder(&shared).unwrap();
        assert!(is_ours_alone(&shared).unwrap());
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
        symlink(&shared, folder.path().join("to-shared")).unwrap();
        assert!(!is_ours_alone(&shared).unwrap());
        assert!(!is_ours_alone(&folder.path().join("to-shared")).unwrap());
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_its_owners_alone_and_there_whole() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::make(&root.path().join("a/b")).unwrap();
        folder.write("key", b"one").unwrap();
        folder.write("key", b"another").unwrap();
        assert_eq!(fs::read(folder.place("key")).unwrap(), b"another");
        assert_eq!(fs::read_dir(root.path().join("a/b")).unwrap().count(), 1);
        assert_eq!((mode(&folder.path), mode(&folder.place("key"))), (0o700, 0o600));
    }

    #[test]
    fn what_a_killed_process_left_unfinished_is_removed_by_the_next() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("ca.key.4711.tmp"), "half").unwrap();
        fs::write(root.path().join("ca.key"), "whole").unwrap();
        Folder::make(root.path()).unwrap().sweep().unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_many_that_write_at_once_each_has_the_folder_to_itself() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("count"), "0").unwrap();
        let add = || {
            let folder = Folder::lock(root.path()).unwrap();
            let count: u32 = fs::read_to_string(folder.place("count")).unwrap().parse().unwrap();
            folder.write("count", (count + 1).to_string().as_bytes()).unwrap();
        };
        thread::scope(|scope| (0..16).for_each(|_| drop(scope.spawn(add))));
        assert_eq!(fs::read_to_string(root.path().join("count")).unwrap(), "16");
    }
}
