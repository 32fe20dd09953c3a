//! Password hashes: argon2id (RFC 9106), a few at once, on threads that may block.
//!
//! Each hash takes memory and a processor. Permits bound both; anyone who finds too many waiting is
//! refused at once. Strangers have a queue of their own, and never all permits: however many want
//! to guess, anyone who signs in from where they did before, or is signed in, is served. Of the
//! strangers' queue a network has no more than is left free, as shared buffers are managed by
//! "dynamic thresholds" (Choudhury and Hahne, 1998): a ward alone has half of it, and the more
//! networks there are, the less each has.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Config, domain::composed};

/// This many wait for a permit at most, of strangers and of others each.
const WAITING_MAX: usize = 128;
const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;

/// Hashes and verifies passwords.
#[derive(Clone)]
pub(crate) struct Passwords {
    params: Params,
    /// Nobody's hash: verified for users who do not exist, so that they take the same time.
    decoy: Arc<str>,
    known: Arc<Semaphore>,
    strangers: Arc<Strangers>,
    permits: Arc<Semaphore>,
}

/// Whose password it is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Of somebody who is signed in, or was at this address before.
    Known,
    /// Of anybody, at this address.
    Unknown(IpAddr),
}

/// What strangers share.
struct Strangers {
    queue: Arc<Semaphore>,
    /// One less than all permits, if there are several.
    permits: Arc<Semaphore>,
    networks: Mutex<HashMap<IpAddr, usize>>,
}

/// One of a network's share, until it is dropped.
struct Waiting {
    strangers: Arc<Strangers>,
    network: IpAddr,
    _queued: OwnedSemaphorePermit,
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
            known: Arc::new(Semaphore::new(hashes_at_once_max + WAITING_MAX)),
            strangers: Arc::new(Strangers {
                queue: Arc::new(Semaphore::new(hashes_at_once_max + WAITING_MAX)),
                permits: Arc::new(Semaphore::new(hashes_at_once_max.saturating_sub(1).max(1))),
                networks: Mutex::default(),
            }),
            permits: Arc::new(Semaphore::new(hashes_at_once_max)),
        })
    }

    /// The password's hash, as a PHC string with a salt of its own.
    pub(crate) async fn hash(
        &self,
        password: SecretString,
        whose: Whose,
    ) -> Result<String, PasswordError> {
        let (argon2, password) = (self.argon2(), composed(&password));
        self.in_turn(whose, move || {
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
        whose: Whose,
    ) -> Result<bool, PasswordError> {
        let argon2 = self.argon2();
        let hash = hash.unwrap_or_else(|| String::from(&*self.decoy));
        self.in_turn(whose, move || {
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
        whose: Whose,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let busy = |_| PasswordError::Busy;
        let (known, stranger) = match whose {
            Whose::Known => {
                (Some(Arc::clone(&self.known).try_acquire_owned().map_err(busy)?), None)
            }
            Whose::Unknown(from) => (None, Some(self.strangers.admit(from).await?)),
        };
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(failed)?;
        // A caller who goes away leaves the work running: it keeps its permits to its end.
        let held = (known, stranger, permit);
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(held);
            done
        })
        .await
        .map_err(failed)?
    }
}

// === impl Strangers ===

impl Strangers {
    async fn admit(
        self: &Arc<Self>,
        from: IpAddr,
    ) -> Result<(Waiting, OwnedSemaphorePermit), PasswordError> {
        let waiting = self.wait(network(from)).ok_or(PasswordError::Busy)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(failed)?;
        Ok((waiting, permit))
    }

    fn wait(self: &Arc<Self>, network: IpAddr) -> Option<Waiting> {
        let mut networks = self.networks();
        let count = networks.get(&network).copied().unwrap_or(0);
        if count >= self.queue.available_permits() {
            return None;
        }
        let queued = Arc::clone(&self.queue).try_acquire_owned().ok()?;
        networks.insert(network, count + 1);
        Some(Waiting { strangers: Arc::clone(self), network, _queued: queued })
    }

    fn networks(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut networks = self.strangers.networks();
        if let Some(count) = networks.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                networks.remove(&self.network);
            }
        }
    }
}

/// What one customer of a provider has at most, as a rule: a /48 of IPv6 (RFC 6177), a /24 of IPv4.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::from([v4.octets()[0], v4.octets()[1], v4.octets()[2], 0]),
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
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
        let first = passwords.hash("violet tram 19".into(), Whose::Known).await.unwrap();
        let second = passwords.hash("violet tram 19".into(), Whose::Known).await.unwrap();
        assert!(first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{first}");
        assert_ne!(first, second);
        assert!(
            passwords
                .verify("violet tram 19".into(), Some(first.clone()), Whose::Known)
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .verify("violet tram 20".into(), Some(first.clone()), Whose::Known)
                .await
                .unwrap()
        );
        assert!(!passwords.is_outdated(&first));
    }

    #[tokio::test]
    async fn a_password_is_known_again_in_whichever_form_it_was_typed_or_hashed() {
        let passwords = Passwords::cheap();
        let (composed, apart) = ("crème à midi", "cre\u{300}me a\u{300} midi");
        let is = async |typed: &str, hash: &String| {
            passwords.verify(typed.into(), Some(hash.clone()), Whose::Known).await.unwrap()
        };
        for typed in [composed, apart] {
            let hash = passwords.hash(typed.into(), Whose::Known).await.unwrap();
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
        assert!(!passwords.verify("".into(), None, Whose::Known).await.unwrap());
        let real = passwords.hash("x".into(), Whose::Known).await.unwrap();
        let cost = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        let length = |hash: &str| PasswordHash::new(hash).unwrap().hash.unwrap().len();
        assert_eq!(cost(&real), cost(&passwords.decoy));
        assert_eq!(length(&real), length(&passwords.decoy));
    }

    #[tokio::test]
    async fn a_hash_is_outdated_when_the_cost_has_risen_and_only_then() {
        let hash =
            Passwords::with_cost(16, 2, 1).unwrap().hash("x".into(), Whose::Known).await.unwrap();
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
        let held = passwords.known.clone().acquire_many_owned(2 + WAITING_MAX as u32).await;
        let refused = passwords.hash("x".into(), Whose::Known).await;
        assert!(matches!(refused, Err(PasswordError::Busy)));
        drop(held);
        passwords.hash("x".into(), Whose::Known).await.unwrap();
    }

    #[tokio::test]
    async fn however_many_strangers_want_in_whoever_is_known_is_served() {
        let passwords = Passwords::with_cost(8, 1, 2).unwrap();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let held = {
            let gate = Arc::clone(&gate);
            move || {
                drop(gate.1.wait_while(gate.0.lock().unwrap(), |open| !*open).unwrap());
                Ok(())
            }
        };
        // Each network has as much as it leaves free.
        let mut asked = JoinSet::new();
        for (network, let_in) in [(0_u8, 65), (1, 33), (2, 16), (3, 8)] {
            let mut refused = 0;
            for host in 0..100 {
                let (passwords, held) = (passwords.clone(), held.clone());
                let whose = Whose::Unknown(IpAddr::from([198, 51, network, host]));
                asked.spawn(async move { passwords.in_turn(whose, held).await });
                tokio::task::yield_now().await;
                while let Some(done) = asked.try_join_next() {
                    assert!(matches!(done.unwrap(), Err(PasswordError::Busy)));
                    refused += 1;
                }
            }
            assert_eq!(100 - refused, let_in, "network {network}");
        }
        passwords.hash("x".into(), Whose::Known).await.unwrap();
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        assert!(asked.join_all().await.iter().all(Result::is_ok));
        assert!(passwords.strangers.networks().is_empty());
    }

    #[test]
    fn a_network_is_what_one_customer_has() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.254", true),
            ("192.0.2.1", "192.0.3.1", false),
            ("::ffff:192.0.2.1", "192.0.2.9", true),
            ("2001:db8:1:2::1", "2001:db8:1:ffff::1", true),
            ("2001:db8:1::1", "2001:db8:2::1", false),
        ] {
            let [one, other] = [one, other].map(|it| network(it.parse().unwrap()));
            assert_eq!(one == other, same, "{one} {other}");
        }
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
        let places = passwords.known.available_permits();
        let asked: JoinSet<_> = (0..50)
            .map(|_| {
                let (passwords, work) = (passwords.clone(), work());
                async move { passwords.in_turn(Whose::Known, work).await }
            })
            .collect();
        while running.load(Ordering::SeqCst) < 2
            || places - passwords.known.available_permits() < 50
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
