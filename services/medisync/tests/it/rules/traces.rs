//! Traces without a collector, and with one that is away.

use tokio::net::TcpListener;

use crate::test_mesh::{RECEPTIONIST, TestMesh, a_patient, until};

#[tokio::test]
async fn a_collector_that_is_away_is_missed_by_nobody() {
    // Nobody listens on this port any more.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{gone}");
    let environment =
        [("MEDISYNC_TRACES__OTLP_ENDPOINT", url.as_str()), ("MEDISYNC_TRACES__SAMPLE_SHARE", "1")];
    let mut world = TestMesh::start_with(&environment).await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    clerk.register(&a_patient()).await;
    until("spans are counted as lost", || async {
        let metrics = world.metrics().await;
        let lost = |line: &str| line.starts_with("trace_spans_total{outcome=\"failed\"}");
        metrics.lines().any(|line| lost(line) && !line.ends_with(" 0"))
    })
    .await;
    clerk.register(&a_patient()).await;
    world.terminate();
    assert!(world.ended().success());
}

#[tokio::test]
async fn without_a_collector_no_trace_is_kept_and_each_is_named_all_the_same() {
    let world = TestMesh::shared().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let nothing = clerk.get("/api/patients/00000000-0000-4000-8000-000000000000").await;
    let id = nothing.json()["traceId"].as_str().unwrap().to_owned();
    // A thread writes its lines when it has nothing else to do.
    until("the request is logged", || async { world.log().contains(&id) }).await;
    assert!(!world.metrics().await.contains("trace_spans_total"));
}
