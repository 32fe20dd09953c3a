//! The certificates of servers whose identity was verified whole: for the gateway, whose proxy
//! verifies an authority and a DNS name, and exposes no more of a server than its certificate's
//! digest.
//!
//! A certificate is known for one part, and for as long as the authorities and revocation lists are
//! those by which it was verified: the set belongs to one [`Credentials`](super::Credentials).

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;

use crate::identity::Part;

/// A part has some replicas, each of which renews its certificate twice a day: that many are
/// remembered, and the oldest make room.
const KNOWN_MAX: usize = 1024;
const SHA256_BYTES: usize = 32;

/// Which part each certificate is of.
#[derive(Default)]
pub(super) struct KnownServers(Mutex<VecDeque<(Part, [u8; SHA256_BYTES])>>);

// === impl KnownServers ===

impl KnownServers {
    /// This is the certificate of a server of the part.
    pub(super) fn remember(&self, part: Part, leaf: &CertificateDer<'_>) {
        let Ok(sha256) = digest(&SHA256, leaf).as_ref().try_into() else { return };
        let mut known = self.known();
        if known.contains(&(part, sha256)) {
            return;
        }
        if known.len() >= KNOWN_MAX {
            known.pop_front();
        }
        known.push_back((part, sha256));
    }

    /// Whether the certificate with this SHA-256 is known to be the part's.
    pub(super) fn has(&self, part: Part, sha256: &[u8]) -> bool {
        self.known().iter().any(|(of, known)| *of == part && known == sha256)
    }

    fn known(&self) -> MutexGuard<'_, VecDeque<(Part, [u8; SHA256_BYTES])>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_known_for_its_part_alone_and_the_oldest_make_room() {
        let servers = KnownServers::default();
        let leaf = |n: usize| CertificateDer::from(n.to_be_bytes().to_vec());
        let sha256 = |n: usize| digest(&SHA256, &leaf(n));
        for n in 0..=KNOWN_MAX {
            servers.remember(Part::Patient, &leaf(n));
            servers.remember(Part::Patient, &leaf(n));
        }
        assert!(!servers.has(Part::Patient, sha256(0).as_ref()));
        assert!(servers.has(Part::Patient, sha256(1).as_ref()));
        assert!(servers.has(Part::Patient, sha256(KNOWN_MAX).as_ref()));
        assert!(!servers.has(Part::Billing, sha256(1).as_ref()));
        assert!(!servers.has(Part::Patient, b""));
    }
}
