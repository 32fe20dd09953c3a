//! Key files: `<milliseconds since 1970>-<8 random hex digits>.der`, PKCS#8, readable by the owner.
//!
//! The name is the key's id, and sorts by age. A file is complete when it has its name. Anyone who
//! makes a key has the folder to itself, so that two processes that start at once make one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kit::files::Folder;
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};

use super::KeysError;

const ENDING: &str = "der";

/// A key file's name, read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) created_ms: i64,
    pub(super) kid: String,
}

/// Whether a key is made beside others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    IfNone,
}

// === impl Name ===

impl Name {
    fn parse(kid: &str) -> Option<Self> {
        let (created_ms, random) = kid.split_once('-')?;
        let hex = random.len() == 8 && random.bytes().all(|b| b.is_ascii_hexdigit());
        let digits = created_ms.len() == 13 && created_ms.bytes().all(|b| b.is_ascii_digit());
        let created_ms = created_ms.parse().ok()?;
        (hex && digits).then(|| Self { created_ms, kid: kid.to_owned() })
    }
}

/// Where a key's file lies.
pub(super) fn path(dir: &Path, kid: &str) -> PathBuf {
    dir.join(kid).with_extension(ENDING)
}

/// The keys in the folder, oldest first. No folder has no keys.
pub(super) fn names(dir: &Path) -> Result<Vec<Name>, KeysError> {
    let unread = |error| KeysError::Read(error, dir.to_owned());
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unread(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.map_err(unread)?.path();
        if path.extension().is_some_and(|ending| ending == ENDING) {
            let name = path.file_stem().and_then(|stem| Name::parse(stem.to_str()?));
            names.push(name.ok_or(KeysError::Misnamed(path))?);
        }
    }
    names.sort();
    Ok(names)
}

/// Makes a key that is newer than all others; returns its id.
pub(super) fn make(dir: &Path, now_ms: i64, when: When) -> Result<String, KeysError> {
    let unwritten = |error| KeysError::Write(error, dir.to_owned());
    let folder = Folder::make(dir).map_err(unwritten)?;
    folder.sweep().map_err(unwritten)?;
    let created_ms = match names(dir)?.pop() {
        Some(newest) if when == When::IfNone => return Ok(newest.kid),
        Some(newest) => now_ms.max(newest.created_ms + 1),
        None => now_ms,
    };

    let random = SystemRandom::new();
    let mut suffix = [0; 4];
    random.fill(&mut suffix).map_err(|_| KeysError::NoRandomness)?;
    let suffix = u32::from_be_bytes(suffix);
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
        .map_err(|_| KeysError::NoRandomness)?;
    let kid = format!("{created_ms:013}-{suffix:08x}");
    folder.write(format!("{kid}.{ENDING}"), pkcs8.as_ref()).map_err(unwritten)?;
    Ok(kid)
}

/// Removes a key's file.
pub(super) fn forget(dir: &Path, kid: &str) -> io::Result<()> {
    fs::remove_file(path(dir, kid))
}
