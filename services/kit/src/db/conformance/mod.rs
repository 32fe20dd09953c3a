//! What a store must do, on every engine.

mod busy;
mod commit;
mod insert;

use std::{sync::Arc, time::Duration};

use jiff::{Timestamp, civil::Date, civil::date};
use refinery::{Migration, Runner};
use tokio::sync::{Barrier, oneshot};
use uuid::Uuid;

use super::{Db, DbConfig, DbError, Engine, Migrations, Tx, Value};
use crate::{
    params,
    testing::{TestEngine, TestStore, engines},
};

const SQLITE: &str = "
    create table thing (
        name text not null, id text, at integer, day text, count integer, bytes blob,
        constraint thing_name unique (name)
    ) strict;";
const POSTGRES: &str = "
    create table thing (
        name text not null, id uuid, at timestamptz, day date, count bigint, bytes bytea,
        constraint thing_name unique (name)
    );";

/// A store and what keeps it there.
struct World {
    db: Db,
    store: TestStore,
}

impl World {
    async fn on(engine: TestEngine) -> Self {
        let store = TestStore::on(engine).await;
        World { db: store.open(migrations()).await, store }
    }
}

fn migrations() -> Migrations {
    let runner = |sql| Runner::new(&[Migration::unapplied("V1__thing", sql).unwrap()]);
    Migrations { sqlite: runner(SQLITE), postgres: runner(POSTGRES) }
}

/// Gives a closure over a transaction its types.
async fn write<T, F>(db: &Db, work: F) -> Result<T, DbError>
where
    T: Send + 'static,
    F: for<'t> FnOnce(&'t mut Tx<'_>) -> futures_util::future::BoxFuture<'t, Result<T, DbError>>
        + Send
        + 'static,
{
    db.write(work).await
}

async fn count(db: &Db) -> i64 {
    let counted: Result<i64, DbError> = db.read(|tx| Box::pin(count_in(tx))).await;
    counted.unwrap()
}

async fn count_in(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    tx.query_one("select count(*) from thing", &[]).await?.get(0)
}

async fn insert(db: &Db, name: &str) -> Result<(), DbError> {
    let name = name.to_owned();
    write(db, move |tx| Box::pin(insert_in(tx, name))).await
}

async fn insert_in(tx: &mut Tx<'_>, name: String) -> Result<(), DbError> {
    tx.execute("insert into thing (name) values ($1)", params![name]).await.map(drop)
}

/// Waits inside a transaction, in the one way that its engine has.
async fn hold(engine: TestEngine, until: oneshot::Receiver<()>) {
    match engine.engine() {
        Engine::Sqlite => until.blocking_recv().unwrap(),
        Engine::Postgres => until.await.unwrap(),
    }
}

#[tokio::test]
async fn a_failed_transaction_leaves_nothing_behind() {
    for engine in engines() {
        let world = World::on(engine).await;
        let failed: Result<(), DbError> = write(&world.db, |tx| {
            Box::pin(async move {
                insert_in(tx, "a".to_owned()).await?;
                Err(DbError::Corrupt("on purpose"))
            })
        })
        .await;
        assert!(matches!(failed, Err(DbError::Corrupt("on purpose"))));
        assert_eq!(count(&world.db).await, 0);
    }
}

#[tokio::test]
async fn a_transaction_that_passes_over_a_failed_statement_has_failed() {
    for engine in engines() {
        let world = World::on(engine).await;
        insert(&world.db, "a").await.unwrap();
        let done = write(&world.db, |tx| {
            Box::pin(async move {
                insert_in(tx, "b".to_owned()).await?;
                let _ = insert_in(tx, "a".to_owned()).await;
                Ok(())
            })
        })
        .await;
        assert!(done.is_err());
        assert_eq!(count(&world.db).await, 1);
        insert(&world.db, "b").await.unwrap();
    }
}

#[tokio::test]
async fn a_row_that_is_there_twice_names_its_constraint_and_not_its_value() {
    for engine in engines() {
        let world = World::on(engine).await;
        insert(&world.db, "jane@example.com").await.unwrap();
        let error = insert(&world.db, "jane@example.com").await.unwrap_err();
        assert!(matches!(&error, DbError::Unique(name) if name == "thing_name"), "{error:?}");
        insert(&world.db, "b").await.unwrap();
    }
}

#[tokio::test]
async fn an_error_does_not_quote_the_row() {
    for engine in engines() {
        let world = World::on(engine).await;
        let error = write(&world.db, |tx| {
            Box::pin(async move {
                let values = params![None::<String>, vec![1_u8], "Jane"];
                let sql = "insert into thing (name, bytes, count)
                           values ($1, $2, case when $3 = '' then 1 else 2 end)";
                tx.execute(sql, values).await
            })
        })
        .await
        .unwrap_err();
        assert!(matches!(error, DbError::Statement(_)), "{error:?}");
        let told = format!("{error:?} {}", shared_middleware::error::causes(&error));
        // PostgreSQL's own error has the failing row as its detail.
        assert!(!told.contains("Jane") && !told.contains("Failing row"), "{told}");
    }
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_no_outage() {
    for engine in engines() {
        let world = World::on(engine).await;
        let error = write(&world.db, |tx| {
            Box::pin(async move {
                tx.execute("insert into thing (name, count) values ('a', $1)", params!["x"]).await
            })
        })
        .await
        .unwrap_err();
        assert!(matches!(error, DbError::Statement(_)), "{error:?}");
    }
}

#[tokio::test]
async fn of_many_writers_at_once_each_gets_its_own_verdict() {
    for engine in engines() {
        let world = World::on(engine).await;
        let start = Arc::new(Barrier::new(64));
        let writers: Vec<_> = (0..64)
            .map(|n| {
                let (db, start) = (world.db.clone(), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    // Every name is written twice: one of the two must fail, alone.
                    insert(&db, &format!("n{}", n / 2)).await.is_ok()
                })
            })
            .collect();
        let mut written = 0;
        for writer in writers {
            written += i64::from(writer.await.unwrap());
        }
        assert_eq!(written, 32);
        assert_eq!(count(&world.db).await, 32);
    }
}

#[tokio::test]
async fn a_panic_in_a_transaction_harms_no_other_and_is_no_outage() {
    for engine in engines() {
        let world = World::on(engine).await;
        for _ in 0..8 {
            let panicked: Result<(), DbError> =
                write(&world.db, |_| Box::pin(async move { panic!("on purpose") })).await;
            assert!(matches!(panicked, Err(DbError::Statement(_))));
            let panicked: Result<(), DbError> =
                world.db.read(|_| Box::pin(async move { panic!("on purpose") })).await;
            assert!(matches!(panicked, Err(DbError::Statement(_))));
            let panicked: Result<(), DbError> =
                world.db.read_by_key(|_| Box::pin(async move { panic!("on purpose") })).await;
            assert!(matches!(panicked, Err(DbError::Statement(_))));
        }
        insert(&world.db, "a").await.unwrap();
        assert_eq!(count(&world.db).await, 1);
    }
}

#[tokio::test]
async fn a_read_sees_one_state_from_its_beginning_to_its_end() {
    for engine in engines() {
        let world = World::on(engine).await;
        insert(&world.db, "a").await.unwrap();
        let (begun, has_begun) = oneshot::channel();
        let (go_on, may_go_on) = oneshot::channel();
        let db = world.db.clone();
        let reading = tokio::spawn(async move {
            let read: Result<_, DbError> = db
                .read(move |tx| {
                    Box::pin(async move {
                        let before = count_in(tx).await?;
                        begun.send(()).unwrap();
                        hold(engine, may_go_on).await;
                        Ok((before, count_in(tx).await?))
                    })
                })
                .await;
            read.unwrap()
        });
        has_begun.await.unwrap();
        insert(&world.db, "b").await.unwrap();
        go_on.send(()).unwrap();
        assert_eq!(reading.await.unwrap(), (1, 1));
        assert_eq!(count(&world.db).await, 2);
    }
}

#[tokio::test]
async fn whoever_reads_or_looks_up_cannot_write() {
    for engine in engines() {
        let world = World::on(engine).await;
        let written: Result<(), DbError> =
            world.db.read(|tx| Box::pin(insert_in(tx, "a".to_owned()))).await;
        assert!(written.is_err());
        let written: Result<(), DbError> =
            world.db.read_by_key(|tx| Box::pin(insert_in(tx, "a".to_owned()))).await;
        assert!(written.is_err());
        assert_eq!(count(&world.db).await, 0);
    }
}

#[tokio::test]
async fn a_look_up_finds_what_was_just_committed() {
    for engine in engines() {
        let world = World::on(engine).await;
        for n in 1..=20 {
            insert(&world.db, &n.to_string()).await.unwrap();
            let found = world.db.read_by_key(|tx| Box::pin(count_in(tx))).await;
            assert_eq!(found.unwrap(), n);
        }
    }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    for engine in engines() {
        let world = World::on(engine).await;
        insert(&world.db, "a").await.unwrap();
        drop(world.db);
        let again = world.store.open(migrations()).await;
        assert_eq!(count(&again).await, 1);
    }
}

#[tokio::test]
async fn many_may_open_a_new_store_at_once() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let opening: Vec<_> = (0..8)
            .map(|_| {
                let config = store.config().clone();
                tokio::spawn(async move { Db::open(&config, migrations()).await.map(drop) })
            })
            .collect();
        for opened in opening {
            opened.await.unwrap().unwrap();
        }
        assert_eq!(count(&store.open(migrations()).await).await, 0);
    }
}

#[tokio::test]
async fn more_statements_than_are_kept_can_be_run() {
    for engine in engines() {
        let world = World::on(engine).await;
        for n in 0..150_i64 {
            let sql = format!("select {n} + count(*) from thing where name <> $1");
            let found: Result<i64, DbError> = world
                .db
                .read(move |tx| {
                    Box::pin(async move { tx.query_one(&sql, params!["x"]).await?.get(0) })
                })
                .await;
            assert_eq!(found.unwrap(), n);
        }
    }
}

#[tokio::test]
async fn a_statement_goes_on_after_its_table_has_changed() {
    for engine in engines() {
        let world = World::on(engine).await;
        let look = |db: &Db| {
            let db = db.clone();
            async move {
                let found: Result<Vec<_>, DbError> = db
                    .read(|tx| Box::pin(async { tx.query("select * from thing", &[]).await }))
                    .await;
                found.map(drop)
            }
        };
        look(&world.db).await.unwrap();
        write(&world.db, |tx| {
            Box::pin(async { tx.execute("alter table thing add column more text", &[]).await })
        })
        .await
        .unwrap();
        // Each connection may be surprised once.
        for _ in 0..world.store.config().pool_connections_max {
            let _ = look(&world.db).await;
        }
        look(&world.db).await.unwrap();
    }
}

#[tokio::test]
async fn values_are_read_back_as_they_were_written() {
    for engine in engines() {
        let world = World::on(engine).await;
        assert_eq!(world.db.engine(), engine.engine());
        let id = Uuid::from_u128(0x1234);
        let times = [0, -1, 1_700_000_000_123_456, 946_684_800_000_000, 253_402_200_000_000_000];
        let days = [date(1, 1, 1), date(1985, 6, 15), date(2000, 1, 1), date(9999, 12, 31)];
        for (time, day) in times.into_iter().zip(days.into_iter().cycle()) {
            let at = Timestamp::from_microsecond(time).unwrap();
            let row = write(&world.db, move |tx| {
                Box::pin(async move {
                    tx.execute("delete from thing", &[]).await?;
                    let values = params!["Jürgen ♥", id, at, day, i64::MIN, vec![0_u8, 255]];
                    let sql = "insert into thing (name, id, at, day, count, bytes)
                               values ($1, $2, $3, $4, $5, $6)";
                    assert_eq!(tx.execute(sql, values).await?, 1);
                    let sql = "select name, id, at, day, count, bytes, null from thing";
                    tx.query_one(sql, &[]).await
                })
            })
            .await
            .unwrap();
            assert_eq!(row.get::<String>(0).unwrap(), "Jürgen ♥");
            assert_eq!(row.get::<Uuid>(1).unwrap(), id);
            assert_eq!(row.get::<Timestamp>(2).unwrap(), at);
            assert_eq!(row.get::<Date>(3).unwrap(), day);
            assert_eq!(row.get::<i64>(4).unwrap(), i64::MIN);
            assert_eq!(row.get::<Vec<u8>>(5).unwrap(), [0, 255]);
            assert_eq!(row.get::<Option<i64>>(6).unwrap(), None);
            assert!(row.get::<i64>(0).is_err() && row.get::<i64>(9).is_err());
        }
    }
    assert_eq!(Value::from(Some("a")), Value::Text("a".to_owned()));
}
