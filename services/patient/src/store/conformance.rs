//! What the patients' store must do, on every engine: writes, their events, first answers.

use jiff::{SignedDuration, civil::date};
use kit::{
    db::{Db, DbError},
    testing::{TestStore, engines},
};
use uuid::Uuid;

use super::{Change, IdempotencyKey, IdempotencyOutcome, Opened, Registration, Store, migrations};
use crate::{
    domain::{Billing, Condition, Details, Patient},
    error::Error,
    events::{PATIENT_CREATED, PATIENT_DELETED, PATIENT_UPDATED, event},
    testing::{NOW, count, details, events, patient},
};

/// A store, its tables, and what keeps them there.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) db: Db,
    kept: TestStore,
}

impl World {
    async fn opened(&self, patient_id: Uuid, account: Uuid) -> Result<(), DbError> {
        self.store.opened(Opened { patient_id, account, answer: None }).await
    }

    pub(super) const fn kept(&self) -> &TestStore {
        &self.kept
    }

    pub(super) async fn on(engine: kit::testing::TestEngine) -> Self {
        let kept = TestStore::on(engine).await;
        let db = kept.open(migrations()).await;
        Self { store: Store::new(db.clone()), db, kept }
    }

    pub(super) async fn add(&self, patient: &Patient) {
        let added = self.store.register(registration(patient, None)).await.unwrap();
        assert!(matches!(added, IdempotencyOutcome::Now));
    }

    pub(super) async fn remove(&self, id: Uuid) {
        self.store.remove(change(id, None), PATIENT_DELETED).await.unwrap();
    }

    async fn rows(&self) -> [i64; 3] {
        [
            count(&self.db, "select count(*) from patient").await,
            count(&self.db, "select count(*) from outbox").await,
            count(&self.db, "select count(*) from idempotency").await,
        ]
    }

    /// Registers it with a key at that time after the beginning; tells what came of it.
    async fn again(&self, id: u128, asked: &[u8], after: SignedDuration) -> Result<String, Error> {
        let patient = Patient { created_at: NOW + after, ..patient(id) };
        let key = IdempotencyKey { fingerprint: asked.to_vec(), ..key() };
        match self.store.register(registration(&patient, Some(key))).await? {
            IdempotencyOutcome::Now => Ok("new".to_owned()),
            IdempotencyOutcome::Before { patient_id, answer, is_final } => {
                assert_eq!(patient_id, Uuid::from_u128(1));
                Ok(if is_final { answer } else { format!("{answer}, not final") })
            }
        }
    }
}

fn key() -> IdempotencyKey {
    let fingerprint = b"asked".to_vec();
    IdempotencyKey { caller: "u1".to_owned(), key: "k1".to_owned(), fingerprint }
}

pub(super) fn registration(patient: &Patient, key: Option<IdempotencyKey>) -> Registration {
    let event_id = Uuid::from_u128(patient.id.as_u128() << 64);
    Registration {
        event: event(PATIENT_CREATED, event_id, patient, patient.version, patient.created_at, None),
        patient: patient.clone(),
        answer: "first".to_owned(),
        key,
    }
}

fn change(id: Uuid, versions: Option<Vec<i64>>) -> Change {
    let now = NOW + SignedDuration::from_secs(1);
    let condition = Condition { among: versions, ..Condition::default() };
    Change { id, condition, now, event_id: Uuid::nil(), trace: None }
}

#[tokio::test]
async fn a_registration_keeps_the_row_the_event_and_the_first_answer_together() {
    for engine in engines() {
        let world = World::on(engine).await;
        let jane = patient(1);
        let added = world.store.register(registration(&jane, Some(key()))).await.unwrap();
        assert!(matches!(added, IdempotencyOutcome::Now));
        assert_eq!(world.rows().await, [1, 1, 1]);
        assert!(world.store.get(jane.id).await.unwrap() == Some(jane));
    }
}

#[tokio::test]
async fn a_registration_that_fails_keeps_nothing() {
    for engine in engines() {
        let world = World::on(engine).await;
        world.add(&patient(1)).await;
        let same_email = Patient { details: details("Other", "P1@EXAMPLE.com"), ..patient(2) };
        let taken = world.store.register(registration(&same_email, Some(key()))).await;
        assert!(matches!(taken, Err(Error::EmailTaken)));
        let same_id = Patient { details: details("Other", "other@example.com"), ..patient(1) };
        let taken = world.store.register(registration(&same_id, Some(key()))).await;
        assert!(matches!(taken, Err(Error::IdTaken)));
        assert_eq!(world.rows().await, [1, 1, 0]);
        // The key is as good as new.
        assert_eq!(world.again(3, b"asked", SignedDuration::ZERO).await.unwrap(), "new");
    }
}

#[tokio::test]
async fn a_change_is_refused_unless_it_names_the_version_that_is_there() {
    for engine in engines() {
        let world = World::on(engine).await;
        let jane = patient(1);
        world.add(&jane).await;
        let emails = std::cell::Cell::new(0);
        let update = async |versions| {
            emails.set(emails.get() + 1);
            let changed = details("Jane Doe", &format!("jane{}@example.com", emails.get()));
            world.store.update(change(jane.id, versions), changed, PATIENT_UPDATED).await
        };
        assert_eq!(update(None).await.unwrap().version, 2);
        assert_eq!(update(Some(vec![1, 2])).await.unwrap().version, 3);
        for stale in [vec![], vec![2], vec![4]] {
            assert!(matches!(update(Some(stale.clone())).await, Err(Error::Changed)));
            let removed = world.store.remove(change(jane.id, Some(stale)), PATIENT_DELETED).await;
            assert!(matches!(removed, Err(Error::Changed)));
        }
        let kept = world.store.get(jane.id).await.unwrap().unwrap();
        assert_eq!((kept.version, kept.details.name.as_str()), (3, "Jane Doe"));
        assert_eq!((kept.created_at, kept.updated_at), (NOW, NOW + SignedDuration::from_secs(1)));
        world.store.remove(change(jane.id, Some(vec![3])), PATIENT_DELETED).await.unwrap();
        assert!(matches!(update(None).await, Err(Error::NotFound)));
        let again = world.store.remove(change(jane.id, None), PATIENT_DELETED).await;
        assert!(matches!(again, Err(Error::NotFound)));
        assert_eq!(events(&world.db).await.len(), 4);
    }
}

#[tokio::test]
async fn what_changes_nothing_makes_no_version_and_no_event() {
    for engine in engines() {
        let world = World::on(engine).await;
        let jane = patient(1);
        world.add(&jane).await;
        let update = async |among, details| {
            world.store.update(change(jane.id, among), details, PATIENT_UPDATED).await
        };
        let same = update(None, jane.details.clone()).await.unwrap();
        assert!(same == jane && world.store.get(jane.id).await.unwrap() == Some(jane.clone()));
        // Also then only the version that is meant.
        let stale = update(Some(vec![2]), jane.details.clone()).await;
        assert!(matches!(stale, Err(Error::Changed)));
        assert_eq!(events(&world.db).await.len(), 1);
        // Another case is another text.
        let upper = details("Jane Roe", "P1@example.com");
        assert_eq!(update(None, upper).await.unwrap().version, 2);
        assert_eq!(events(&world.db).await.len(), 2);
    }
}

#[tokio::test]
async fn nobody_becomes_born_after_the_day_of_registration() {
    for engine in engines() {
        let world = World::on(engine).await;
        let jane = Patient { registered_date: date(2000, 1, 1), ..patient(1) };
        world.add(&jane).await;
        let later = Details { date_of_birth: date(2000, 1, 2), ..jane.details.clone() };
        let refused = world.store.update(change(jane.id, None), later, PATIENT_UPDATED).await;
        let Err(Error::Invalid(invalid)) = refused else { panic!("it is not refused") };
        assert_eq!(invalid.fields()[0].field, "dateOfBirth");
        assert!(world.store.get(jane.id).await.unwrap() == Some(jane));
    }
}

#[tokio::test]
async fn of_changes_at_once_each_gets_a_version_and_an_event_of_its_own() {
    for engine in engines() {
        let world = World::on(engine).await;
        let jane = patient(1);
        world.add(&jane).await;
        let changing: Vec<_> = (0..16)
            .map(|n| {
                let store = world.store.clone();
                let change = change(jane.id, (n % 2 == 0).then(|| vec![1]));
                let details = details("Jane", &format!("jane{n}@example.com"));
                tokio::spawn(async move { store.update(change, details, PATIENT_UPDATED).await })
            })
            .collect();
        let mut versions = Vec::new();
        for changed in changing {
            match changed.await.unwrap() {
                Ok(changed) => versions.push(changed.version),
                Err(error) => assert!(matches!(error, Error::Changed), "{error:?}"),
            }
        }
        world.remove(jane.id).await;
        versions.sort_unstable();
        let last = i64::try_from(versions.len()).unwrap() + 1;
        assert!(versions.iter().copied().eq(2..=last) && last >= 9, "{versions:?}");
        let told = events(&world.db).await;
        assert!(told.iter().map(|event| event.version).eq(1..=last + 1));
        assert_eq!(told[0].event_type, PATIENT_CREATED);
        assert_eq!(told.last().unwrap().event_type, PATIENT_DELETED);
    }
}

#[tokio::test]
async fn an_email_is_of_one_patient_whoever_is_faster() {
    for engine in engines() {
        let world = World::on(engine).await;
        let adding: Vec<_> = (1..=8)
            .map(|id| {
                let details = details("Jane", "jane@example.com");
                let registration = registration(&Patient { details, ..patient(id) }, None);
                let store = world.store.clone();
                tokio::spawn(async move { store.register(registration).await })
            })
            .collect();
        let mut added = 0;
        for result in adding {
            match result.await.unwrap() {
                Ok(_) => added += 1,
                Err(error) => assert!(matches!(error, Error::EmailTaken), "{error:?}"),
            }
        }
        assert_eq!((added, world.rows().await), (1, [1, 1, 0]));
        world.add(&patient(9)).await;
        let taken = details("Other", "JANE@example.com");
        let changed = change(Uuid::from_u128(9), None);
        let changed = world.store.update(changed, taken, PATIENT_UPDATED).await;
        assert!(matches!(changed, Err(Error::EmailTaken)));
        assert_eq!(world.rows().await, [2, 2, 0]);
    }
}

#[tokio::test]
async fn a_removal_erases_the_answer_and_the_search_terms() {
    for engine in engines() {
        let world = World::on(engine).await;
        assert_eq!(world.again(1, b"asked", SignedDuration::ZERO).await.unwrap(), "new");
        let (jane, terms) = (
            Uuid::from_u128(1),
            match engine.engine() {
                kit::db::Engine::Sqlite => "select count(*) from patient_search",
                kit::db::Engine::Postgres => "select count(*) from patient where search <> ''",
            },
        );
        assert_eq!(count(&world.db, terms).await, 1);
        world.remove(jane).await;
        let kept = "select count(*) from idempotency where answer is not null";
        assert_eq!((count(&world.db, kept).await, count(&world.db, terms).await), (0, 0));
        assert_eq!(world.rows().await, [0, 2, 1]);
        // A registration that was still under way does not bring the answer back.
        world.store.finish(key(), "final".to_owned()).await.unwrap();
        assert_eq!(count(&world.db, kept).await, 0);
        let again = world.again(2, b"asked", SignedDuration::ZERO).await;
        assert!(matches!(again, Err(Error::Removed)), "{again:?}");
        // The email is free.
        world.add(&Patient { id: Uuid::from_u128(2), ..patient(1) }).await;
    }
}

#[tokio::test]
async fn a_key_has_an_answer_then_a_final_one_then_none() {
    let (second, day) = (SignedDuration::from_secs(1), SignedDuration::from_hours(24));
    for engine in engines() {
        let world = World::on(engine).await;
        assert_eq!(world.again(1, b"asked", SignedDuration::ZERO).await.unwrap(), "new");
        assert_eq!(world.again(2, b"asked", second).await.unwrap(), "first, not final");
        for answer in ["final", "another"] {
            let kept = world.store.finish(key(), answer.to_owned()).await.unwrap();
            assert_eq!(kept.as_deref(), Some("final"));
        }
        assert_eq!(world.again(2, b"asked", second).await.unwrap(), "final");
        let other = world.again(2, b"other", second).await;
        assert!(matches!(other, Err(Error::KeyReused)), "{other:?}");
        assert_eq!(world.again(2, b"asked", day).await.unwrap(), "final");
        assert_eq!(world.rows().await, [1, 1, 1]);
        assert_eq!(world.again(2, b"other", day + second).await.unwrap(), "new");
        assert_eq!(world.rows().await, [2, 2, 1]);
    }
}

#[tokio::test]
async fn of_requests_with_one_key_at_once_one_registers() {
    for engine in engines() {
        let world = World::on(engine).await;
        let adding: Vec<_> = (1..=8)
            .map(|id| {
                let registration = registration(&patient(id), Some(key()));
                let store = world.store.clone();
                tokio::spawn(async move { store.register(registration).await })
            })
            .collect();
        let mut added = 0;
        for result in adding {
            match result.await.unwrap() {
                Ok(IdempotencyOutcome::Now) => added += 1,
                Ok(IdempotencyOutcome::Before { is_final, .. }) => assert!(!is_final),
                Err(error) => assert!(matches!(error, Error::InProgress), "{error:?}"),
            }
        }
        assert_eq!((added, world.rows().await), (1, [1, 1, 1]));
    }
}

#[tokio::test]
async fn keys_are_of_their_caller_and_old_ones_are_swept() {
    for engine in engines() {
        let world = World::on(engine).await;
        assert_eq!(world.again(1, b"asked", SignedDuration::ZERO).await.unwrap(), "new");
        let other = IdempotencyKey { caller: "u2".to_owned(), ..key() };
        let added = world.store.register(registration(&patient(2), Some(other))).await.unwrap();
        assert!(matches!(added, IdempotencyOutcome::Now));
        world.store.forget_answers(NOW).await.unwrap();
        assert_eq!(world.rows().await[2], 2);
        world.store.forget_answers(NOW + SignedDuration::from_micros(1)).await.unwrap();
        assert_eq!(world.rows().await[2], 0);
    }
}

#[tokio::test]
async fn patients_without_account_are_told_oldest_first_once_they_are_old_enough() {
    let second = SignedDuration::from_secs(1);
    for engine in engines() {
        let world = World::on(engine).await;
        assert!(world.store.is_empty().await.unwrap());
        for (id, age) in [(1, 2), (2, 4), (3, 3), (4, 4), (5, 5)] {
            world.add(&Patient { created_at: NOW - second * age, ..patient(id) }).await;
        }
        assert!(!world.store.is_empty().await.unwrap());
        let account = Uuid::from_u128(55);
        world.opened(Uuid::from_u128(5), account).await.unwrap();
        // A second answer changes nothing.
        world.opened(Uuid::from_u128(5), Uuid::nil()).await.unwrap();
        let kept = world.store.get(Uuid::from_u128(5)).await.unwrap().unwrap();
        assert_eq!((kept.billing, kept.version), (Billing::Active(account), 1));

        let before = NOW - second * 2;
        let found = world.store.without_account(before, None, 10).await.unwrap();
        let ids = |found: &[Patient]| found.iter().map(|it| it.id.as_u128()).collect::<Vec<_>>();
        assert_eq!(ids(&found), [2, 4, 3]);
        let after = Some((found[0].created_at, found[0].id));
        let next = world.store.without_account(before, after, 1).await.unwrap();
        assert_eq!(ids(&next), [4]);
        assert_eq!(world.store.waiting_for_account(NOW).await.unwrap().0, 4);
        // A registration that is committed late is found all the same, also when nobody waits.
        for id in [1, 2, 3, 4] {
            world.opened(Uuid::from_u128(id), account).await.unwrap();
        }
        let later = NOW + second * 3600;
        assert_eq!(world.store.waiting_for_account(later).await.unwrap(), (0, None));
        world.add(&Patient { created_at: later - second * 500, ..patient(6) }).await;
        let found = world.store.without_account(later, None, 10).await.unwrap();
        assert_eq!(ids(&found), [6]);
        assert_eq!(world.store.waiting_for_account(later).await.unwrap().0, 1);
    }
}
