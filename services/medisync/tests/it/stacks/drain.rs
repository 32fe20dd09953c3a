//! SIGTERM: no new requests, none lost, exit 0.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use crate::test_mesh::{ADMIN, TestMesh, a_patient, until};

const IN_FLIGHT: usize = 50;

#[tokio::test]
async fn when_it_is_told_to_stop_requests_in_flight_are_answered() {
    let mut world = TestMesh::start().await;
    let clerk = world.sign_in(ADMIN).await;
    let token = clerk.token.clone().unwrap();
    let address = world.url("gateway").trim_start_matches("http://").to_owned();
    // Each sends its head and half of its body, then waits: all are in flight, none can be
    // answered.
    let (sent, told) =
        (Arc::new(Barrier::new(IN_FLIGHT + 1)), Arc::new(Barrier::new(IN_FLIGHT + 1)));
    let clients: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (sent, told) = (Arc::clone(&sent), Arc::clone(&told));
            let (address, token) = (address.clone(), token.clone());
            thread::spawn(move || in_halves(&address, &token, &sent, &told))
        })
        .collect();
    sent.wait();
    until("all of them are being worked on", || async {
        let metrics = world.metrics().await;
        metrics.lines().any(|line| line == format!("gateway_requests_in_flight {IN_FLIGHT}"))
    })
    .await;
    let admin = world.at("admin");
    assert_eq!(admin.get("/readyz").await.status, 200);
    world.terminate();
    until("it says that it is not ready any more", || async {
        admin.get("/readyz").await.status == 503
    })
    .await;
    told.wait();
    for client in clients {
        let answer = client.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
    assert_eq!(world.ended().code(), Some(0));
    assert!(TcpStream::connect(&address).is_err(), "nobody listens any more");
}

/// Registers a patient, the second half of the request only when it is asked to.
fn in_halves(address: &str, token: &str, sent: &Barrier, told: &Barrier) -> String {
    let body = a_patient().to_string();
    let (first, second) = body.split_at(body.len() / 2);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "POST /api/patients HTTP/1.1\r\nhost: medisync\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    sent.wait();
    told.wait();
    stream.write_all(second.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_keep_the_process() {
    let mut world = TestMesh::start_with(&[
        ("MEDISYNC_DRAIN_SECONDS", "1"),
        ("MEDISYNC_MESH__MTLS", "permissive"),
    ])
    .await;
    let token = world.sign_in(ADMIN).await.token.unwrap();
    let mut streams = Vec::new();
    for part in ["gateway", "patient"] {
        let mut stream = TcpStream::connect(world.url(part).trim_start_matches("http://")).unwrap();
        let path = if part == "gateway" { "/api/patients" } else { "/patients" };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: medisync\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).unwrap();
        streams.push(stream);
    }
    world.terminate();
    assert_eq!(world.ended().code(), Some(0));
    drop(streams);
}

#[tokio::test]
async fn an_idle_mesh_stops_and_starts_again_with_all_that_it_had() {
    let mut world = TestMesh::start().await;
    let clerk = world.sign_in(ADMIN).await;
    let id = clerk.register(&a_patient()).await;
    let token = clerk.token.clone();
    world.terminate();
    assert_eq!(world.ended().code(), Some(0));

    let again = world.crash_and_restart();
    // The signing key is the same, so the token is still good.
    let clerk = crate::test_mesh::Caller { token, ..again.anybody() };
    assert_eq!(clerk.get(&format!("/api/patients/{id}")).await.status, 200);
}
