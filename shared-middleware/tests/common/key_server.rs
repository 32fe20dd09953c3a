//! Somebody outside of the mesh who publishes a key set: over TLS, by an authority of their own.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, rustls};

/// A server on a port of this machine, until it is dropped.
pub(crate) struct KeyServer {
    address: SocketAddr,
    authority: String,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

struct State {
    acceptor: TlsAcceptor,
    answer: Mutex<String>,
    asked: AtomicUsize,
}

/// An answer of this status, with these header lines, each with its end.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

// === impl KeyServer ===

impl KeyServer {
    /// On a free port (0), or on this one.
    pub(crate) async fn start(port: u16, answer: String) -> Self {
        let (acceptor, authority) = identity();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state =
            Arc::new(State { acceptor, answer: Mutex::new(answer), asked: AtomicUsize::new(0) });
        let its_state = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&its_state).answer(stream));
            }
        });
        Self { address, authority, state, serving }
    }

    /// Where its key set is.
    pub(crate) fn url(&self) -> String {
        format!("https://{}/keys", self.address)
    }

    /// The authority that vouches for it, PEM.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Answers so from now on.
    pub(crate) fn answer_with(&self, answer: String) {
        *self.state.answer.lock().unwrap() = answer;
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

// === impl State ===

impl State {
    /// Anyone who breaks off is given nothing.
    async fn answer(self: Arc<Self>, stream: TcpStream) {
        let Ok(mut stream) = self.acceptor.accept(stream).await else { return };
        let mut head = [0; 4096];
        if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let answer = self.answer.lock().unwrap().clone();
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    }
}

fn identity() -> (TlsAcceptor, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    let chain = vec![params.signed_by(&key, &authority).unwrap().der().clone()];
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    (TlsAcceptor::from(Arc::new(config.unwrap())), authority.pem())
}
