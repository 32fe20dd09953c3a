//! Who stands in for a part, and who can read its private key.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::StatusCode;
use tokio::{io::AsyncReadExt as _, net::TcpListener};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::{
    certs::Identity,
    processes::{free_port, issue_certificates},
    world::{RECEPTIONIST, World, a_patient, medisync, until},
};

#[tokio::test]
async fn whoever_stands_in_for_billing_is_told_nothing() {
    let at = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
    let url = format!("https://{}", at.local_addr().unwrap());
    let world = World::embedded_with(&[("MEDISYNC_BILLING__GRPC_URL", &url)]).await;
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
