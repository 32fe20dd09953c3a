//! The public port with a certificate of its own.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Certificate, Client, Version};
use serde_json::json;

use crate::{
    caller::Caller,
    processes::Process,
    world::{ADMIN, medisync},
};

#[tokio::test]
async fn with_a_certificate_the_public_port_speaks_https_and_http_2() {
    shared_middleware::token::install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    fs::write(&chain, cert.pem()).unwrap();
    fs::write(&key, signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let environment = [
        ("MEDISYNC_GATEWAY__TLS__CERT".to_owned(), chain.display().to_string()),
        ("MEDISYNC_GATEWAY__TLS__KEY".to_owned(), key.display().to_string()),
    ];
    let data = folder.path().join("data");
    let mut mesh = Process::start(&["up"], &data, &environment, folder.path());
    let gateway = mesh.ready(folder.path())["gateway"].clone();
    let port = gateway.strip_prefix("https://127.0.0.1:").unwrap();

    let trusted = Certificate::from_pem(cert.pem().as_bytes()).unwrap();
    let client = Client::builder().tls_certs_only([trusted]).build().unwrap();
    let base = format!("https://localhost:{port}");
    let anybody = Caller { client, base, token: None };
    let told = anybody.log_in(ADMIN, "password123").await.json();
    let admin = anybody.with(told["token"].as_str().unwrap());
    let person = json!({
        "name": "Test Person", "email": "tls@example.com", "address": "1 Test Street",
        "dateOfBirth": "1990-02-28",
    });
    let registered = admin.post("/api/patients", &person).await;
    assert_eq!(registered.status, 201);
    assert!(registered.headers.contains_key("strict-transport-security"));
    let listed = admin.client.get(format!("{}/healthz", admin.base)).send().await.unwrap();
    assert_eq!(listed.version(), Version::HTTP_2);
    // Nobody is served in plaintext meanwhile.
    let plain = reqwest::get(format!("http://127.0.0.1:{port}/healthz")).await;
    assert!(plain.is_err());
    mesh.terminate();
    // The client goes on meanwhile: it is told to leave, and has to hear that.
    let ended = tokio::task::spawn_blocking(move || mesh.ended()).await.unwrap();
    assert!(ended.success());
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.pem");
    let run = medisync()
        .arg("up")
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .env("MEDISYNC_GATEWAY__TLS__CERT", &missing)
        .env("MEDISYNC_GATEWAY__TLS__KEY", &missing)
        .output()
        .unwrap();
    let told = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{told}");
    let line = told.lines().last().unwrap();
    assert!(line.contains("gateway.tls.cert") && line.contains("missing.pem"), "{told}");
}
