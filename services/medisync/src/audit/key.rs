//! The key that audit trails are sealed with: given, or a file that is made at the first start.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Context as _;
use kit::audit::AuditKey;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::{config::AuditKeySource, pki::make_private_folder};

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
        AuditKeySource::File(path) => fs::read_to_string(path)
            .with_context(|| format!("cannot read {} (audit.key)", path.display()))?
            .parse()
            .with_context(|| format!("{} (audit.key)", path.display())),
    }
}

/// Whole or not at all; of several processes that do so at once, one wins.
fn make(path: &Path) -> anyhow::Result<()> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("no randomness"))?;
    if let Some(folder) = path.parent() {
        make_private_folder(folder)?;
    }
    let written = path.with_added_extension(format!("{}.tmp", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&written)?;
    writeln!(file, "{}", AuditKey::new(bytes).to_hex())?;
    file.sync_all()?;
    let linked = fs::hard_link(&written, path);
    fs::remove_file(&written)?;
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        done => Ok(done?),
    }
}
