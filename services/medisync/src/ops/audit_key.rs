//! The key that audit logs are sealed with: given, or a file that is made at the first start.

use std::path::Path;

use anyhow::Context as _;
use kit::{
    audit::AuditKey,
    files::{Folder, parent},
};
use ring::rand::{SecureRandom as _, SystemRandom};
use shared_middleware::secret_file;

use crate::config::AuditKeySource;

/// The key; its file is made when it is not there.
pub(crate) fn ensure(source: &AuditKeySource) -> anyhow::Result<AuditKey> {
    let AuditKeySource::File(path) = source else { return load(source) };
    if !path.exists() {
        make(path).with_context(|| format!("cannot make {} (audit.key)", path.display()))?;
    }
    load(source)
}

/// The key that is there.
pub(crate) fn load(source: &AuditKeySource) -> anyhow::Result<AuditKey> {
    match source {
        AuditKeySource::Given(key) => Ok(key.clone()),
        AuditKeySource::File(path) => {
            let key =
                secret_file::read(path).context("the audit key (audit.key) cannot be used")?;
            let key = String::from_utf8(key).unwrap_or_default();
            key.parse().with_context(|| format!("{} (audit.key)", path.display()))
        }
    }
}

/// Of several processes that do so at once, one makes it: anyone who holds the folder's lock, which
/// goes with the process.
fn make(path: &Path) -> anyhow::Result<()> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("no randomness"))?;
    let folder = Folder::make(parent(path))?;
    if path.exists() {
        return Ok(());
    }
    let name = path.file_name().context("it is no file")?;
    Ok(folder.write(name, format!("{}\n", AuditKey::new(bytes).to_hex()).as_bytes())?)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, thread};

    use super::*;

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let source = AuditKeySource::File(path.clone());
        ensure(&source).unwrap();
        for (mode, good) in [(0o644, false), (0o640, false), (0o600, true), (0o400, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(load(&source).is_ok(), good, "{mode:o}");
        }
    }

    #[test]
    fn of_many_that_make_the_key_at_once_all_have_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let source = AuditKeySource::File(folder.path().join("audit/key"));
        let keys: Vec<_> = thread::scope(|scope| {
            let making: Vec<_> = (0..16).map(|_| scope.spawn(|| ensure(&source))).collect();
            making.into_iter().map(|one| one.join().unwrap().unwrap().to_hex()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        assert_eq!(fs::read_dir(folder.path().join("audit")).unwrap().count(), 1);
    }
}
