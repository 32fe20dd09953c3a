//! Password hashes: argon2id (RFC 9106), a few at once, on threads that may block.
//!
//! Each hash takes memory and a processor. Permits bound both; whoever finds too many waiting is
//! refused at once.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Config, domain::composed};

/// So many wait for a permit at most.
const WAITING_MAX: usize = 64;
const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;

/// Hashes and verifies passwords.
#[derive(Clone)]
pub(crate) struct Passwords {
    params: Params,
    /// Nobody's hash: verified for users who do not exist, so that they take the same time.
    decoy: Arc<str>,
    places: Arc<Semaphore>,
    permits: Arc<Semaphore>,
}

/// Why a password could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait already.
    #[error("too many passwords are being hashed")]
    Busy,
    /// The hash function failed, or the store holds something that is no hash.
    #[error("a password could not be hashed")]
    Hash(#[source] Box<dyn std::error::Error + Send + Sync>),
}

// === impl Passwords ===

impl Passwords {
    /// With the configured cost.
    pub(crate) fn new(config: &Config) -> Result<Self, PasswordError> {
        Self::with_cost(config.argon2_memory_kib, config.argon2_passes, config.hashes_at_once_max)
    }

    /// As little work as the function can be asked for: in tests of other things.
    #[cfg(test)]
    pub(crate) fn cheap() -> Self {
        Self::with_cost(8, 1, 2).unwrap()
    }

    /// Keeps all others waiting.
    #[cfg(test)]
    pub(crate) async fn hold_all(&self) -> OwnedSemaphorePermit {
        let all = u32::try_from(self.permits.available_permits()).unwrap();
        Arc::clone(&self.permits).acquire_many_owned(all).await.unwrap()
    }

    fn with_cost(
        memory_kib: u32,
        passes: u32,
        hashes_at_once_max: usize,
    ) -> Result<Self, PasswordError> {
        let params = Params::new(memory_kib, passes, 1, Some(OUTPUT_BYTES))
            .map_err(|error| PasswordError::Hash(error.to_string().into()))?;
        Ok(Self {
            decoy: decoy(&params)?.into(),
            params,
            places: Arc::new(Semaphore::new(hashes_at_once_max + WAITING_MAX)),
            permits: Arc::new(Semaphore::new(hashes_at_once_max)),
        })
    }

    /// The password's hash, as a PHC string with a salt of its own.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<String, PasswordError> {
        let (argon2, password) = (self.argon2(), composed(&password));
        self.in_turn(move || {
            let hash = argon2.hash_password(password.expose_secret().as_bytes()).map_err(failed)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether it is the password of this hash. Without a hash it is not, after as much work.
    ///
    /// It is compared in the form in which it is hashed, and then as it was typed: hashes from
    /// before there was one form are of that.
    pub(crate) async fn verify(
        &self,
        password: SecretString,
        hash: Option<String>,
    ) -> Result<bool, PasswordError> {
        let argon2 = self.argon2();
        let hash = hash.unwrap_or_else(|| String::from(&*self.decoy));
        self.in_turn(move || {
            let hash = PasswordHash::new(&hash).map_err(failed)?;
            let is = |password: &SecretString| match argon2
                .verify_password(password.expose_secret().as_bytes(), &hash)
            {
                Ok(()) => Ok(true),
                Err(password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(failed(error)),
            };
            let composed = composed(&password);
            let as_typed = password.expose_secret() != composed.expose_secret();
            Ok(is(&composed)? || (as_typed && is(&password)?))
        })
        .await
    }

    /// Whether a hash cost less than one does now.
    pub(crate) fn is_outdated(&self, hash: &str) -> bool {
        let Ok(hash) = PasswordHash::new(hash) else { return true };
        let current = hash.algorithm == Algorithm::Argon2id.ident()
            && hash.version == Some(Version::V0x13.into());
        let cost = Params::try_from(&hash).map(|params| (params.m_cost(), params.t_cost()));
        let (memory, passes) = cost.unwrap_or_default();
        !current || memory < self.params.m_cost() || passes < self.params.t_cost()
    }

    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| PasswordError::Busy)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(failed)?;
        // A caller who goes away leaves the work running: it keeps its permit to its end.
        let held: [OwnedSemaphorePermit; 2] = [place, permit];
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(held);
            done
        })
        .await
        .map_err(failed)?
    }
}

/// A hash of these parameters that no password has: the salt and the output are random.
fn decoy(params: &Params) -> Result<String, PasswordError> {
    let mut bytes = [0; SALT_BYTES + OUTPUT_BYTES];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| PasswordError::Hash("no randomness".into()))?;
    let (salt, output) = bytes.split_at(SALT_BYTES);
    let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
    let (memory, passes) = (params.m_cost(), params.t_cost());
    Ok(format!("$argon2id$v=19$m={memory},t={passes},p=1${salt}${output}"))
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> PasswordError {
    PasswordError::Hash(error.into())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn a_hash_is_argon2id_of_the_configured_cost_with_its_own_salt() {
        let passwords = Passwords::with_cost(19_456, 2, 2).unwrap();
        let first = passwords.hash("violet tram 19".into()).await.unwrap();
        let second = passwords.hash("violet tram 19".into()).await.unwrap();
        assert!(first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{first}");
        assert_ne!(first, second);
        assert!(passwords.verify("violet tram 19".into(), Some(first.clone())).await.unwrap());
        assert!(!passwords.verify("violet tram 20".into(), Some(first.clone())).await.unwrap());
        assert!(!passwords.is_outdated(&first));
    }

    #[tokio::test]
    async fn a_password_is_known_again_in_whichever_form_it_was_typed_or_hashed() {
        let passwords = Passwords::cheap();
        let (composed, apart) = ("crème à midi", "cre\u{300}me a\u{300} midi");
        let is = async |typed: &str, hash: &String| {
            passwords.verify(typed.into(), Some(hash.clone())).await.unwrap()
        };
        for typed in [composed, apart] {
            let hash = passwords.hash(typed.into()).await.unwrap();
            assert!(is(composed, &hash).await && is(apart, &hash).await);
            assert!(!is("creme a midi", &hash).await);
        }
        // From before.
        let old = passwords.argon2().hash_password(apart.as_bytes()).unwrap().to_string();
        assert!(is(apart, &old).await && !is(composed, &old).await);
    }

    #[tokio::test]
    async fn nobody_has_the_decoys_password_and_it_costs_the_same() {
        let passwords = Passwords::cheap();
        assert!(!passwords.verify("".into(), None).await.unwrap());
        let real = passwords.hash("x".into()).await.unwrap();
        let cost = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        let length = |hash: &str| PasswordHash::new(hash).unwrap().hash.unwrap().len();
        assert_eq!(cost(&real), cost(&passwords.decoy));
        assert_eq!(length(&real), length(&passwords.decoy));
    }

    #[tokio::test]
    async fn a_hash_is_outdated_when_the_cost_has_risen_and_only_then() {
        let hash = Passwords::with_cost(16, 2, 1).unwrap().hash("x".into()).await.unwrap();
        let outdated = |memory_kib, passes| {
            Passwords::with_cost(memory_kib, passes, 1).unwrap().is_outdated(&hash)
        };
        assert!(!outdated(16, 2) && !outdated(8, 1));
        assert!(outdated(17, 2) && outdated(16, 3));
        assert!(Passwords::cheap().is_outdated("plain"));
    }

    #[tokio::test]
    async fn when_too_many_wait_the_next_is_refused() {
        let passwords = Passwords::cheap();
        let held = passwords.places.clone().acquire_many_owned(2 + WAITING_MAX as u32).await;
        let refused = passwords.hash("x".into()).await;
        assert!(matches!(refused, Err(PasswordError::Busy)));
        drop(held);
        passwords.hash("x".into()).await.unwrap();
    }

    /// Work that waits for a gate shows how much of it runs at once: memory is bounded by that.
    #[tokio::test]
    async fn fifty_at_once_take_no_more_memory_than_the_permits_allow() {
        let passwords = Passwords::cheap();
        let running = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let work = || {
            let (running, gate) = (Arc::clone(&running), Arc::clone(&gate));
            move || {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                let shut = gate.1.wait_while(gate.0.lock().unwrap(), |open| !*open).unwrap();
                drop(shut);
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(now)
            }
        };
        let places = passwords.places.available_permits();
        let asked: JoinSet<_> = (0..50)
            .map(|_| {
                let (passwords, work) = (passwords.clone(), work());
                async move { passwords.in_turn(work).await }
            })
            .collect();
        while running.load(Ordering::SeqCst) < 2
            || places - passwords.places.available_permits() < 50
        {
            tokio::task::yield_now().await;
        }
        assert_eq!(running.load(Ordering::SeqCst), 2, "all are there, two are at work");
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        let most = asked.join_all().await.into_iter().map(Result::unwrap).max();
        assert_eq!(most, Some(2));
    }
}
