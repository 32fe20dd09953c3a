//! How many messages somebody gets.

use std::fs;

use kit::testing::engines;
use proto::patient_events::{PATIENT_CREATED, PATIENT_DELETED, PATIENT_UPDATED, PatientEvent};
use shared_middleware::rate_limit::RateLimit;

use super::{World, each_its_own, event};
use crate::limits::MessageLimits;

const AN_HOUR_S: i64 = 3600;

/// A change of the patient 7, to this name.
fn change(id: u128, name: &str) -> PatientEvent {
    PatientEvent { name: name.to_owned(), ..event(id, 7, PATIENT_UPDATED) }
}

#[tokio::test]
async fn many_changes_of_a_patient_are_told_in_one_message_an_hour_with_the_last_state() {
    for engine in engines() {
        let world = World::with_limits(engine, MessageLimits::default()).await;
        world.handle(&event(1, 7, PATIENT_CREATED)).await.unwrap();
        world.deliver().await;
        for n in 2..=41 {
            world.handle(&change(n, &format!("Grace {n}"))).await.unwrap();
            world.deliver().await;
        }
        assert_eq!(world.files(), 2, "the first change is told at once");
        world.time.pass_s(AN_HOUR_S - 1);
        world.deliver().await;
        assert_eq!(world.files(), 2);
        world.time.pass_s(1);
        world.deliver().await;
        assert_eq!(world.files(), 3);
        let last = fs::read_to_string(world.file(41)).unwrap();
        assert!(last.contains("Hello Grace 41,"), "{last}");
        // All of them are told, and nothing of the person stays.
        assert!(world.statuses().await.iter().all(|status| status == "SENT"));
        assert_eq!((world.statuses().await.len(), world.told_of().await), (41, 0));
        // Read again from the beginning, they are not told once more.
        for n in 2..=41 {
            world.handle(&change(n, &format!("Grace {n}"))).await.unwrap();
        }
        world.time.pass_s(AN_HOUR_S);
        world.deliver().await;
        assert_eq!(world.files(), 3);
    }
}

#[tokio::test]
async fn changes_of_others_do_not_wait_and_a_removal_waits_for_no_change() {
    for engine in engines() {
        let world = World::with_limits(engine, MessageLimits::default()).await;
        for n in 1..=3 {
            world.handle(&change(n, "Grace")).await.unwrap();
            world.deliver().await;
        }
        world.handle(&event(4, 8, PATIENT_UPDATED)).await.unwrap();
        world.deliver().await;
        assert_eq!(world.statuses().await, ["SENT", "PENDING", "PENDING", "SENT"]);
        world.handle(&event(5, 7, PATIENT_DELETED)).await.unwrap();
        world.deliver().await;
        assert!(world.statuses().await.iter().all(|status| status == "SENT"));
        assert!(world.file(5).exists() && !world.file(2).exists() && !world.file(3).exists());
        assert_eq!(world.told_of().await, 0);
    }
}

#[tokio::test]
async fn an_address_gets_so_many_messages_and_the_others_later() {
    for engine in engines() {
        let address = Some(RateLimit::every(3, 3600));
        let world = World::with_limits(engine, MessageLimits { address, ..each_its_own() }).await;
        // Each of another patient.
        for n in 1..=10 {
            world.handle(&event(n, 100 + n, PATIENT_CREATED)).await.unwrap();
        }
        let other =
            PatientEvent { email: "ada@example.com".to_owned(), ..event(11, 111, PATIENT_CREATED) };
        world.handle(&other).await.unwrap();
        world.deliver().await;
        assert!(world.file(11).exists(), "another address has its own allowance");
        assert_eq!(world.files(), 4);
        let pending = world.statuses().await.iter().filter(|it| *it == "PENDING").count();
        assert_eq!(pending, 7, "nothing is lost");
    }
}
