//! Room on the disk that is kept for the audit log: anyone who reads is recorded, and patients'
//! records are to be read when the disk is full, too.
//!
//! The room is a file beside the store. When a commit finds the disk full the file goes, and until
//! it can be made again the store takes entries of the audit log only, which then have its room for
//! themselves.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, fallocate, statvfs},
    io::Errno,
};

/// At most: an entry takes some hundred bytes.
const BYTES_MAX: u64 = 8 << 20;
/// Of a small disk, no more than one part in this many.
const SHARE_OF_DISK: u64 = 16;

/// A store's reserve.
pub(super) struct DiskReserve {
    path: PathBuf,
    is_spent: bool,
}

// === impl DiskReserve ===

impl DiskReserve {
    /// Beside this store. On a disk without room for it, it is spent from the start.
    pub(super) fn beside(store: &Path) -> Self {
        let mut path = store.as_os_str().to_owned();
        path.push("-reserve");
        let mut reserve = Self { path: path.into(), is_spent: true };
        reserve.renew();
        reserve
    }

    /// Whether only the audit log is written.
    pub(super) const fn is_spent(&self) -> bool {
        self.is_spent
    }

    /// The disk is full: the room that was kept is there from now on.
    pub(super) fn spend(&mut self) {
        if !self.is_spent {
            self.is_spent = true;
            let _ = fs::remove_file(&self.path);
            tracing::error!(
                "disk full: until there is space, only audit entries are written, so that \
                 reading goes on"
            );
        }
    }

    /// Keeps room again as soon as there is twice as much as is kept; whether it does.
    pub(super) fn renew(&mut self) -> bool {
        match self.keep() {
            Ok(kept) => self.is_spent = !kept,
            Err(error) => tracing::debug!(error = %error, "cannot allocate the audit disk reserve"),
        }
        !self.is_spent
    }

    fn keep(&self) -> io::Result<bool> {
        let disk = statvfs(self.path.parent().unwrap_or(Path::new(".")))?;
        let bytes = BYTES_MAX.min(disk.f_blocks.saturating_mul(disk.f_frsize) / SHARE_OF_DISK);
        if fs::metadata(&self.path).is_ok_and(|kept| kept.len() >= bytes) {
            return Ok(true);
        }
        if disk.f_bavail.saturating_mul(disk.f_frsize) < 2 * bytes {
            return Ok(false);
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        allocate(&file, bytes).inspect_err(|_| {
            // Part of it would only take what room there is.
            let _ = fs::remove_file(&self.path);
        })?;
        Ok(true)
    }
}

/// Has the disk set the room aside; where it cannot, it is filled.
fn allocate(mut file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file)?;
            file.flush()
        }
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_kept_until_it_is_needed_and_then_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.db");
        let file = folder.path().join("store.db-reserve");
        let mut reserve = DiskReserve::beside(&store);
        assert!(!reserve.is_spent());
        assert_eq!(fs::metadata(&file).unwrap().len(), BYTES_MAX);
        assert!(!DiskReserve::beside(&store).is_spent(), "it is there already");
        reserve.spend();
        assert!(reserve.is_spent() && !file.exists());
        assert!(reserve.renew() && !reserve.is_spent() && file.exists());
    }

    #[test]
    fn where_no_room_can_be_kept_it_is_spent() {
        let nowhere = tempfile::tempdir().unwrap().path().join("gone/store.db");
        assert!(DiskReserve::beside(&nowhere).is_spent());
    }
}
