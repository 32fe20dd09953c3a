//! The authority of the mesh is replaced while requests go on.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tokio_rustls::rustls::version::TLS13;

use crate::{
    background_load::Meanwhile,
    certs::{Authority, Identity, client, handshake, pki, shown, taken},
    processes::{PARTS, SERVICES},
    test_mesh::{TestMesh, until},
};

const CUT_OFF_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_replaced_and_no_call_fails() {
    let world = TestMesh::start().await;
    let requests = Meanwhile::working(&world).await;
    let old = Identity::of(&world, "patient");
    let mut live =
        handshake(&world, world.url("billing gRPC"), Some(&old), &[&TLS13], &["h2"]).await.unwrap();

    world.command(&["pki", "rotate-ca", "begin"], "");
    let new = next_authority(&world).issue("gateway", &["spiffe://medisync/gateway"], |_| {});
    for part in SERVICES {
        until("both are trusted", || async {
            taken(handshake(&world, world.url(part), Some(&new), &[&TLS13], &["h2"]).await).await
        })
        .await;
    }
    requests.goes_on(10).await;
    world.command(&["pki", "rotate-ca", "switch"], "");
    for part in PARTS {
        world.command(&["pki", "issue", part], "");
    }
    for part in SERVICES {
        let new = Identity::of(&world, part).der().to_vec();
        until("the new certificate is shown", || async { shown(&world, part).await == new }).await;
    }
    requests.goes_on(10).await;

    // Who has a certificate of the old authority is a part to the last.
    let billing = world.url("billing gRPC");
    let still = handshake(&world, billing, Some(&old), &[&TLS13], &["h2", "http/1.1"]).await;
    assert!(taken(still).await);
    let begun = Instant::now();
    world.command(&["pki", "rotate-ca", "finish"], "");
    let mut rest = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut live, &mut rest).await;
    assert!(begun.elapsed() < CUT_OFF_WITHIN, "{:?}", begun.elapsed());
    let refused = handshake(&world, billing, Some(&old), &[&TLS13], &["h2", "http/1.1"]).await;
    assert!(!taken(refused).await);
    let closed = "mesh_connections_closed_total{reason=\"untrusted\",service=\"billing\"} ";
    let metrics = world.metrics().await;
    assert_ne!(metrics.lines().find_map(|line| line.strip_prefix(closed)), Some("0"));
    requests.goes_on(10).await;
    requests.ends_well().await;
    assert!(!world.log().contains("http.status=5"), "a request failed");
    let gateway = client(&world, Some(&Identity::of(&world, "gateway")));
    world.by(&gateway, "auth").get("/v3/api-docs").await.expect(StatusCode::OK);
}

/// The one that is trusted, and does not issue yet: the last in the bundle.
fn next_authority(world: &TestMesh) -> Authority {
    let read = |name| std::fs::read_to_string(pki(world).join(name)).unwrap();
    let bundle = read("ca.pem");
    let at = bundle.rfind("-----BEGIN CERTIFICATE-----").unwrap();
    Authority::by(&Identity { pem: bundle[at..].to_owned(), key: read("ca.next.key") })
}
