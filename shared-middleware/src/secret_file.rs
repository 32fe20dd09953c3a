//! Files that hold a secret: read only when nobody else can.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Why a secret was not read. The file is named, never quoted.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("cannot read {}", .1.display())]
    Read(#[source] io::Error, PathBuf),
    /// Others than its owner can read it.
    #[error("{} is a secret that others can read (mode {mode:04o}): make it 0600", .path.display())]
    Exposed {
        /// Where.
        path: PathBuf,
        /// Who may do what with it.
        mode: u32,
    },
}

/// What is in a file that nobody else can read.
///
/// # Errors
/// When it cannot be read, or others can.
pub fn read(path: &Path) -> Result<Vec<u8>, SecretFileError> {
    let failed = |error| SecretFileError::Read(error, path.to_owned());
    let mut file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    let (mode, ours) = (about.mode() & 0o777, about.uid() == rustix::process::geteuid().as_raw());
    if !is_private(mode, about.uid(), ours) {
        return Err(SecretFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The owner alone, as with ssh; or root's and read by a group that we are in, as Kubernetes mounts
/// secrets. PostgreSQL holds its key to the same rule.
const fn is_private(mode: u32, owner: u32, ours: bool) -> bool {
    let others = if owner == 0 && !ours { 0o037 } else { 0o077 };
    mode & others == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_by_its_owner_alone_or_by_a_group_that_root_gave_it_to() {
        const ROOT: u32 = 0;
        const SOMEBODY: u32 = 1000;
        for (mode, owner, ours, private) in [
            (0o600, SOMEBODY, true, true),
            (0o400, SOMEBODY, true, true),
            (0o600, ROOT, true, true),
            (0o440, ROOT, false, true),
            (0o640, ROOT, false, true),
            (0o440, ROOT, true, false),
            (0o640, SOMEBODY, true, false),
            (0o440, SOMEBODY, false, false),
            (0o660, ROOT, false, false),
            (0o644, ROOT, false, false),
            (0o444, ROOT, false, false),
            (0o604, SOMEBODY, true, false),
            (0o620, SOMEBODY, true, false),
        ] {
            assert_eq!(is_private(mode, owner, ours), private, "{mode:o} of {owner}, {ours}");
        }
    }
}
