//! Registrations that come at once: what is refused is refused alone, and nothing is done twice.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use kit::{
    db::{Db, DbConfig, Engine},
    testing::engines,
};
use testbed::proxy::{Behaviour, Proxy};
use uuid::Uuid;

use super::{
    IdempotencyKey, IdempotencyOutcome, Opened, Registration, Store,
    conformance::{World, registration},
    migrations,
};
use crate::{
    domain::{Billing, Patient, Text},
    error::Error,
    testing::{count, details, patient},
};

/// Someone whose email is of this number, registered under this id.
fn someone(id: u128, email: u128) -> Patient {
    Patient { details: details("Jane Roe", &format!("p{email}@example.com")), ..patient(id) }
}

fn key(name: u128, asked: &[u8]) -> IdempotencyKey {
    let (caller, key) = ("u1".to_owned(), format!("key {name}"));
    IdempotencyKey { caller, key, fingerprint: asked.to_vec() }
}

async fn register_all(
    store: &Store,
    all: impl IntoIterator<Item = Registration>,
) -> Vec<Result<IdempotencyOutcome, Error>> {
    join_all(all.into_iter().map(|new| store.register(new))).await
}

#[tokio::test]
async fn of_many_at_once_only_those_are_refused_that_must_be() {
    for engine in engines() {
        let world = World::on(engine).await;
        world.add(&someone(1, 1)).await;
        let answered = world.store.register(registration(&someone(2, 2), Some(key(2, b"asked"))));
        answered.await.unwrap();
        let mut all: Vec<_> =
            (100..160).map(|n| registration(&someone(n, n), Some(key(n, b"asked")))).collect();
        // An email that is there, one that comes twice, a text that PostgreSQL takes for none, a
        // key that was answered, and one that was used for something else.
        all.push(registration(&someone(200, 1), Some(key(200, b"asked"))));
        all.push(registration(&someone(201, 100), None));
        let mut poisoned = someone(202, 202);
        poisoned.details.address = Text::stored("\0".to_owned());
        all.push(registration(&poisoned, None));
        all.push(registration(&someone(203, 203), Some(key(2, b"asked"))));
        all.push(registration(&someone(204, 204), Some(key(2, b"another"))));
        // An id that is there, as demo data has it that another replica brings.
        all.push(registration(&someone(1, 1), None));
        let done = register_all(&world.store, all).await;
        let new = done.iter().filter(|it| matches!(it, Ok(IdempotencyOutcome::Now))).count();
        // SQLite keeps any text.
        let kept = usize::from(engine == Engine::Sqlite);
        assert_eq!(new, 60 + kept, "{engine:?}");
        assert!(matches!(done[60], Err(Error::EmailTaken)));
        let is_taken = |it: &&Result<_, _>| matches!(it, Err(Error::EmailTaken | Error::IdTaken));
        assert_eq!(done.iter().filter(is_taken).count(), 3);
        assert!(is_taken(&&done[65]), "{engine:?}");
        assert!(matches!(done[63], Ok(IdempotencyOutcome::Before { .. })));
        assert!(matches!(done[64], Err(Error::KeyReused)));
        let there = i64::try_from(62 + kept).unwrap();
        assert_eq!(count(&world.db, "select count(*) from patient").await, there);
        assert_eq!(count(&world.db, "select count(*) from outbox").await, there);
        // A key whose patient was refused is free.
        assert_eq!(count(&world.db, "select count(*) from idempotency").await, 61);
        let recorded = "select count(*) from audit where chain > 0";
        assert_eq!(count(&world.db, recorded).await, there);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_register_the_same_people_in_another_order_register_each_once() {
    for engine in engines().into_iter().filter(|engine| *engine == Engine::Postgres) {
        let world = World::on(engine).await;
        let replicas = [world.store.clone(), Store::new(world.db.clone())];
        let all = |first: u128, order: Vec<u128>| {
            order.into_iter().map(move |n| registration(&someone(first + n, n), None))
        };
        let (ours, theirs) = tokio::join!(
            register_all(&replicas[0], all(1000, (1..=200).collect())),
            register_all(&replicas[1], all(2000, (1..=200).rev().collect())),
        );
        let done: Vec<_> = ours.into_iter().chain(theirs).collect();
        let new = done.iter().filter(|it| it.is_ok()).count();
        let taken = done.iter().filter(|it| matches!(it, Err(Error::EmailTaken))).count();
        assert_eq!((new, taken), (200, 200));
        assert_eq!(count(&world.db, "select count(*) from patient").await, 200);
        assert_eq!(count(&world.db, "select count(*) from outbox").await, 200);
    }
}

#[tokio::test]
async fn accounts_that_are_opened_at_once_are_kept_with_their_answers() {
    for engine in engines() {
        let world = World::on(engine).await;
        let all = (1..=100).map(|n| registration(&someone(n, n), Some(key(n, b"asked"))));
        register_all(&world.store, all).await;
        let opened = (1..=100).map(|n| {
            let (patient_id, account) = (Uuid::from_u128(n), Uuid::from_u128(1000 + n));
            let answer = (n % 2 == 0).then(|| (key(n, b"asked"), format!("final {n}")));
            world.store.opened(Opened { patient_id, account, answer })
        });
        assert!(join_all(opened).await.into_iter().all(|kept| kept.is_ok()));
        for n in 1..=100 {
            let found = world.store.get(Uuid::from_u128(n)).await.unwrap().unwrap();
            assert_eq!(found.billing, Billing::Active(Uuid::from_u128(1000 + n)));
        }
        let kept = "select count(*) from idempotency where finished = 1";
        assert_eq!(count(&world.db, kept).await, 50);
        let again = registration(&someone(500, 500), Some(key(8, b"asked")));
        match world.store.register(again).await.unwrap() {
            IdempotencyOutcome::Before { answer, is_final, .. } => {
                assert_eq!((&*answer, is_final), ("final 8", true));
            }
            IdempotencyOutcome::Now => panic!("the key was used"),
        }
    }
}

/// Wherever the connection breaks, what was acknowledged is there, and nothing is there twice.
#[tokio::test]
async fn a_group_that_was_not_heard_of_is_not_done_again() {
    for engine in engines().into_iter().filter(|engine| *engine == Engine::Postgres) {
        let world = World::on(engine).await;
        let proxy = Proxy::start(world.kept().server().unwrap(), 7).unwrap();
        let config = DbConfig { pool_connections_max: 2, ..world.kept().behind(proxy.port()) };
        let db = Db::open(&config, migrations()).await.unwrap();
        world.kept().audit_log(&db).await;
        let store = Store::new(db);
        let (mut acknowledged, mut unheard) = (BTreeSet::new(), 0);
        for (round, bytes) in (0..12).map(|n| (3000 * n) << (n / 4)).enumerate() {
            let first = 1000 * (round as u128 + 1);
            let people: Vec<_> = (first..first + 20).collect();
            proxy.set(Behaviour::TruncateAfter(bytes)).unwrap();
            let all = people.iter().map(|n| registration(&someone(*n, *n), None));
            for (id, done) in people.iter().zip(register_all(&store, all).await) {
                match done {
                    Ok(_) => drop(acknowledged.insert(*id)),
                    // Never that the email is taken: by whom?
                    Err(Error::Store(error)) => {
                        assert!(matches!(error, kit::db::DbError::Unavailable(_)), "{error:?}");
                        unheard += 1;
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
            proxy.set(Behaviour::Pass).unwrap();
        }
        assert!(unheard > 20 && !acknowledged.is_empty(), "{unheard} {}", acknowledged.len());
        for id in &acknowledged {
            assert!(world.store.get(Uuid::from_u128(*id)).await.unwrap().is_some(), "{id}");
        }
        let there = count(&world.db, "select count(*) from patient").await;
        assert_eq!(count(&world.db, "select count(*) from outbox").await, there);
        let recorded = "select count(*) from audit where chain > 0";
        assert_eq!(count(&world.db, recorded).await, there);
    }
}
