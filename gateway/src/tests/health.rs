//! Two replicas of a part: requests go to the one that is ready.

use std::time::Duration;

use shared_middleware::identity::{Part, Role};

use super::test_gateway::{Act, FakeUpstream, Health, TestGateway, answer};

const EVERY: Duration = Duration::from_millis(20);
/// The check during which a part changed its mind, the one after it, and the next, which comes when
/// that one was taken into account.
const CHECKS: usize = 3;
/// As many as it takes to be sure that a part which takes its turn is asked.
const REQUESTS: usize = 4;

/// A gateway that checks often, its part, and a second replica of the patient service.
async fn two() -> (TestGateway, FakeUpstream) {
    let other = FakeUpstream::start().await;
    let url = other.url();
    let gateway = TestGateway::start_with(|config| {
        config.health_every = EVERY;
        // The one part stands for all; what it is asked here is about this one alone.
        config.upstreams.retain(|part, _| *part == Part::Patient);
        config.upstreams.get_mut(&Part::Patient).unwrap().push(url);
    })
    .await;
    (gateway, other)
}

/// Sends some requests of both kinds; how many each replica got of them.
async fn in_flight_permits(gateway: &TestGateway, other: &FakeUpstream) -> (usize, usize) {
    let before = (gateway.part.seen().len(), other.seen().len());
    for n in 0..REQUESTS {
        let method = if n % 2 == 0 { "POST" } else { "GET" };
        let got = gateway.send_as(Role::Admin, method, "/api/patients").await;
        assert_eq!(got.status(), 200);
    }
    (gateway.part.seen().len() - before.0, other.seen().len() - before.1)
}

#[tokio::test]
async fn a_part_that_says_that_it_is_not_ready_gets_nothing_until_it_is() {
    let (gateway, other) = two().await;
    assert_eq!(in_flight_permits(&gateway, &other).await, (2, 2));
    other.says(Health::NotReady, CHECKS).await;
    assert_eq!(in_flight_permits(&gateway, &other).await, (4, 0));
    other.says(Health::Ready, CHECKS).await;
    assert_eq!(in_flight_permits(&gateway, &other).await, (2, 2));
}

#[tokio::test]
async fn a_part_that_answers_no_check_gets_nothing() {
    let (gateway, other) = two().await;
    // One more than for a clear word: a check may be lost.
    other.says(Health::Silent, CHECKS + 1).await;
    assert_eq!(in_flight_permits(&gateway, &other).await, (4, 0));
}

#[tokio::test]
async fn when_no_part_is_ready_they_are_tried_all_the_same() {
    let (gateway, other) = two().await;
    other.says(Health::NotReady, CHECKS).await;
    gateway.part.says(Health::NotReady, CHECKS).await;
    assert_eq!(in_flight_permits(&gateway, &other).await, (2, 2));
    gateway.part.says(Health::Ready, CHECKS).await;
    assert_eq!(in_flight_permits(&gateway, &other).await, (4, 0));
}

#[tokio::test]
async fn a_connection_that_is_kept_to_an_ejected_part_is_not_used() {
    let (gateway, other) = two().await;
    // Both have answered, so the gateway keeps a connection to each.
    assert_eq!(in_flight_permits(&gateway, &other).await, (2, 2));
    other.says(Health::NotReady, CHECKS).await;
    // Whatever came there now would be lost.
    other.will(Act::SendAndClose(vec![]));
    assert_eq!(in_flight_permits(&gateway, &other).await, (4, 0));
}

#[tokio::test]
async fn a_post_that_broke_at_one_replica_is_not_sent_to_the_other() {
    let (gateway, other) = two().await;
    for part in [&gateway.part, &other] {
        part.will(Act::SendAndClose(vec![]));
    }
    for n in 1..=2 {
        let request = gateway.request_as(Role::Admin, "POST", "/api/patients", "", "{}");
        assert_eq!(gateway.send(request).await.problem(), "unavailable");
        assert_eq!(gateway.part.seen().len() + other.seen().len(), n);
    }
}

#[tokio::test]
async fn a_part_that_ends_its_connection_does_not_end_the_clients() {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    for _ in 0..2 {
        gateway.part.will(Act::SendAndClose(answer("200 OK", "Connection: close\r\n", "bye")));
        client.send(gateway.request_as(Role::Admin, "POST", "/api/patients", "", "{}")).await;
        let got = client.answer().await;
        assert_eq!((got.status(), &*got.body), (200, b"bye".as_slice()));
        assert_ne!(got.header("connection"), Some("close"));
    }
}
