//! What operators are told: traces from the client to the event, metrics by their names.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    certs::{Identity, client},
    test_mesh::{ADMIN, AUDITOR, RECEPTIONIST, TestMesh, a_patient},
};

const DEMO_PATIENTS: usize = 15;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The metrics of the interfaces, with their labels. Histograms are named without an ending.
const METRICS: &[(&str, &[&str])] = &[
    ("http_server_request_duration_seconds", &["service", "method", "route", "status"]),
    ("rpc_server_duration_seconds", &["service", "method", "code"]),
    ("rpc_client_duration_seconds", &["service", "peer", "method", "code"]),
    ("gateway_requests_total", &["route", "status"]),
    ("gateway_request_duration_seconds", &["route"]),
    ("gateway_upstream_errors_total", &["upstream", "kind"]),
    ("gateway_upstreams", &["upstream", "state"]),
    ("gateway_auth_total", &["outcome"]),
    ("gateway_rate_limited_total", &["limit"]),
    ("gateway_token_cache_total", &["outcome"]),
    ("circuit_breaker_state", &["peer"]),
    ("mesh_handshakes_total", &["service", "outcome"]),
    ("mesh_peer_denied_total", &["service", "peer"]),
    ("mesh_certificate_expiry_seconds", &["part"]),
    ("outbox_pending", &["service"]),
    ("outbox_oldest_age_seconds", &["service"]),
    ("events_published_total", &["topic"]),
    ("events_consumed_total", &["group", "type", "outcome"]),
    ("event_consumer_lag", &["group", "topic", "partition"]),
    ("db_pool_connections", &["service", "state"]),
    ("billing_accounts_confirmed_total", &[]),
    ("billing_accounts_pending", &[]),
    ("build_info", &["version"]),
    ("process_cpu_seconds_total", &[]),
    ("process_resident_memory_bytes", &[]),
    ("process_open_fds", &[]),
];

#[tokio::test]
async fn a_clients_trace_reaches_the_event_and_every_refusal() {
    let world = TestMesh::start().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let admin = world.sign_in(ADMIN).await;
    let traced = [("traceparent", TRACEPARENT)];
    let post =
        async |body: Value| clerk.send(Method::POST, "/api/patients", &traced, Some(&body)).await;
    let patient = post(a_patient()).await.expect(StatusCode::CREATED).json();
    let path = format!("/api/patients/{}", patient["id"].as_str().unwrap());
    let changed = clerk.send(Method::PUT, &path, &traced, Some(&a_patient())).await;
    changed.expect(StatusCode::OK);
    let removed = admin.send(Method::DELETE, &path, &traced, None).await;
    removed.expect(StatusCode::NO_CONTENT);
    world.drain().await;

    let events = headers_of(&world, patient["id"].as_str().unwrap(), DEMO_PATIENTS + 3);
    let types: Vec<_> = events.iter().map(|headers| headers["event-type"].as_str()).collect();
    assert_eq!(types, ["PATIENT_CREATED", "PATIENT_UPDATED", "PATIENT_DELETED"]);
    for headers in events {
        let names: Vec<_> = headers.keys().map(String::as_str).collect();
        assert_eq!(names, ["content-type", "event-id", "event-type", "traceparent"]);
        assert!(headers["traceparent"].starts_with(&format!("00-{TRACE}-")), "{headers:?}");
        assert_ne!(headers["traceparent"], TRACEPARENT, "the span is the client's own");
        assert_eq!(headers["content-type"], "application/x-protobuf");
    }

    let refused = |answer: crate::test_mesh::Answer, status, code| {
        let problem: Value = answer.refused(status, code);
        assert_eq!(problem["traceId"], TRACE, "{problem}");
    };
    refused(post(json!({})).await, 400, "invalid");
    let get = |path| clerk.send(Method::GET, path, &traced, None);
    refused(get("/api/patients/00000000-0000-4000-8000-00000000dead").await, 404, "not_found");
    refused(get("/nowhere").await, 404, "not_found");
    refused(get("/api/users").await, 403, "forbidden");
    let nobody = world.anybody();
    refused(nobody.send(Method::GET, "/auth/me", &traced, None).await, 401, "unauthenticated");
    for part in ["auth", "patient", "billing", "analytics", "notification"] {
        let nobody = world.at(part);
        refused(nobody.send(Method::GET, "/nowhere", &traced, None).await, 404, "not_found");
    }
    let at_patient = world.at("patient");
    refused(at_patient.send(Method::GET, "/patients", &traced, None).await, 401, "unauthenticated");
    let delete = at_patient.send(Method::DELETE, "/patients", &traced, None).await;
    refused(delete, 405, "method_not_allowed");
}

#[tokio::test]
async fn every_metric_has_its_name_and_its_labels_and_no_others() {
    let nowhere = [
        ("MEDISYNC_NOTIFICATION__URL", "http://127.0.0.1:1"),
        ("MEDISYNC_GATEWAY__RATE_LIMIT__USER", "20/1s"),
    ];
    let world = TestMesh::start_with(&nowhere).await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    clerk.register(&a_patient()).await;
    clerk.get("/api/notifications").await.refused(503, "unavailable");
    let auditor = world.sign_in(AUDITOR).await;
    auditor.get("/api/patients").await.refused(403, "forbidden");
    let wrong = client(&world, Some(&Identity::of(&world, "billing")));
    world.by(&wrong, "patient").get("/patients").await.refused(403, "forbidden");
    world.drain().await;

    let metrics = world.metrics().await;
    let found = labels(&metrics);
    for (name, wanted) in METRICS {
        let wanted: BTreeSet<_> = wanted.iter().map(|label| (*label).to_owned()).collect();
        let labels = found.get(*name).unwrap_or_else(|| panic!("no {name} in\n{metrics}"));
        assert_eq!(labels, &BTreeSet::from([wanted]), "{name}");
    }
    for outcome in
        ["ok", "missing", "malformed", "expired", "not_yet", "forged", "revoked", "forbidden"]
    {
        let series = format!("gateway_auth_total{{outcome=\"{outcome}\"}}");
        assert!(metrics.contains(&series), "{series}");
    }
    for part in ["gateway", "auth", "patient", "billing", "analytics", "notification"] {
        let name = format!("mesh_certificate_expiry_seconds{{part=\"{part}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        let left_s: i64 = line.unwrap_or_else(|| panic!("{name}")).parse().unwrap();
        assert!((80_000..=86_400).contains(&left_s), "{part}: {left_s}");
    }
}

/// The headers of a patient's events, oldest first, of this many events in all.
fn headers_of(world: &TestMesh, id: &str, events: usize) -> Vec<BTreeMap<String, String>> {
    let limit = events.to_string();
    let tail = ["events", "tail", "--from-beginning", "--output", "json", "--limit", &limit];
    let told = world.command(&tail, "");
    let events = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_patient = events.filter(|event| event["patientId"] == id);
    of_patient.map(|event| serde_json::from_value(event["headers"].clone()).unwrap()).collect()
}

/// Every series: name and labels as they are.
fn series(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

/// By metric: which sets of labels its series have.
fn labels(metrics: &str) -> BTreeMap<String, BTreeSet<BTreeSet<String>>> {
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for series in series(metrics) {
        let (name, labels) = series.split_once('{').unwrap_or((&series, ""));
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|e| name.strip_suffix(e));
        let name = name.unwrap_or(series.split('{').next().unwrap());
        // Values are ours and hold neither quotes nor equals signs.
        let labels = labels.trim_end_matches('}').split("\",").filter(|one| !one.is_empty());
        let names = labels.map(|one| one.split('=').next().unwrap().to_owned());
        let names = names.filter(|label| label != "le").collect();
        found.entry(name.to_owned()).or_default().insert(names);
    }
    found
}
