//! The gateway's certificate and its authorities, as pingora wants them.
//!
//! They are made once for each time that the files were read, since making them parses
//! certificates, and every such time gets a number: pingora does not look at the authorities when
//! it takes a connection from its pool, but it does look at a peer's group key.

use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use shared_middleware::tls::{Credentials, MeshTls};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::UpstreamError;

/// The current identity.
pub(super) struct ClientIdentities {
    tls: Arc<MeshTls>,
    current: ArcSwap<Identity>,
}

/// One reading of the files.
pub(super) struct Identity {
    credentials: Arc<Credentials>,
    pub(super) key: Arc<CertKey>,
    pub(super) ca: Arc<[WrappedX509]>,
    pub(super) generation: u64,
}

// === impl ClientIdentities ===

impl ClientIdentities {
    pub(super) fn new(tls: Arc<MeshTls>) -> Result<Self, UpstreamError> {
        let current = Identity::new(tls.credentials(), 1)?;
        Ok(Self { tls, current: ArcSwap::from_pointee(current) })
    }

    /// Of the files as they were read last.
    pub(super) fn current(&self) -> Arc<Identity> {
        let current = self.current.load_full();
        let credentials = self.tls.credentials();
        if Arc::ptr_eq(&current.credentials, &credentials) {
            return current;
        }
        match Identity::new(credentials, current.generation + 1) {
            Ok(identity) => {
                let identity = Arc::new(identity);
                self.current.store(Arc::clone(&identity));
                identity
            }
            Err(error) => {
                tracing::warn!(%error, "certificate reload failed, keeping the previous one");
                current
            }
        }
    }
}

// === impl Identity ===

impl Identity {
    fn new(credentials: Arc<Credentials>, generation: u64) -> Result<Self, UpstreamError> {
        let certificates = credentials.chain.iter().chain(&credentials.ca);
        // Pingora panics on what its parser does not understand.
        if !certificates.into_iter().all(|der| X509Certificate::from_der(der).is_ok()) {
            return Err(UpstreamError::Certificate("it, or its authority, cannot be parsed"));
        }
        if credentials.chain.is_empty() || credentials.ca.is_empty() {
            return Err(UpstreamError::Certificate("there is none, or no authority"));
        }
        let chain = credentials.chain.iter().map(|der| der.to_vec()).collect();
        let key = CertKey::new(chain, credentials.key.secret_der().to_vec());
        let ca =
            credentials.ca.iter().map(|der| WrappedX509::new(der.to_vec(), parse_x509)).collect();
        Ok(Self { credentials, key: Arc::new(key), ca, generation })
    }
}

#[cfg(test)]
mod tests {
    use shared_middleware::identity::Part;

    use super::*;
    use crate::test_support::mesh_tls;

    #[test]
    fn the_same_files_give_the_same_identity() {
        let identities = ClientIdentities::new(mesh_tls(Part::Gateway)).unwrap();
        let (first, second) = (identities.current(), identities.current());
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(first.generation, 1);
    }

    #[test]
    fn files_that_were_read_again_give_another_generation() {
        let tls = mesh_tls(Part::Gateway);
        let identities = ClientIdentities::new(Arc::clone(&tls)).unwrap();
        let other = Identity::new(mesh_tls(Part::Gateway).credentials(), 1).unwrap();
        identities.current.store(Arc::new(other));
        let current = identities.current();
        assert_eq!(current.generation, 2);
        assert!(Arc::ptr_eq(&current.credentials, &tls.credentials()));
    }
}
