//! Who stands in for a part, and who can read its private key.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::StatusCode;
use shared_middleware::{
    identity::Part,
    tls::{MeshTls, PemFiles},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::{
    certificate_forms::{Expected, Shown, forms},
    certs::{self, Identity},
    processes::{free_port, issue_certificates},
    test_mesh::{ADMIN, RECEPTIONIST, TestMesh, a_patient, medisync, until},
};

/// As a client such a certificate is refused; a server is what it is for.
const FOR_SERVERS: &str = "for servers only";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\
    connection: close\r\n\r\n{}";

/// Somebody who stands where a part is expected, and shows one certificate after the other.
#[derive(Clone)]
struct Impostor {
    port: u16,
    identity: Arc<Mutex<Option<Identity>>>,
    /// What it was told, by anyone who took it for the part.
    bytes: Arc<AtomicUsize>,
}

// === impl Impostor ===

impl Impostor {
    async fn start() -> Self {
        let at = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
        let port = at.local_addr().unwrap().port();
        let impostor = Self { port, identity: Arc::default(), bytes: Arc::default() };
        let serving = impostor.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = at.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        impostor
    }

    fn show(&self, identity: &Identity) {
        self.bytes.store(0, Ordering::SeqCst);
        *self.identity.lock().unwrap() = Some(identity.clone());
    }

    async fn serve(self, stream: TcpStream) {
        let identity = self.identity.lock().unwrap().clone();
        let Some(identity) = identity else { return };
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(identity.chain(), key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else {
            return;
        };
        let mut part = [0; 4096];
        while let Ok(bytes @ 1..) = stream.read(&mut part).await {
            self.bytes.fetch_add(bytes, Ordering::SeqCst);
            if part[..bytes].windows(4).any(|it| it == b"\r\n\r\n") {
                let _ = stream.write_all(ANSWER).await;
                let _ = stream.shutdown().await;
                return;
            }
        }
    }

    fn was_told_nothing(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) == 0
    }
}

/// All certificates that a server can show, as this part's: those of the part, and the others.
fn shown_by_servers(world: &TestMesh, part: &str) -> (Vec<Shown>, Vec<Shown>) {
    let all = [Expected::Taken, Expected::Denied, Expected::Refused];
    let all = all.into_iter().flat_map(|expected| {
        let forms = forms(world, part, expected).into_iter();
        forms.map(move |shown| {
            let is_the_part = expected == Expected::Taken || shown.name == FOR_SERVERS;
            (is_the_part, shown)
        })
    });
    let with_one = all.filter(|(_, shown)| shown.identity.is_some());
    let (right, wrong): (Vec<_>, Vec<_>) = with_one.partition(|(is_the_part, _)| *is_the_part);
    let only = |list: Vec<(bool, Shown)>| list.into_iter().map(|(_, shown)| shown).collect();
    (only(right), only(wrong))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_gives_a_users_token_to_nobody_but_the_part() {
    let impostor = Impostor::start().await;
    let url = format!("https://127.0.0.1:{}", impostor.port);
    let world = TestMesh::embedded_with(&[("MEDISYNC_PATIENT__URL", &url)]).await;
    let admin = world.sign_in(ADMIN).await;
    let (right, wrong) = shown_by_servers(&world, "patient");
    assert!(wrong.len() >= 34, "{} certificates", wrong.len());
    for shown in &wrong {
        impostor.show(shown.identity.as_ref().unwrap());
        if shown.name == "revoked" {
            // The list is read again within moments.
            until("the revoked certificate is refused", || async {
                let answer = admin.get("/api/patients").await;
                answer.status != StatusCode::OK
            })
            .await;
            impostor.show(shown.identity.as_ref().unwrap());
        }
        admin.get("/api/patients").await.refused(503, "unavailable");
        assert!(impostor.was_told_nothing(), "{}", shown.name);
    }
    for shown in &right {
        impostor.show(shown.identity.as_ref().unwrap());
        // A connection was refused a moment ago: what was ejected is asked all the same.
        until(&shown.name, || async { admin.get("/api/patients").await.status == StatusCode::OK })
            .await;
        assert!(!impostor.was_told_nothing(), "{}", shown.name);
    }
}

/// All of the mesh's own connections but the proxy's are made by this function: patient's to
/// billing, those to auth for keys, sign-outs and audit logs, and the health checks.
#[tokio::test]
async fn no_other_connection_of_the_mesh_is_made_with_anybody_but_the_part() {
    let (impostor, world) = (Impostor::start().await, TestMesh::embedded().await);
    let (right, wrong) = shown_by_servers(&world, "billing");
    let pki = certs::pki(&world);
    let file = |name: &str| pki.join(name);
    let files = PemFiles {
        ca: file("ca.pem"),
        crl: file("crl.pem"),
        cert: file("patient.pem"),
        key: file("patient.key"),
    };
    let tls = MeshTls::load(Part::Patient, files).unwrap();
    let connects = async |alpn: &[&[u8]]| {
        let stream = TcpStream::connect(("127.0.0.1", impostor.port)).await.unwrap();
        tls.connect_alpn(Part::Billing, stream, alpn).await.is_ok()
    };
    for alpn in [&[&b"h2"[..]], &[&b"http/1.1"[..]]] {
        for shown in &wrong {
            impostor.show(shown.identity.as_ref().unwrap());
            assert!(!connects(alpn).await, "{}", shown.name);
            assert!(impostor.was_told_nothing(), "{}", shown.name);
        }
        for shown in &right {
            impostor.show(shown.identity.as_ref().unwrap());
            assert!(connects(alpn).await, "{}", shown.name);
        }
    }
}

#[tokio::test]
async fn whoever_stands_in_for_billing_is_told_nothing() {
    let at = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
    let url = format!("https://{}", at.local_addr().unwrap());
    let world = TestMesh::embedded_with(&[("MEDISYNC_BILLING__GRPC_URL", &url)]).await;
    let identity = Identity::of(&world, "analytics");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![identity.der()], key);
    let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
    let (calls, bytes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (made, told) = (Arc::clone(&calls), Arc::clone(&bytes));
    tokio::spawn(async move {
        while let Ok((stream, _)) = at.accept().await {
            let mut got = Vec::new();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.read_to_end(&mut got).await;
            }
            told.fetch_add(got.len(), Ordering::SeqCst);
            made.fetch_add(1, Ordering::SeqCst);
        }
    });
    let clerk = world.sign_in(RECEPTIONIST).await;
    let registered = clerk.post("/api/patients", &a_patient()).await;
    let patient = registered.expect(StatusCode::CREATED).json();
    assert_eq!(patient["billing"]["status"], "PENDING");
    until("billing was called", || async { calls.load(Ordering::SeqCst) > 0 }).await;
    assert_eq!(bytes.load(Ordering::SeqCst), 0);
    assert_eq!(clerk.accounts_of(patient["id"].as_str().unwrap()).await.len(), 0);
}

#[test]
fn a_part_whose_private_key_others_can_read_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    issue_certificates(&data);
    let pki = data.join("pki");
    let chain = pki.join("patient.pem").display().to_string();
    // One of the mesh, and then the public port's.
    for (part, key) in [("patient", "patient.key"), ("gateway", "billing.key")] {
        let key = pki.join(key);
        for mode in [0o644, 0o640, 0o604] {
            fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
            let mut command = medisync();
            command.args(["run", part, "--data-dir"]).arg(&data);
            if part == "gateway" {
                command.env("MEDISYNC_GATEWAY__TLS__CERT", &chain);
                command.env("MEDISYNC_GATEWAY__TLS__KEY", &key);
            }
            let refused = command.output().unwrap();
            let told = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(refused.status.code(), Some(1), "{told}");
            let line = format!(
                "{} is a private key that others can read (mode {mode:04o}): make it 0600",
                key.display()
            );
            assert!(told.contains(&line), "{told}");
        }
    }
}
