//! Certificates that somebody might show instead of the right one, at both kinds of ports.

use prost::Message as _;
use proto::billing::v1::CreateBillingAccountRequest;
use reqwest::StatusCode;
use tokio_rustls::rustls::version::TLS13;

use crate::{
    certificate_forms::{Expected, forms},
    certs::{client, handshake, taken},
    grpc::{CREATE, a_patient_id, grpc},
    test_mesh::{ADMIN, TestMesh, until},
};

#[tokio::test]
async fn over_grpc_billing_opens_an_account_for_the_right_certificate_alone() {
    let patient = a_patient_id();
    let world = TestMesh::start().await;
    let opening = CreateBillingAccountRequest {
        patient_id: patient.clone(),
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
    assert_eq!(admin.accounts_of(&patient).await.len(), 0);
    for shown in forms(&world, "patient", Expected::Taken) {
        let client = client(&world, shown.identity.as_ref());
        let answer = grpc(&world, &client, CREATE, "5S", &opening).await;
        assert!(answer.is_ok(), "{}: {answer:?}", shown.name);
    }
    assert_eq!(admin.accounts_of(&patient).await.len(), 1);
    refuses(&world, "billing gRPC", "patient").await;
}

#[tokio::test]
async fn over_rest_when_strict_a_part_answers_the_right_certificate_alone() {
    let world = TestMesh::start_with(&[("MEDISYNC_MESH__MTLS", "strict")]).await;
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

/// Nobody is let in who is no part of this mesh. What was revoked a moment ago is heard of soon.
async fn refuses(world: &TestMesh, port: &str, part: &str) {
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

async fn are_counted(world: &TestMesh, service: &str, denied: usize) {
    let series =
        format!("mesh_peer_denied_total{{peer=\"stranger\",service=\"{service}\"}} {denied}\n");
    assert!(world.metrics().await.contains(&series), "{series}");
}
