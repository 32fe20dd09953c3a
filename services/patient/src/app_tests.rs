//! The verbs, the billing that they ask, and the reconciler that finishes what it did not answer.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use jiff::SignedDuration;
use kit::testing::{TestEngine, engines};
use proto::billing::v1::CreateBillingAccountResponse;
use shared_middleware::trace_context::TraceContext;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tonic::Status;
use uuid::Uuid;

use crate::{
    app::{Registered, RequestKey},
    billing::{BillingError, CallBilling, OpenAccount, RetryPolicy, RetryingBilling},
    domain::{Billing, Condition, Patient},
    error::Error,
    reconcile::Rounds,
    testing::{FakeBilling, World, account_of, count, events, input, traces},
};

/// A billing that answers long after everybody has gone.
struct Late;

#[async_trait]
impl CallBilling for Late {
    async fn create_account(
        &self,
        _: &Patient,
        deadline: Duration,
    ) -> Result<CreateBillingAccountResponse, Status> {
        sleep(deadline).await;
        Err(Status::deadline_exceeded("late"))
    }
}

/// A billing that answers when it is asked to.
#[derive(Default)]
struct Held {
    asked: Notify,
    go_on: Notify,
}

#[async_trait]
impl OpenAccount for Held {
    async fn open(&self, patient: &Patient) -> Result<Uuid, BillingError> {
        self.asked.notify_one();
        self.go_on.notified().await;
        Ok(account_of(patient.id))
    }
}

fn of_version(version: i64) -> Condition {
    Condition { among: Some(vec![version]), ..Condition::default() }
}

fn render(patient: &Patient) -> String {
    format!("{} {}", patient.id, patient.billing.as_str())
}

fn key(key: &str) -> Option<RequestKey> {
    Some(RequestKey { caller: "u1".to_owned(), key: key.to_owned() })
}

impl World {
    async fn register(&self, email: &str, key: Option<&str>) -> Result<Registered, Error> {
        self.app.register(input("Jane Roe", email), key.and_then(self::key), render).await
    }

    async fn registered(&self, email: &str) -> Patient {
        match self.register(email, None).await.unwrap() {
            Registered::New(patient) => patient,
            Registered::Replayed { .. } => panic!("there was no key"),
        }
    }

    async fn is_active(&self, id: Uuid) -> bool {
        let kept = self.app.get(id).await.unwrap().billing;
        assert!(kept == Billing::Pending || kept == Billing::Active(account_of(id)));
        kept != Billing::Pending
    }

    fn opened(&self) -> usize {
        self.billing.opened.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_registration_opens_an_account_and_keeps_it() {
    for engine in engines() {
        let world = World::on(engine).await;
        let jane = world.registered("jane@example.com").await;
        assert_eq!(jane.billing, Billing::Active(account_of(jane.id)));
        assert!(world.is_active(jane.id).await);
        assert_eq!((world.opened(), events(&world.db).await.len()), (1, 1));
    }
}

#[tokio::test]
async fn a_billing_that_is_down_fails_no_registration_and_is_asked_again_until_it_answers() {
    for engine in engines() {
        let world = World::on(engine).await;
        let mut rounds = Rounds::default();
        world.billing.down.store(true, Ordering::SeqCst);
        let jane = world.registered("jane@example.com").await;
        assert_eq!(jane.billing, Billing::Pending);

        // Younger than what is left alone: its registration may still be asking by itself.
        assert_eq!(rounds.round(&world.app).await.unwrap(), 1);
        assert_eq!(world.billing.asked.load(Ordering::SeqCst), 1);
        world.time.pass(SignedDuration::from_secs(4));
        assert_eq!(rounds.round(&world.app).await.unwrap(), 1);
        assert_eq!(world.billing.asked.load(Ordering::SeqCst), 2);
        assert!(!world.is_active(jane.id).await);

        world.billing.down.store(false, Ordering::SeqCst);
        assert_eq!(rounds.round(&world.app).await.unwrap(), 0);
        assert!(world.is_active(jane.id).await);
        assert_eq!(rounds.round(&world.app).await.unwrap(), 0);
        assert_eq!((world.opened(), events(&world.db).await.len()), (1, 1));
        // An account is no change of the patient.
        assert_eq!(world.app.get(jane.id).await.unwrap().version, 1);
    }
}

#[tokio::test]
async fn patients_whom_billing_will_not_have_keep_it_from_no_other() {
    for engine in engines() {
        let world = World::on(engine).await;
        *world.billing.refuses.lock().unwrap() = Some("odd");
        for n in 0..60 {
            world.registered(&format!("odd{n}@example.com")).await;
        }
        world.billing.down.store(true, Ordering::SeqCst);
        let jane = world.registered("jane@example.com").await;
        world.billing.down.store(false, Ordering::SeqCst);
        world.time.pass(SignedDuration::from_secs(4));

        let mut rounds = Rounds::default();
        for _ in 0..2 {
            rounds.round(&world.app).await.unwrap();
        }
        assert!(world.is_active(jane.id).await);
        // And from the beginning again, once billing has changed its mind.
        *world.billing.refuses.lock().unwrap() = None;
        for _ in 0..2 {
            rounds.round(&world.app).await.unwrap();
        }
        assert_eq!(rounds.round(&world.app).await.unwrap(), 0);
        assert_eq!(world.opened(), 61);
    }
}

#[tokio::test(start_paused = true)]
async fn a_billing_that_answers_late_is_waited_for_no_longer_than_a_registration_may_take() {
    let retry_policy = RetryPolicy {
        call: Duration::from_millis(500),
        total: Duration::from_millis(1200),
        tries_max: 3,
    };
    let late = Arc::new(RetryingBilling::new(Late, retry_policy));
    // Only on SQLite: a paused clock would not wait for the server of the other.
    let world = World::with(TestEngine::Sqlite, late, Arc::<FakeBilling>::default()).await;
    let begun = Instant::now();
    let jane = world.registered("jane@example.com").await;
    assert_eq!(jane.billing, Billing::Pending);
    let took = begun.elapsed();
    assert!(took >= retry_policy.call * 2 && took <= retry_policy.total, "{took:?}");

    // Three failures in a row: the next one does not wait at all.
    let begun = Instant::now();
    let john = world.registered("john@example.com").await;
    assert_eq!((john.billing, begun.elapsed()), (Billing::Pending, Duration::ZERO));
    assert_eq!(world.app.store.waiting_for_account(world.app.clock.now()).await.unwrap().0, 2);
}

#[tokio::test]
async fn a_repeated_request_gets_the_final_answer_and_registers_nobody() {
    for engine in engines() {
        let world = World::on(engine).await;
        let first = world.register("jane@example.com", Some("k")).await.unwrap();
        let Registered::New(jane) = first else { panic!("it was the first") };
        for email in ["jane@example.com", " jane@example.com "] {
            let again = world.register(email, Some("k")).await.unwrap();
            let Registered::Replayed { patient_id, answer } = again else { panic!("it was not") };
            assert_eq!((patient_id, answer), (jane.id, format!("{} ACTIVE", jane.id)));
        }
        let other = world.register("john@example.com", Some("k")).await;
        assert!(matches!(other, Err(Error::KeyReused)));
        assert_eq!((world.opened(), events(&world.db).await.len()), (1, 1));
    }
}

#[tokio::test]
async fn a_registration_is_finished_when_its_client_has_gone() {
    for engine in engines() {
        let held = Arc::<Held>::default();
        let world = Arc::new(World::with(engine, Arc::clone(&held) as _, Arc::default()).await);
        let client = tokio::spawn({
            let world = Arc::clone(&world);
            async move { world.register("jane@example.com", Some("k")).await.map(drop) }
        });
        held.asked.notified().await;
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        let again = async || world.register("jane@example.com", Some("k")).await;
        assert!(matches!(again().await, Err(Error::InProgress)));
        held.go_on.notify_one();
        let answer = loop {
            match again().await {
                Err(Error::InProgress) => tokio::task::yield_now().await,
                Ok(Registered::Replayed { answer, .. }) => break answer,
                Ok(Registered::New(_)) => panic!("it was registered before"),
                Err(error) => panic!("{error:?}"),
            }
        };
        assert!(answer.ends_with(" ACTIVE"), "{answer}");
        assert_eq!(events(&world.db).await.len(), 1);
    }
}

#[tokio::test]
async fn what_another_process_left_unfinished_is_finished_by_whoever_repeats_the_request() {
    for engine in engines() {
        let held = Arc::<Held>::default();
        let gone = Arc::new(World::with(engine, Arc::clone(&held) as _, Arc::default()).await);
        let first = tokio::spawn({
            let gone = Arc::clone(&gone);
            async move { gone.register("jane@example.com", Some("k")).await }
        });
        held.asked.notified().await;
        // As far as this process knows nobody works on it: nobody is waited for.
        let here = gone.elsewhere(Arc::<FakeBilling>::default());
        let again = here.register(input("Jane Roe", "jane@example.com"), key("k"), render).await;
        let Ok(Registered::Replayed { patient_id, answer }) = again else {
            panic!("it was registered before")
        };
        assert_eq!(answer, format!("{patient_id} ACTIVE"));
        // If that process lives after all, it changes nothing.
        held.go_on.notify_one();
        let Registered::New(jane) = first.await.unwrap().unwrap() else { panic!("it was first") };
        assert_eq!(jane.id, patient_id);
        let again = gone.register("jane@example.com", Some("k")).await.unwrap();
        assert!(matches!(again, Registered::Replayed { answer: kept, .. } if kept == answer));
        assert_eq!(events(&gone.db).await.len(), 1);
    }
}

#[tokio::test]
async fn every_event_is_of_the_trace_that_caused_it() {
    for engine in engines() {
        let world = World::on(engine).await;
        let trace = TraceContext::start();
        let told = trace.scope(async {
            let jane = world.registered("jane@example.com").await;
            world
                .app
                .update(jane.id, input("Jane", "doe@example.com"), Condition::default())
                .await
                .unwrap();
            world.app.remove(jane.id, Condition::default()).await.unwrap();
            traces(&world.db).await
        });
        assert_eq!(told.await, vec![Some(trace.traceparent()); 3]);

        let world = World::on(engine).await;
        world.app.ensure_demo_patients().await.unwrap();
        let told: std::collections::BTreeSet<_> = traces(&world.db).await.into_iter().collect();
        assert_eq!((told.len(), told.contains(&None)), (15, false));
    }
}

#[tokio::test]
async fn the_reconciler_sweeps_answers_that_are_a_day_old() {
    for engine in engines() {
        let world = World::on(engine).await;
        world.register("jane@example.com", Some("k")).await.map(drop).unwrap();
        let kept = "select count(*) from idempotency";
        for (hours, left) in [(24, 1), (1, 0)] {
            world.time.pass(SignedDuration::from_hours(hours));
            Rounds::default().round(&world.app).await.unwrap();
            assert_eq!(count(&world.db, kept).await, left);
        }
    }
}

#[tokio::test]
async fn every_change_is_told_once_and_in_order() {
    for engine in engines() {
        let world = World::on(engine).await;
        let jane = world.registered("jane@example.com").await;
        let changed = input("Jane Doe", "doe@example.com");
        assert!(world.app.update(jane.id, input("", ""), Condition::default()).await.is_err());
        world.app.update(jane.id, changed, of_version(1)).await.unwrap();
        world.app.remove(jane.id, of_version(2)).await.unwrap();
        assert!(matches!(world.app.get(jane.id).await, Err(Error::NotFound)));
        let told = events(&world.db).await;
        let types: Vec<_> = told.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(types, ["PATIENT_CREATED", "PATIENT_UPDATED", "PATIENT_DELETED"]);
        assert!(told.iter().map(|event| event.version).eq(1..=3));
        assert!(told.iter().all(|event| event.patient_id == jane.id.to_string()));
        // Anyone who is told farewell is who the patient was at the end.
        assert_eq!(
            (told[2].name.as_str(), told[2].email.as_str()),
            ("Jane Doe", "doe@example.com")
        );
        let mut ids: Vec<_> = told.iter().map(|event| event.event_id.as_str()).collect();
        ids.dedup();
        assert_eq!(ids.len(), 3);
    }
}

#[tokio::test]
async fn demo_patients_are_registered_once_and_only_in_an_empty_store() {
    for engine in engines() {
        let world = World::on(engine).await;
        assert!(!world.app.has_demo_patients().await.unwrap());
        for _ in 0..2 {
            world.app.ensure_demo_patients().await.unwrap();
        }
        assert!(world.app.has_demo_patients().await.unwrap());
        assert_eq!((world.opened(), events(&world.db).await.len()), (15, 15));

        let world = World::on(engine).await;
        world.registered("jane@example.com").await;
        world.app.ensure_demo_patients().await.unwrap();
        assert!(!world.app.has_demo_patients().await.unwrap());
    }
}
