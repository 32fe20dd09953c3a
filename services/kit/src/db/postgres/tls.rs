//! TLS to the server, by rustls as everywhere, and what is between that and `tokio_postgres`.
//!
//! `tokio_postgres` gives the socket to its TLS library after asking the server for TLS, and keeps
//! it to itself when there is none. Here it is asked to give it at once ("direct" negotiation), and
//! the request is made here: so every stream, with TLS and without, is a [`Watched`] one.

use std::{io, sync::Arc};

use futures_util::future::BoxFuture;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tokio_postgres::{
    Socket,
    config::SslMode,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::either::Either;

use super::{
    answers::{Answers, Watched},
    url::Trust,
};
use crate::db::DbError;

type Rustls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// A length and the code 1234 5679, as PostgreSQL's documentation has them ("SSLRequest").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Makes the stream of one connection.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) tls: MakeRustlsConnect,
    pub(super) mode: SslMode,
    pub(super) answers: Answers,
}

/// The same, for a host.
pub(super) struct Negotiation {
    tls: Rustls,
    mode: SslMode,
    answers: Answers,
}

/// What a connection runs over: the socket, or TLS over it.
type Stream = Either<Socket, Box<Encrypted>>;

/// Takes whatever certificate the server shows, as `sslmode=prefer` and `require` mean it: anyone
/// who listens in learns nothing, anyone who stands between may.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

/// What shakes hands with a server that this trust is placed in.
pub(super) fn rustls(trust: &Trust) -> Result<MakeRustlsConnect, DbError> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| DbError::Unavailable(Box::new(error)))?;
    let config = match trust {
        Trust::Any => config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(ring::default_provider())))
            .with_no_client_auth(),
        Trust::System | Trust::File(_) => {
            config.with_root_certificates(roots(trust)?).with_no_client_auth()
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn roots(trust: &Trust) -> Result<RootCertStore, DbError> {
    let mut roots = RootCertStore::empty();
    let none = |why: String| DbError::Unavailable(why.into());
    match trust {
        Trust::File(path) => {
            let unusable =
                |error: &dyn std::fmt::Display| none(format!("{}: {error}", path.display()));
            let found = CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| unusable(&error))?;
                roots.add(certificate).map_err(|error| unusable(&error))?;
            }
        }
        _ => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(none("there is no authority that a certificate could be of".to_owned()));
    }
    Ok(roots)
}

// === impl Connector ===

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Watched<Stream>;
    type TlsConnect = Negotiation;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Negotiation> {
        let tls = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.tls, host);
        let tls = tls.map_err(io::Error::other)?;
        Ok(Negotiation { tls, mode: self.mode, answers: self.answers.clone() })
    }
}

// === impl Negotiation ===

impl TlsConnect<Socket> for Negotiation {
    type Stream = Watched<Stream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Watched<Stream>>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let answers = self.answers.clone();
            let stream = timeout(answers.allowed(), self.negotiate(socket)).await;
            let overdue = |_| answers.give_up();
            Ok(Watched::new(stream.map_err(overdue)??, answers))
        })
    }
}

impl Negotiation {
    async fn negotiate(self, mut socket: Socket) -> io::Result<Stream> {
        if self.mode == SslMode::Disable {
            return Ok(Either::Left(socket));
        }
        socket.write_all(&SSL_REQUEST).await?;
        if socket.read_u8().await? == b'S' {
            return Ok(Either::Right(Box::new(self.tls.connect(socket).await?)));
        }
        if self.mode == SslMode::Prefer {
            return Ok(Either::Left(socket));
        }
        Err(io::Error::new(io::ErrorKind::Unsupported, "the server does not support TLS"))
    }
}

// === impl Watched ===

impl TlsStream for Watched<Stream> {
    fn channel_binding(&self) -> ChannelBinding {
        match self.inner() {
            Either::Left(_) => ChannelBinding::none(),
            Either::Right(stream) => stream.channel_binding(),
        }
    }
}

// === impl AnyCertificate ===

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
