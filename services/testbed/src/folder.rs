//! A folder that is gone when its owner is, even one that was killed.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use tempfile::TempDir;

use crate::installed;

/// Removes the folder once its input ends, which is when the owner is gone. It tries again while
/// servers that die at the same time still write.
const JANITOR: &str = r#"cat > /dev/null; until rm -rf -- "$1"; do sleep 0.1; done"#;

/// Memory that looks like a disk. A server that is killed there loses no more than elsewhere, for
/// what it wrote is the system's; and `fsync` does not wait for what builds and other tests write.
const MEMORY: &str = "/dev/shm";
/// With less it may not do for all servers of a test.
const MEMORY_AT_LEAST_BYTES: u64 = 4 << 30;

/// Where folders are made, if somebody said so.
static PLACE: OnceLock<PathBuf> = OnceLock::new();

/// A temporary folder.
pub(crate) struct Folder {
    /// Dropped first.
    folder: TempDir,
    janitor: Child,
}

// === impl Folder ===

impl Folder {
    pub(crate) fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("medisync-testbed-").tempdir_in(parent())?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let mut janitor = Command::new("sh");
        janitor.args(["-c", JANITOR, "sh"]).arg(folder.path()).current_dir("/");
        // In a group of its own: Ctrl-C ends the owner, not the cleaning.
        janitor.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Ok(Self { janitor: janitor.spawn()?, folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a file or folder the own of the user as whom servers run.
    pub(crate) fn give_away(path: &Path, user: Option<(u32, u32)>) -> io::Result<()> {
        let Some((uid, gid)) = user else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(uid), Some(gid))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}

/// From now on servers of this process keep what they have in this folder: on a real disk, for who
/// measures. When we are root, `nobody` must be able to enter it.
pub fn keep_in(place: &Path) {
    // The first word counts: servers that run already would not move.
    let _ = PLACE.set(place.to_owned());
}

/// In any case one that PostgreSQL may enter when it does not run as root.
fn parent() -> PathBuf {
    if let Some(place) = PLACE.get() {
        return place.clone();
    }
    let free = rustix::fs::statvfs(MEMORY).map_or(0, |it| it.f_bavail * it.f_frsize);
    if free >= MEMORY_AT_LEAST_BYTES {
        return MEMORY.into();
    }
    if installed::is_root() { PathBuf::from("/tmp") } else { std::env::temp_dir() }
}
