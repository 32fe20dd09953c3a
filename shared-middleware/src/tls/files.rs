//! PEM files: certificates, private keys, revocation lists.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::TlsError;
use crate::secret_file::{self, SecretFileError};

/// A fingerprint of files: when they were written, and how long they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint<const N: usize>([Option<(SystemTime, u64)>; N]);

// === impl Fingerprint ===

impl<const N: usize> Fingerprint<N> {
    /// Of these files, as they are now.
    pub fn of(files: [&PathBuf; N]) -> Self {
        Self(files.map(|path| {
            let about = fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len()))
        }))
    }
}

/// When the certificate in a file ends, in seconds since 1970.
pub fn expiry_s(path: &Path) -> Result<i64, TlsError> {
    expires_at_s(&certificates(path)?, path)
}

/// From when to when the certificate in a file is valid, in seconds since 1970.
pub fn validity_s(path: &Path) -> Result<Range<i64>, TlsError> {
    valid_s(&certificates(path)?, path)
}

/// From when to when the leaf of a chain is valid; the path is for the error.
pub(super) fn valid_s(chain: &[CertificateDer<'_>], path: &Path) -> Result<Range<i64>, TlsError> {
    let leaf = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok());
    let valid = leaf.map(|(_, leaf)| {
        let validity = leaf.validity();
        validity.not_before.timestamp()..validity.not_after.timestamp()
    });
    valid.ok_or_else(|| TlsError::Pem { kind: "certificate", path: path.to_owned() })
}

/// When the leaf of a chain ends, in seconds since 1970; the path is for the error.
pub fn expires_at_s(chain: &[CertificateDer<'_>], path: &Path) -> Result<i64, TlsError> {
    valid_s(chain, path).map(|valid| valid.end)
}

/// The certificates of a PEM file, in their order; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = all(path, "certificate")?;
    if found.is_empty() {
        return Err(TlsError::Pem { kind: "certificate", path: path.to_owned() });
    }
    Ok(found)
}

/// The revocation lists of a PEM file: none where there is no file, or where it is empty.
pub fn revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    match all(path, "revocation list") {
        Err(TlsError::Read(error, _)) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        found => found,
    }
}

/// The serial numbers that revocation lists name: pairs of hexadecimal digits, between colons.
pub fn revoked_serials(
    lists: &[CertificateRevocationListDer<'_>],
    path: &Path,
) -> Result<Vec<String>, TlsError> {
    let mut all = Vec::new();
    for list in lists {
        let (_, list) = CertificateRevocationList::from_der(list)
            .map_err(|_| TlsError::Pem { kind: "revocation list", path: path.to_owned() })?;
        all.extend(list.iter_revoked_certificates().map(|one| one.raw_serial_as_string()));
    }
    Ok(all)
}

/// The private key of a PEM file that nobody else can read.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = secret_file::read(path).map_err(|error| match error {
        SecretFileError::Read(error, path) => TlsError::Read(error, path),
        SecretFileError::Exposed { path, mode } => TlsError::Exposed { path, mode },
    })?;
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| TlsError::Pem { kind: "private key", path: path.to_owned() })
}

fn all<T: PemObject>(path: &Path, kind: &'static str) -> Result<Vec<T>, TlsError> {
    let found: Result<Vec<_>, _> = T::pem_slice_iter(&read(path)?).collect();
    found.map_err(|_| TlsError::Pem { kind, path: path.to_owned() })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Read(error, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_file_nothing_is_revoked_and_a_broken_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crl.pem");
        assert!(revocation_lists(&path).unwrap().is_empty());
        fs::write(&path, "-----BEGIN X509 CRL-----\n!\n-----END X509 CRL-----\n").unwrap();
        assert!(matches!(revocation_lists(&path), Err(TlsError::Pem { .. })));
    }
}
