//! The signing keys: which of them signs, which are published, and when one may be forgotten.
//!
//! Every file in the folder is a key (`files` says how); the newest signs. A new key is published
//! for some seconds before it signs, so that anyone who verifies has it when its first token comes.
//! An older key stays published until the last token that it signed has expired; then its file
//! goes.
//!
//! Keys are looked at again and again, so a rotation needs no restart, and replicas that share the
//! folder follow.

mod files;
mod key_set;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header};
use shared_middleware::{
    clock::Clock,
    secret_file::SecretFileError,
    token::{Claims, HEARD_WITHIN_S, Jwk},
};
use tokio::task::spawn_blocking;

use self::key_set::SigningKeySet;

/// A new key is published so long before it signs: replicas find it within half a second, and parts
/// hear of it within [`HEARD_WITHIN_S`], also when the replica that they listen to hangs.
pub(crate) const LEAD_MS: i64 = (HEARD_WITHIN_S as i64 + 2) * 1000;

/// The signing keys of a running service.
pub(crate) struct Keys {
    dir: PathBuf,
    token_ttl_s: i64,
    clock: Clock,
    ring: ArcSwap<SigningKeySet>,
}

/// What is wrong with the keys. A file is named, never quoted.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The folder or a file cannot be read.
    #[error("cannot read {}", .1.display())]
    Read(#[source] io::Error, PathBuf),
    /// The folder or a file cannot be written.
    #[error("cannot write {}", .1.display())]
    Write(#[source] io::Error, PathBuf),
    /// Others can read a key.
    #[error(transparent)]
    Exposed(SecretFileError),
    /// A file is no key.
    #[error("{} is no signing key (PKCS#8, P-256)", .0.display())]
    Broken(PathBuf),
    /// A file has a key's ending, and not a key's name.
    #[error("{} is not named as `medisync keys rotate` names a signing key", .0.display())]
    Misnamed(PathBuf),
    /// No key is left in the folder.
    #[error("there is no signing key in {}", .0.display())]
    Missing(PathBuf),
    /// The machine gave no random bytes.
    #[error("no randomness for a signing key")]
    NoRandomness,
    /// A token could not be signed.
    #[error("a token could not be signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
    /// A thread ended.
    #[error("reading the signing keys broke off")]
    BrokeOff(#[from] tokio::task::JoinError),
}

/// Makes a new signing key beside those in this folder; returns its id. A running service takes it
/// up by itself. Where there is none, auth never signed: it would not read one that is made there.
pub fn rotate(dir: &Path) -> Result<String, KeysError> {
    if files::names(dir)?.is_empty() {
        return Err(KeysError::Missing(dir.to_owned()));
    }
    rotate_at(dir, Clock::system().now())
}

/// As [`rotate`], at this time. It is newer than all others, even if clocks differ.
pub(crate) fn rotate_at(dir: &Path, now: Timestamp) -> Result<String, KeysError> {
    files::make(dir, now.as_millisecond(), files::When::Always)
}

// === impl Keys ===

impl Keys {
    /// Reads the folder; makes the first key when there is none.
    pub(crate) async fn open(
        dir: PathBuf,
        token_ttl_s: i64,
        clock: Clock,
    ) -> Result<Self, KeysError> {
        let now_ms = clock.now().as_millisecond();
        let folder = dir.clone();
        let ring = spawn_blocking(move || {
            if files::names(&folder)?.is_empty() {
                files::make(&folder, now_ms, files::When::IfNone)?;
            }
            SigningKeySet::read(&folder, &[], now_ms, token_ttl_s)
        })
        .await??;
        Ok(Self { dir, token_ttl_s, clock, ring: ArcSwap::from_pointee(ring) })
    }

    /// Looks at the folder and at the clock again. When it fails, what was read stays in force.
    pub(crate) async fn look(&self) -> Result<(), KeysError> {
        let now_ms = self.clock.now().as_millisecond();
        let known = self.ring.load_full();
        let (dir, token_ttl_s) = (self.dir.clone(), self.token_ttl_s);
        let ring = spawn_blocking(move || {
            let ring = SigningKeySet::read(&dir, known.keys(), now_ms, token_ttl_s)?;
            for key in ring.retired() {
                // It is not published any more; another replica may have been first.
                if let Err(error) = files::forget(&dir, key.kid()) {
                    tracing::debug!(key.id = key.kid(), error = %error, "a retired key stays");
                }
            }
            Ok::<_, KeysError>(ring)
        })
        .await??;
        let before = self.ring.swap(Arc::new(ring));
        let now = self.ring.load();
        if before.version() != now.version() {
            tracing::info!(keys.version = now.version(), "the published signing keys changed");
        }
        Ok(())
    }

    /// A signed token that says this.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, KeysError> {
        let ring = self.ring.load();
        let key = ring.signing();
        let header = Header { kid: Some(key.kid().to_owned()), ..Header::new(Algorithm::ES256) };
        Ok(jsonwebtoken::encode(&header, claims, key.encoding())?)
    }

    /// The published keys, oldest first.
    pub(crate) fn published(&self) -> Vec<Jwk> {
        self.ring.load().published().map(|key| key.jwk().clone()).collect()
    }

    /// Another text whenever another set of keys is published.
    pub(crate) fn version(&self) -> String {
        self.ring.load().version().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use jiff::SignedDuration;
    use shared_middleware::{
        identity::Role,
        token::{AUDIENCE, Audience, ISSUER, install_crypto},
    };
    use tempfile::TempDir;

    use super::*;
    use crate::{LEEWAY_S, testing::Hand};

    const TTL_S: i64 = 900;

    struct World {
        keys: Keys,
        hand: Hand,
        folder: TempDir,
    }

    async fn world() -> World {
        install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let hand = Hand::new();
        let keys = Keys::open(folder.path().join("keys"), TTL_S, hand.clock()).await.unwrap();
        World { keys, hand, folder }
    }

    impl World {
        fn dir(&self) -> PathBuf {
            self.folder.path().join("keys")
        }

        fn rotate(&self) -> String {
            rotate_at(&self.dir(), self.hand.clock().now()).unwrap()
        }

        async fn after_s(&self, seconds: i64) {
            self.hand.turn_s(seconds);
            self.keys.look().await.unwrap();
        }

        fn signing(&self) -> String {
            let claims = Claims {
                iss: ISSUER.to_owned(),
                aud: Audience::One(AUDIENCE.to_owned()),
                sub: "u".to_owned(),
                role: Role::Admin,
                sid: None,
                exp: 1,
                iat: None,
                nbf: None,
            };
            let token = self.keys.sign(&claims).unwrap();
            let header = jsonwebtoken::decode_header(token).unwrap();
            assert_eq!(header.typ.as_deref(), Some("JWT"));
            header.kid.unwrap()
        }

        fn published(&self) -> Vec<String> {
            self.keys.published().into_iter().map(|jwk| jwk.kid).collect()
        }
    }

    #[tokio::test]
    async fn the_first_key_is_made_at_the_first_start_and_kept() {
        let world = world().await;
        let again = Keys::open(world.dir(), TTL_S, world.hand.clock()).await.unwrap();
        assert_eq!(again.version(), world.keys.version());
        assert_eq!(world.published(), [world.signing()]);
    }

    #[tokio::test]
    async fn only_the_owner_may_read_keys() {
        let world = world().await;
        world.rotate();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&world.dir()), 0o700);
        for file in fs::read_dir(world.dir()).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
        }
    }

    #[tokio::test]
    async fn a_new_key_is_published_then_signs_and_the_old_one_leaves_when_its_tokens_have() {
        let world = world().await;
        let old = world.signing();
        let version = world.keys.version();
        world.hand.turn_s(3600);
        let new = world.rotate();

        world.after_s(0).await;
        assert_eq!(world.published(), [old.clone(), new.clone()]);
        assert_ne!(world.keys.version(), version);
        assert_eq!(world.signing(), old);

        world.after_s(LEAD_MS / 1000 - 1).await;
        assert_eq!(world.signing(), old);
        world.after_s(1).await;
        assert_eq!(world.signing(), new);

        world.after_s(TTL_S + LEEWAY_S - 1).await;
        assert_eq!(world.published(), [old.clone(), new.clone()]);
        world.after_s(1).await;
        assert_eq!(world.published(), std::slice::from_ref(&new));
        assert!(!files::path(&world.dir(), &old).exists());
        assert!(files::path(&world.dir(), &new).exists());
    }

    #[tokio::test]
    async fn of_several_rotations_at_once_the_last_one_signs() {
        let world = world().await;
        let made: Vec<_> = (0..3).map(|_| world.rotate()).collect();
        world.after_s(0).await;
        world.after_s(LEAD_MS / 1000).await;
        assert_eq!(world.signing(), made[2]);
        assert_eq!(world.published().len(), 4);
    }

    #[tokio::test]
    async fn a_key_is_published_first_whatever_the_clock_says_that_it_was_made_by() {
        for wrong_s in [-3600, 3600] {
            let world = world().await;
            let old = world.signing();
            let wrong = world.hand.clock().now() + SignedDuration::from_secs(wrong_s);
            let new = rotate_at(&world.dir(), wrong).unwrap();
            world.after_s(0).await;
            assert_eq!(world.signing(), old);
            world.after_s(LEAD_MS / 1000).await;
            assert_eq!(world.signing(), new);
        }
    }

    #[tokio::test]
    async fn processes_that_start_at_once_share_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let opened = (0..8).map(|_| {
            tokio::spawn(Keys::open(folder.path().join("keys"), TTL_S, Hand::new().clock()))
        });
        let mut versions = Vec::new();
        for keys in opened.collect::<Vec<_>>() {
            versions.push(keys.await.unwrap().unwrap().version());
        }
        versions.dedup();
        assert_eq!(versions.len(), 1);
    }

    #[tokio::test]
    async fn a_broken_key_is_named_and_not_quoted() {
        let world = world().await;
        let kid = world.rotate();
        let path = files::path(&world.dir(), &kid);
        fs::write(&path, "TOPSECRET").unwrap();
        let error = Keys::open(world.dir(), TTL_S, world.hand.clock()).await.err().unwrap();
        let told = format!("{error} {error:?}");
        assert!(told.contains(&kid) && !told.contains("TOPSECRET"), "{told}");
    }

    #[tokio::test]
    async fn a_key_that_others_can_read_is_refused() {
        let world = world().await;
        let path = files::path(&world.dir(), &world.signing());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Keys::open(world.dir(), TTL_S, world.hand.clock()).await.err().unwrap();
        assert!(matches!(error, KeysError::Exposed(_)), "{error}");
    }

    #[tokio::test]
    async fn a_running_service_keeps_its_keys_when_the_folder_breaks() {
        let world = world().await;
        let old = world.signing();
        fs::write(world.dir().join("mine.der"), "x").unwrap();
        assert!(matches!(world.keys.look().await, Err(KeysError::Misnamed(_))));
        fs::remove_dir_all(world.dir()).unwrap();
        assert!(world.keys.look().await.is_err());
        assert_eq!(world.signing(), old);
    }
}
