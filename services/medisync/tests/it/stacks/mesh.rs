//! Certificates of the mesh: who has which, and what happens when they are replaced.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _};

use proto::billing::v1::{
    CreateBillingAccountRequest, GetBillingAccountRequest,
    billing_service_client::BillingServiceClient,
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tonic::{
    Code,
    transport::{Certificate, Channel, ClientTlsConfig},
};

use crate::{
    background_load::Meanwhile,
    certs::{Authority, Identity, client, pki, shown},
    grpc::a_patient_id,
    processes::SERVICES,
    test_mesh::{ADMIN, RECEPTIONIST, TestMesh, a_patient, files, until},
    wire,
};

#[tokio::test]
async fn a_patient_has_one_account_however_often_it_is_opened() {
    let patient = a_patient_id();
    let world = TestMesh::start().await;
    let billing = billing(&world).await;
    let request = |patient_id: &str| CreateBillingAccountRequest {
        patient_id: patient_id.to_owned(),
        name: "Test Person".to_owned(),
        email: "test.person@example.com".to_owned(),
    };
    let openings: Vec<_> = (0..100)
        .map(|_| {
            let (mut billing, request) = (billing.clone(), request(&patient));
            tokio::spawn(async move { billing.create_billing_account(request).await })
        })
        .collect();
    let mut opened = BTreeSet::new();
    for opening in openings {
        let account = opening.await.unwrap().unwrap().into_inner();
        opened.insert((account.account_id, account.status));
    }
    assert_eq!(opened.len(), 1, "{opened:?}");

    let mut billing = billing;
    let get = |patient_id: &str| GetBillingAccountRequest { patient_id: patient_id.to_owned() };
    let found = billing.get_billing_account(get(&patient)).await.unwrap().into_inner();
    let (account_id, status) = opened.into_iter().next().unwrap();
    assert_eq!((&found.account_id, &found.status), (&account_id, &status));
    let admin = world.sign_in(ADMIN).await;
    let accounts = admin.accounts_of(&patient).await;
    assert_eq!((accounts.len(), &accounts[0]["id"]), (1, &json!(account_id)));

    for bad in ["", "1", "123e4567-e89b-12d3-a456-42661417400g", "{}", "' or 1=1 --"] {
        let refused = billing.create_billing_account(request(bad)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{bad}");
        let refused = billing.get_billing_account(get(bad)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{bad}");
    }
    let unknown = get("00000000-0000-4000-8000-00000000dead");
    let refused = billing.get_billing_account(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(admin.get("/api/billing/accounts?size=200").await.list("accounts").len(), 16);
}

#[tokio::test]
async fn when_strict_no_service_speaks_without_a_certificate_and_the_mesh_works() {
    let world = TestMesh::start_with(&[("MEDISYNC_MESH__MTLS", "strict")]).await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let admin = world.sign_in(ADMIN).await;
    let anonymous = client(&world, None);
    let gateway = client(&world, Some(&Identity::of(&world, "gateway")));
    for (part, path) in [
        ("auth", "/me"),
        ("patient", "/patients"),
        ("billing", "/accounts"),
        ("analytics", "/summary"),
        ("notification", "/notifications"),
    ] {
        for path in [path, "/v3/api-docs"] {
            let plain = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
            assert_eq!(wire::said(world.url(part), plain.as_bytes()).await, b"", "{part} {path}");
            let by_tls = world.by(&anonymous, part).with(admin.token.as_ref().unwrap());
            let tried = by_tls.try_send(Method::GET, path, &[], None).await;
            assert!(tried.is_err(), "{part} {path}: {tried:?}");
        }
        let right = world.by(&gateway, part).with(admin.token.as_ref().unwrap());
        right.get(path).await.expect(StatusCode::OK);
    }
    let answer = clerk.post("/api/patients", &a_patient()).await.expect(StatusCode::CREATED);
    let patient = answer.json();
    assert_eq!(patient["billing"]["status"], "ACTIVE");
    let id = patient["id"].as_str().unwrap();
    world.drain().await;
    assert_eq!(clerk.accounts_of(id).await.len(), 1);
    assert_eq!(clerk.messages_of(id).await.len(), 1);
    assert_eq!(admin.summary().await["created"], 16);
    for document in ["auth", "patients", "billing", "analytics", "notifications"] {
        let path = format!("/api-docs/{document}");
        world.anybody().get(&path).await.expect(StatusCode::OK);
    }
    assert_eq!(admin.post("/auth/logout", &json!({})).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn keys_are_private_and_certificates_name_one_part_for_a_day() {
    let world = TestMesh::untouched().await;
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = pki(&world);
    assert_eq!(mode(&folder), 0o700);
    let all = files(&folder, "");
    assert_eq!(all.len(), 14, "{all:?}");
    for file in &all {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    let shown = world.command(&["pki", "show"], "");
    for part in SERVICES.into_iter().chain(["gateway"]) {
        let der = Identity::of(&world, part).der();
        let id = format!("spiffe://medisync/{part}");
        // GeneralName's uniformResourceIdentifier has the tag 6; there is this one and no other.
        let name = [&[0x86, u8::try_from(id.len()).unwrap()], id.as_bytes()].concat();
        let times = |what: &[u8]| der.windows(what.len()).filter(|w| *w == what).count();
        assert_eq!((times(&name), times(b"://")), (1, 1), "{part}");
        let until_s = shared_middleware::tls::expiry_s(&folder.join(format!("{part}.pem")));
        let made = fs::metadata(folder.join(format!("{part}.pem"))).unwrap().modified().unwrap();
        let made_s = made.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let lives_s = until_s.unwrap() - i64::try_from(made_s).unwrap();
        // The clock of files may be a tick behind, and so in the second before.
        assert!((86_390..=86_401).contains(&lives_s), "{part} lives {lives_s} s");
        assert!(shown.contains(&id), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_while_requests_go_on() {
    let world = TestMesh::start().await;
    let requests = Meanwhile::working(&world).await;
    for part in SERVICES.into_iter().chain(["gateway"]) {
        world.command(&["pki", "issue", part], "");
    }
    for part in SERVICES {
        let new = Identity::of(&world, part).der().to_vec();
        until("the new certificate is shown", || async { shown(&world, part).await == new }).await;
    }
    requests.goes_on(10).await;

    let at = pki(&world).join("patient.pem");
    for broken in ["-----BEGIN CERTIFICATE-----\nMIIB", ""] {
        let before = reload_failures(&world).await;
        until("what is broken is counted", || async {
            // Another one may be issued before anybody has seen this one: what is broken is due.
            if fs::read_to_string(&at).unwrap_or_default() != broken {
                fs::write(&at, broken).unwrap();
            }
            reload_failures(&world).await > before
        })
        .await;
        // It goes on with the one that it had, or, where the minute's look for what is due has come
        // since, with another.
        assert!(!shown(&world, "patient").await.is_empty());
        requests.goes_on(5).await;
    }

    // One that is not the key's is passed over for the one that stands beside the key.
    let other = Authority::of(&world).issue("patient", &["spiffe://medisync/patient"], |_| {});
    fs::write(&at, &other.pem).unwrap();
    requests.goes_on(20).await;
    assert_ne!(shown(&world, "patient").await, other.der().to_vec());
    requests.ends_well().await;
    assert!(!world.log().contains("http.status=5"), "a request failed");
}

/// How often patient's certificate could not be read.
async fn reload_failures(world: &TestMesh) -> f64 {
    let metrics = world.metrics().await;
    let name = "mesh_certificate_reload_failures_total{part=\"patient\"} ";
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(name));
    lines.filter_map(|count| count.parse::<f64>().ok()).sum()
}

/// Billing's gRPC port, as the patient service calls it.
async fn billing(world: &TestMesh) -> BillingServiceClient<Channel> {
    let Identity { pem, key } = Identity::of(world, "patient");
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(Identity::of(world, "ca").pem))
        .identity(tonic::transport::Identity::from_pem(pem, key))
        .domain_name("billing");
    let endpoint = Channel::from_shared(world.url("billing gRPC").to_owned()).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
    BillingServiceClient::new(channel)
}
