//! A part's certificate is revoked: it is cut off within seconds, and comes back with another one.

use std::time::{Duration, Instant};

use reqwest::{Response, StatusCode};
use tokio_rustls::rustls::version::TLS13;

use crate::{
    certs::{Identity, client, handshake, taken},
    test_mesh::{ADMIN, RECEPTIONIST, TestMesh, a_patient, by, until},
};

/// From the command to the end of the connection.
const CUT_OFF_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_stolen_certificate_is_worth_nothing_within_seconds() {
    let world = TestMesh::start().await;
    let stolen = Identity::of(&world, "patient");
    let mut stream = a_stream(&world, &stolen).await;
    let told = world.command(&["pki", "revoke", "patient"], "");
    let begun = Instant::now();
    assert!(told.contains("pki issue patient"), "{told}");
    world.command(&["pki", "issue", "patient"], "");
    ends(&mut stream).await;
    assert!(begun.elapsed() < CUT_OFF_WITHIN, "{:?}", begun.elapsed());

    let url = world.url("billing gRPC");
    let again = handshake(&world, url, Some(&stolen), &[&TLS13], &["h2", "http/1.1"]).await;
    assert!(!taken(again).await);
    let closed = "mesh_connections_closed_total{reason=\"revoked\",service=\"billing\"} ";
    let metrics = world.metrics().await;
    let count = metrics.lines().find_map(|line| line.strip_prefix(closed)).unwrap();
    assert_ne!(count, "0");
    assert!(world.log().contains("peer certificate no longer trusted"));
    assert!(world.command(&["pki", "show"], "").contains("\nrevoked "));

    // The part itself has another one, and is back.
    let clerk = world.sign_in(RECEPTIONIST).await;
    until("patients have accounts again", || async {
        let registered = clerk.post("/api/patients", &a_patient()).await;
        registered.status == 201 && registered.json()["billing"]["status"] == "ACTIVE"
    })
    .await;
    // Somebody else's certificate is revoked: the list is read again, and the connection lives.
    let mut stream = a_stream(&world, &Identity::of(&world, "patient")).await;
    let other = Identity::of(&world, "notification");
    world.command(&["pki", "revoke", "notification"], "");
    until("the list is read", || async {
        !taken(handshake(&world, url, Some(&other), &[&TLS13], &["h2", "http/1.1"]).await).await
    })
    .await;
    // How things are is told four times a second: for longer than anybody is left connected who
    // should not be.
    for _ in 0..16 {
        assert!(stream.chunk().await.unwrap().is_some(), "the stream has ended");
    }
}

#[tokio::test]
async fn a_part_that_was_revoked_is_called_by_nobody_until_another_certificate_is_issued() {
    let world = TestMesh::start().await;
    let admin = world.sign_in(ADMIN).await;
    admin.get("/api/billing/accounts").await.expect(StatusCode::OK);
    admin.register(&a_patient()).await;
    world.command(&["pki", "revoke", "billing"], "");
    let begun = Instant::now();
    by(begun + CUT_OFF_WITHIN, "the gateway calls it no more", || async {
        admin.get("/api/billing/accounts").await.status.is_server_error()
    })
    .await;
    // Patient reads the list by itself, where it is a process of its own.
    let patient = loop {
        let asked_after = begun.elapsed();
        let registered = admin.post("/api/patients", &a_patient()).await;
        let patient = registered.expect(StatusCode::CREATED).json();
        if patient["billing"]["status"] == "PENDING" {
            break patient;
        }
        assert!(asked_after < CUT_OFF_WITHIN, "called after {asked_after:?}");
    };
    let pending = patient["id"].as_str().unwrap();
    for _ in 0..5 {
        assert!(admin.get("/api/billing/accounts").await.status.is_server_error());
    }
    world.command(&["pki", "issue", "billing"], "");
    until("it is called again", || async {
        admin.get("/api/billing/accounts").await.status == 200
    })
    .await;
    until("the account is opened", || async { admin.accounts_of(pending).await.len() == 1 }).await;
}

/// A call that goes on for as long as both want it to.
async fn a_stream(world: &TestMesh, identity: &Identity) -> Response {
    let request = client(world, Some(identity))
        .post(format!("{}/grpc.health.v1.Health/Watch", world.url("billing gRPC")))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(vec![0; 5]);
    let mut stream = request.send().await.unwrap();
    assert!(stream.chunk().await.unwrap().is_some(), "it begins with how things are");
    stream
}

async fn ends(stream: &mut Response) {
    while let Ok(Some(_)) = stream.chunk().await {}
}
