//! An authority of the tests' own, and the certificates of servers and clients on this machine.

use std::{
    fs, io, net::IpAddr, net::Ipv4Addr, os::unix::fs::OpenOptionsExt as _, path::Path,
    sync::OnceLock,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

/// Issues certificates for `localhost`.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

// === impl Authority ===

impl Authority {
    /// That of this process, so that clients need to trust one only.
    pub(crate) fn ours() -> io::Result<&'static Self> {
        static OURS: OnceLock<Authority> = OnceLock::new();
        if let Some(ours) = OURS.get() {
            return Ok(ours);
        }
        let new = Self::new()?;
        Ok(OURS.get_or_init(|| new))
    }

    fn new() -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, "MediSync testbed authority");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        CertifiedIssuer::self_signed(params, key).map(Self).map_err(io::Error::other)
    }

    /// The authority's own certificate, as PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a server on this machine, or a client of that name.
    pub(crate) fn issue(&self, name: &str) -> io::Result<Issued> {
        let issue = || -> Result<Issued, rcgen::Error> {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.subject_alt_names = vec![
                SanType::DnsName("localhost".try_into()?),
                SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            params.use_authority_key_identifier_extension = true;
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &self.0)?.pem();
            Ok(Issued { certificate, key: key.serialize_pem() })
        };
        issue().map_err(io::Error::other)
    }
}

/// Writes a file that its owner alone may read, as servers ask of a key.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new();
    io::Write::write_all(
        &mut file.write(true).create_new(true).mode(0o600).open(path)?,
        text.as_bytes(),
    )
}
