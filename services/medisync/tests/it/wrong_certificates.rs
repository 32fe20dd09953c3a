//! Certificates that somebody might show instead of the right one, at both kinds of ports; and
//! private keys that somebody else might have read.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use prost::Message as _;
use proto::billing::v1::CreateBillingAccountRequest;
use reqwest::StatusCode;
use tokio::{io::AsyncReadExt as _, net::TcpListener};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, pem::PemObject as _},
        version::TLS13,
    },
};

use crate::{
    certificate_forms::{Expected, forms},
    certs::{Identity, client, handshake, taken},
    mesh::{CREATE, PATIENT, grpc},
    processes::{free_port, issue_certificates},
    world::{ADMIN, RECEPTIONIST, World, a_patient, medisync, until},
};

#[tokio::test]
async fn over_grpc_billing_opens_an_account_for_the_right_certificate_alone() {
    let world = World::start().await;
    let opening = CreateBillingAccountRequest {
        patient_id: PATIENT.to_owned(),
        name: "Test Person".to_owned(),
        email: "test.person@example.com".to_owned(),
    };
    let opening = opening.encode_to_vec();
    let denied = forms(&world, "patient", Expected::Denied);
    for shown in &denied {
        let client = client(&world, shown.identity.as_ref());
        let answer = grpc(&world, &client, CREATE, "5S", &opening).await;
        assert_eq!(answer, Err(Some("7".to_owned())), "{}", shown.name);
    }
    are_counted(&world, "billing", denied.len()).await;
    let admin = world.sign_in(ADMIN).await;
    assert_eq!(admin.accounts_of(PATIENT).await.len(), 0);
    for shown in forms(&world, "patient", Expected::Taken) {
        let client = client(&world, shown.identity.as_ref());
        let answer = grpc(&world, &client, CREATE, "5S", &opening).await;
        assert!(answer.is_ok(), "{}: {answer:?}", shown.name);
    }
    assert_eq!(admin.accounts_of(PATIENT).await.len(), 1);
    refuses(&world, "billing gRPC", "patient").await;
}

#[tokio::test]
async fn over_rest_when_strict_a_part_answers_the_right_certificate_alone() {
    let world = World::start_with(&[("MEDISYNC_MESH__MTLS", "strict")]).await;
    let token = world.sign_in(ADMIN).await.token.unwrap();
    let denied = forms(&world, "gateway", Expected::Denied);
    for shown in &denied {
        let client = client(&world, shown.identity.as_ref());
        let answer = world.by(&client, "patient").with(&token).get("/patients").await;
        answer.refused(403, "forbidden");
    }
    are_counted(&world, "patient", denied.len()).await;
    for shown in forms(&world, "gateway", Expected::Taken) {
        let client = client(&world, shown.identity.as_ref());
        let answer = world.by(&client, "patient").with(&token).get("/patients").await;
        answer.expect(StatusCode::OK);
    }
    refuses(&world, "patient", "gateway").await;
}

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

/// Nobody is let in who is no part of this mesh. What was revoked a moment ago is heard of soon.
async fn refuses(world: &World, port: &str, part: &str) {
    let refused = forms(world, part, Expected::Refused);
    for shown in &refused {
        let (url, identity) = (world.url(port), shown.identity.as_ref());
        until(&shown.name, || async {
            !taken(handshake(world, url, identity, &[&TLS13], &["h2", "http/1.1"]).await).await
        })
        .await;
    }
    let service = port.trim_end_matches(" gRPC");
    let series = format!("mesh_handshakes_total{{outcome=\"failed\",service=\"{service}\"}} ");
    until("every refusal is counted", || async {
        // Revoked while it shook hands, one is let in and its connection closed: it comes again.
        let last = refused.last().and_then(|shown| shown.identity.as_ref());
        let _ = handshake(world, world.url(port), last, &[&TLS13], &["h2", "http/1.1"]).await;
        let metrics = world.metrics().await;
        let counts = metrics.lines().filter_map(|line| line.strip_prefix(&*series));
        counts.map(|count| count.parse::<usize>().unwrap()).sum::<usize>() >= refused.len()
    })
    .await;
}

async fn are_counted(world: &World, service: &str, denied: usize) {
    let series =
        format!("mesh_peer_denied_total{{peer=\"stranger\",service=\"{service}\"}} {denied}\n");
    assert!(world.metrics().await.contains(&series), "{series}");
}
