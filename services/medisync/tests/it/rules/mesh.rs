//! Who is heard at a part's own ports, and by which protocol.

use prost::Message as _;
use proto::billing::v1::CreateBillingAccountRequest;
use reqwest::{Method, StatusCode};
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::{
    certs::{Authority, HTTP_2_PREFACE, Identity, client, handshake, taken},
    grpc::{CREATE, SERVING, a_patient_id, grpc, health},
    test_mesh::{ADMIN, TestMesh, until},
    wire,
};

#[tokio::test]
async fn billings_grpc_port_speaks_http_2_by_tls_1_3_and_nothing_else() {
    let world = TestMesh::shared().await;
    let url = world.url("billing gRPC");
    assert_eq!(wire::said(url, HTTP_2_PREFACE).await, b"");
    assert_eq!(wire::said(url, b"POST / HTTP/1.1\r\nhost: x\r\n\r\n").await, b"");

    let right = Identity::of(&world, "patient");
    for protocols in [&[][..], &["http/1.1"]] {
        let tried = handshake(&world, url, Some(&right), &[&TLS13], protocols).await;
        assert!(!taken(tried).await, "{protocols:?}");
    }
    let tried = handshake(&world, url, Some(&right), &[&TLS13], &["http/1.1", "h2"]).await.unwrap();
    assert_eq!(tried.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert!(taken(Ok(tried)).await);
    let old = handshake(&world, url, Some(&right), &[&TLS12], &["h2"]).await;
    assert!(!taken(old).await, "TLS 1.2");
}

#[tokio::test]
async fn grpc_tells_its_health_and_its_services_and_honours_deadlines() {
    let patient = a_patient_id();
    let world = TestMesh::shared().await;
    let caller = client(&world, Some(&Identity::of(&world, "patient")));
    const SERVICE: &[u8] = b"medisync.billing.v1.BillingService";
    let named = [&[0x0a, u8::try_from(SERVICE.len()).unwrap()], SERVICE].concat();
    for service in [&named[..], &[]] {
        until("it is served", || async { health(&world, &caller, service).await == SERVING }).await;
    }
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        // ServerReflectionRequest { list_services: "" }
        let listed = grpc(&world, &caller, &path, "5S", &[0x3a, 0]).await.unwrap();
        let listed = String::from_utf8_lossy(&listed);
        for name in ["medisync.billing.v1.BillingService", "grpc.health.v1.Health"] {
            assert!(listed.contains(name), "{name} in {listed:?}");
        }
    }
    let admin = world.sign_in(ADMIN).await;
    let opening = CreateBillingAccountRequest {
        patient_id: patient.clone(),
        name: "Test Person".to_owned(),
        email: "test.person@example.com".to_owned(),
    };
    let opening = opening.encode_to_vec();
    for given in ["0m", "0n", "0S"] {
        let answer = grpc(&world, &caller, CREATE, given, &opening).await;
        assert_eq!(answer, Err(Some("4".to_owned())), "{given}");
        assert_eq!(admin.accounts_of(&patient).await.len(), 0, "{given}");
    }
    // So little may be enough, by chance; if not, that is what is told.
    for given in ["1n", "1u", "1m"] {
        let answer = grpc(&world, &caller, CREATE, given, &opening).await;
        let late = Err(Some("4".to_owned()));
        assert!(answer.is_ok() || answer == late, "{given}: {answer:?}");
    }
    grpc(&world, &caller, CREATE, "5S", &opening).await.unwrap();
    assert_eq!(admin.accounts_of(&patient).await.len(), 1);
}

#[tokio::test]
async fn when_permissive_tls_without_a_certificate_needs_a_token() {
    let world = TestMesh::permissive().await;
    let token = world.sign_in(ADMIN).await.token.unwrap();
    let anonymous = client(&world, None);
    for (part, path) in [
        ("auth", "/me"),
        ("patient", "/patients"),
        ("billing", "/accounts"),
        ("analytics", "/summary"),
        ("notification", "/notifications"),
    ] {
        let here = world.by(&anonymous, part);
        let forged = [
            ("x-user-id", "123e4567-e89b-12d3-a456-426614174000"),
            ("x-user-role", "ADMIN"),
            ("x-medisync-peer", "gateway"),
            ("x-forwarded-client-cert", "URI=spiffe://medisync/gateway"),
        ];
        for headers in [&[][..], &forged] {
            let refused = here.send(Method::GET, path, headers, None).await;
            refused.refused(401, "unauthenticated");
        }
        here.with(&token).get(path).await.expect(StatusCode::OK);
        here.get("/v3/api-docs").await.expect(StatusCode::OK);
        // One of another authority is not like none.
        let other =
            Authority::impostor(&world).issue("gateway", &["spiffe://medisync/gateway"], |_| {});
        let other = world.by(&client(&world, Some(&other)), part).with(&token);
        assert!(other.try_send(Method::GET, path, &[], None).await.is_err(), "{part}");
        let old = handshake(&world, world.url(part), None, &[&TLS12], &[]).await;
        assert!(!taken(old).await, "TLS 1.2 at {part}");
    }
}
