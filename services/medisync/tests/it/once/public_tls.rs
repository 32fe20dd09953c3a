//! The public port with a certificate of its own.

use reqwest::{StatusCode, Version, redirect::Policy};
use serde_json::json;

use crate::{
    https::Https,
    processes::{free_port, medisync},
    wire::{answers, said},
};

#[tokio::test]
async fn with_a_certificate_the_public_port_speaks_https_and_http_2() {
    let mut mesh = Https::start(&[]).await;
    let anybody = mesh.anybody();
    let admin = anybody.with(&mesh.token().await);
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
    let plain = reqwest::get(format!("http://{}/healthz", mesh.address())).await;
    assert!(plain.is_err());
    mesh.world.terminate();
    // The client goes on meanwhile: it is asked to leave, and has to hear that.
    let ended = tokio::task::spawn_blocking(move || mesh.world.ended()).await.unwrap();
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

#[tokio::test]
async fn who_comes_without_tls_is_sent_to_it_and_gets_nothing_else() {
    let (plain, short) = (format!("127.0.0.1:{}", free_port()), "500");
    let mesh = Https::start(&[
        ("MEDISYNC_GATEWAY__TLS__REDIRECT_LISTEN", &plain),
        ("MEDISYNC_GATEWAY__HEAD_MS", short),
    ])
    .await;
    let url = format!("http://{plain}");
    let token = mesh.token().await;
    let asked = format!(
        "GET /api/patients?size=1 HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    let found = answers(&url, asked.as_bytes()).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].status, StatusCode::PERMANENT_REDIRECT);
    let place = found[0].header("location");
    assert_eq!(place, format!("https://localhost:{}/api/patients?size=1", mesh.port));
    let followed = mesh.by(reqwest::Client::builder().redirect(Policy::none())).with(&token);
    let path = place.strip_prefix(&followed.base).unwrap();
    followed.get(path).await.expect(StatusCode::OK);
    for hostile in [
        "GET / HTTP/1.1\r\nHost: evil.example/x\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET //evil.example/ HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let found = answers(&url, hostile.as_bytes()).await;
        assert_eq!(found.len(), 1, "{hostile}");
        assert_eq!(found[0].status, StatusCode::BAD_REQUEST, "{hostile}");
    }
    // Half a head is not waited for.
    assert!(said(&url, b"GET / HT").await.is_empty());
}
