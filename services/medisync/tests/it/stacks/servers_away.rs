//! Servers that go away and come back while the mesh runs: what it does without them, and what
//! `/readyz?verbose` says.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::Value;
use testbed::{
    Kafka, Listener, Postgres, Right, Security, Version,
    postgres::Stop::{Fast, Immediate},
};

use crate::test_mesh::{ADMIN, RECEPTIONIST, TestMesh, a_patient, by, until};

/// What is said of a server that is back, and what it is needed for, works by then.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// What a part's process says of one of those that it depends on.
async fn told_of(world: &TestMesh, part: &str, name: &str) -> Value {
    let report = world.admin_of(part).get("/readyz?verbose").await.json();
    let all = report["dependencies"].as_array().unwrap();
    all.iter().find(|of| of["name"] == name).cloned().unwrap_or_else(|| panic!("{report}"))
}

async fn says(world: &TestMesh, name: &str, state: &str) -> bool {
    told_of(world, "patient", name).await["state"] == state
}

/// Sessions of the mesh on this server.
fn sessions(postgres: &Postgres) -> usize {
    let sql = "select count(*) from pg_stat_activity where application_name like 'medisync %'";
    postgres.ask(sql).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_named_and_is_used_again_when_it_is_back() {
    let postgres = Postgres::start(Version::Newest).unwrap();
    let (url, ca) = (postgres.url(), postgres.ca_pem());
    let url = format!("{url}?sslmode=verify-full&sslrootcert={}", ca.display());
    let environment = [
        ("MEDISYNC_PATIENT__DATABASE", url.as_str()),
        ("MEDISYNC_DEMO", "true"),
        // The default: less than a request may take.
        ("MEDISYNC_LIMITS__ACQUIRE_MS", "3000"),
    ];
    let world = TestMesh::start_with(&environment).await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let id = clerk.register(&a_patient()).await;
    assert_eq!(told_of(&world, "patient", "patient store").await["state"], "ok");
    for how in [Fast, Immediate] {
        postgres.stop(how).unwrap();
        // At the service itself: the gateway stops asking a service that is not ready.
        let path = format!("/patients/{id}");
        let service = world.at("patient").with(clerk.token.as_ref().unwrap());
        until("reads are refused", || async { service.get(&path).await.status == 503 }).await;
        service.get(&path).await.refused(503, "unavailable");
        service.post("/patients", &a_patient()).await.refused(503, "unavailable");
        clerk.post("/api/patients", &a_patient()).await.refused(503, "unavailable");
        for place in [&service.with("forged"), &clerk.with("forged")] {
            let path = if place.base == service.base { "/patients" } else { "/api/patients" };
            place.get(path).await.refused(401, "unauthenticated");
        }
        let told = told_of(&world, "patient", "patient store").await;
        assert_eq!((&told["state"], &told["required"]), (&"away".into(), &true.into()), "{told}");
        assert!(told["reason"].as_str().unwrap().contains("refused"), "{told}");
        assert!(told["since"].is_string() && !told.to_string().contains("password"), "{told}");
        assert_eq!(world.admin_of("patient").get("/readyz").await.status, 503);

        postgres.start_again().unwrap();
        let latest = Instant::now() + BACK_WITHIN;
        by(latest, "the store is back", || says(&world, "patient store", "ok")).await;
        let path = format!("/api/patients/{id}");
        by(latest, "reads work", || async { clerk.get(&path).await.status == 200 }).await;
        clerk.post("/api/patients", &a_patient()).await.expect(StatusCode::CREATED);
    }
    world.drain().await;
    let admin = world.sign_in(ADMIN).await;
    // What is shown of the outbox may be from before: anyone who relays has to find the store
    // again.
    until("15 of the demo, and ours are counted", || async {
        admin.summary().await["created"] == 18
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_has_no_more_sessions_than_it_may() {
    let postgres = Postgres::start(Version::Newest).unwrap();
    let url = postgres.url();
    let environment = [
        ("MEDISYNC_PATIENT__DATABASE", url.as_str()),
        ("MEDISYNC_DEMO", "true"),
        ("MEDISYNC_LIMITS__POOL_CONNECTIONS_MAX", "3"),
        ("MEDISYNC_LIMITS__ACQUIRE_MS", "60000"),
        ("MEDISYNC_LIMITS__DEADLINE_MS", "60000"),
        ("MEDISYNC_GATEWAY__UPSTREAM_MS", "60000"),
    ];
    let world = TestMesh::start_with(&environment).await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let mut most = 0;
    for _ in 0..5 {
        let registering = join_all((0..30).map(|_| async {
            let patient = a_patient();
            clerk.post("/api/patients", &patient).await.expect(StatusCode::CREATED);
        }));
        let counting = async {
            tokio::task::block_in_place(|| most = most.max(sessions(&postgres)));
        };
        tokio::join!(registering, counting);
    }
    // And the session of the lease.
    assert!((2..=3 + 1).contains(&most), "{most} sessions");
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_away_hold_up_events_and_nothing_else() {
    let kafka = Kafka::start(1, Security::None).unwrap();
    kafka.kill(1);
    let url = format!("kafka://{}", kafka.bootstrap());
    let prefix = ("MEDISYNC_EVENTS__PREFIX", "");
    let environment = [("MEDISYNC_EVENTS__LOG", url.as_str()), ("MEDISYNC_DEMO", "true"), prefix];
    let world = TestMesh::start_with(&environment).await;
    assert_eq!(world.admin_of("patient").get("/readyz").await.status, 200);
    let clerk = world.sign_in(RECEPTIONIST).await;
    let id = clerk.register(&a_patient()).await;
    let told = told_of(&world, "patient", "event log").await;
    assert_eq!((&told["state"], &told["required"]), (&"away".into(), &false.into()), "{told}");
    assert!(told["reason"].as_str().unwrap().contains("refused"), "{told}");

    kafka.start_again(1).unwrap();
    until("the log is back", || says(&world, "event log", "ok")).await;
    until("events flow", || async { clerk.messages_of(&id).await.len() == 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_missing_are_told_and_used_as_soon_as_they_are_given() {
    let kafka = Kafka::start(1, Security::Guarded).unwrap();
    kafka.allow(&[Right::SeeTopics, Right::MakeTopics]).unwrap();
    let at = kafka.bootstrap_of(Listener::SaslPlaintext);
    let url = format!("kafka://{}:{}@{at}", Kafka::USER, Kafka::PASSWORD);
    let prefix = ("MEDISYNC_EVENTS__PREFIX", "");
    let environment = [("MEDISYNC_EVENTS__LOG", url.as_str()), ("MEDISYNC_DEMO", "true"), prefix];
    let world = TestMesh::start_with(&environment).await;
    until("it says that events are refused", || async {
        let told = told_of(&world, "patient", "event log").await;
        told["reason"].as_str().is_some_and(|reason| reason.contains("no right to write"))
    })
    .await;
    assert_eq!(world.admin_of("patient").get("/readyz").await.status, 200);
    let log = world.log();
    let warned = |line: &str| line.contains("cannot publish") && line.contains("no right to write");
    assert!(log.lines().any(warned), "{log}");
    assert!(!log.contains(Kafka::PASSWORD));

    kafka.allow(&[Right::WriteTopics, Right::ReadTopics, Right::JoinGroups]).unwrap();
    until("events are taken", || says(&world, "event log", "ok")).await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let id = clerk.register(&a_patient()).await;
    until("events flow", || async { clerk.messages_of(&id).await.len() == 1 }).await;
}
