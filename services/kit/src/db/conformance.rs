//! What a store must do.

use std::{sync::Arc, time::Duration};

use jiff::{Timestamp, civil::date};
use tempfile::TempDir;
use tokio::sync::Barrier;
use uuid::Uuid;

use super::{Db, DbConfig, DbError, Engine, Migrations, Value};
use crate::params;

/// A store and what keeps it there.
struct World {
    db: Db,
    config: DbConfig,
    _folder: TempDir,
}

async fn sqlite() -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let url = format!("sqlite:{}", path.display()).parse().unwrap();
    let config = DbConfig { url, pool_connections_max: 4, acquire: Duration::from_secs(5) };
    let db = Db::open(&config, Migrations::none()).await.unwrap();
    World { db, config, _folder: folder }
}

async fn count(db: &Db) -> i64 {
    db.read(|tx| {
        Box::pin(async move { tx.query_one("select count(*) from secret", &[]).await?.get(0) })
    })
    .await
    .map_err(|error: DbError| error)
    .unwrap()
}

async fn insert(db: &Db, name: &str) -> Result<(), DbError> {
    let name = name.to_owned();
    db.write(move |tx| {
        Box::pin(async move {
            let value = vec![1_u8];
            tx.execute("insert into secret (name, value) values ($1, $2)", params![name, value])
                .await
                .map(drop)
        })
    })
    .await
}

#[tokio::test]
async fn a_failed_transaction_leaves_nothing_behind() {
    let world = sqlite().await;
    let failed: Result<(), DbError> = world
        .db
        .write(|tx| {
            Box::pin(async move {
                let value = vec![1_u8];
                tx.execute("insert into secret (name, value) values ('a', $1)", params![value])
                    .await?;
                Err(DbError::Corrupt("on purpose"))
            })
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(count(&world.db).await, 0);
}

#[tokio::test]
async fn a_row_that_is_there_twice_names_its_constraint() {
    let world = sqlite().await;
    insert(&world.db, "a").await.unwrap();
    let error = insert(&world.db, "a").await.unwrap_err();
    assert!(matches!(&error, DbError::Unique(name) if name == "secret_name"), "{error:?}");
    insert(&world.db, "b").await.unwrap();
}

#[tokio::test]
async fn of_many_writers_at_once_each_gets_its_own_verdict() {
    let world = sqlite().await;
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

#[tokio::test]
async fn a_panic_in_a_transaction_harms_no_other() {
    let world = sqlite().await;
    let panicked: Result<(), DbError> =
        world.db.write(|_| Box::pin(async move { panic!("on purpose") })).await;
    assert!(matches!(panicked, Err(DbError::Unavailable(_))));
    insert(&world.db, "a").await.unwrap();
    assert_eq!(count(&world.db).await, 1);
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let world = sqlite().await;
    insert(&world.db, "a").await.unwrap();
    let again = Db::open(&world.config, Migrations::none()).await.unwrap();
    assert_eq!(count(&again).await, 1);
}

#[tokio::test]
async fn values_are_read_back_as_they_were_written() {
    let world = sqlite().await;
    let id = Uuid::from_u128(0x1234);
    let at = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
    let day = date(1985, 6, 15);
    assert_eq!(world.db.engine(), Engine::Sqlite);
    let row = world
        .db
        .read(move |tx| {
            Box::pin(async move {
                let values = params![id, at, day, "Jürgen", 7_i64, vec![0_u8, 255], None::<i64>];
                tx.query_one("select $1, $2, $3, $4, $5, $6, $7", values).await
            })
        })
        .await
        .map_err(|error: DbError| error)
        .unwrap();
    assert_eq!(row.get::<Uuid>(0).unwrap(), id);
    assert_eq!(row.get::<Timestamp>(1).unwrap(), at);
    assert_eq!(row.get::<jiff::civil::Date>(2).unwrap(), day);
    assert_eq!(row.get::<String>(3).unwrap(), "Jürgen");
    assert_eq!(row.get::<i64>(4).unwrap(), 7);
    assert_eq!(row.get::<Vec<u8>>(5).unwrap(), [0, 255]);
    assert_eq!(row.get::<Option<i64>>(6).unwrap(), None);
    assert!(row.get::<i64>(3).is_err() && row.get::<i64>(9).is_err());
    assert_eq!(Value::from(Some("a")), Value::Text("a".to_owned()));
}
