//! Connections and places in queues that somebody else has.

use tokio::task::JoinHandle;

use super::*;

/// A reader that has begun, and goes on when it is notified.
async fn reading(
    db: &Db,
    engine: TestEngine,
) -> (JoinHandle<Result<(), DbError>>, oneshot::Sender<()>) {
    let (begun, has_begun) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel();
    let db = db.clone();
    let reading = tokio::spawn(async move {
        db.read(move |_| {
            Box::pin(async move {
                begun.send(()).unwrap();
                hold(engine, may_go_on).await;
                Ok(())
            })
        })
        .await
    });
    has_begun.await.unwrap();
    (reading, go_on)
}

#[tokio::test]
async fn a_reader_whose_caller_went_away_takes_no_place_of_another() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let config = DbConfig { pool_connections_max: 1, ..store.config().clone() };
        let db = Db::open(&config, migrations()).await.unwrap();
        let (reading, go_on) = reading(&db, engine).await;
        reading.abort();
        assert!(reading.await.unwrap_err().is_cancelled());
        if engine == Engine::Sqlite {
            assert_eq!(db.connections(), (1, 0), "the reader's thread still has it");
        }
        let next = tokio::spawn(async move { count(&db).await });
        // The next one asks before the first has given its connection back.
        tokio::task::yield_now().await;
        let _ = go_on.send(());
        assert_eq!(next.await.unwrap(), 0);
    }
}

#[tokio::test]
async fn whoever_waits_too_long_for_a_connection_is_told_to_come_back() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let acquire = Duration::from_millis(500);
        let config = DbConfig { pool_connections_max: 1, acquire, ..store.config().clone() };
        let db = Db::open(&config, migrations()).await.unwrap();
        let (holder, go_on) = reading(&db, engine).await;
        assert!(matches!(db.check().await, Err(DbError::Unavailable(_))));
        go_on.send(()).unwrap();
        holder.await.unwrap().unwrap();
        db.check().await.unwrap();
    }
}

#[tokio::test]
async fn whoever_waits_too_long_for_a_place_in_the_writers_queue_is_told_to_come_back() {
    let engine = TestEngine::Sqlite;
    let store = TestStore::on(engine).await;
    let config = DbConfig { acquire: Duration::from_millis(200), ..store.config().clone() };
    let db = Db::open(&config, migrations()).await.unwrap();
    let (begun, has_begun) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel();
    let holder = tokio::spawn({
        let db = db.clone();
        async move {
            write(&db, move |_| {
                Box::pin(async move {
                    begun.send(()).unwrap();
                    hold(engine, may_go_on).await;
                    Ok(())
                })
            })
            .await
        }
    });
    has_begun.await.unwrap();
    // One more than the queue has places: nobody but the last gets an answer while it is held.
    let waiting = (0..=crate::db::sqlite::WAITING_MAX).map(|n| {
        let db = db.clone();
        Box::pin(async move { insert(&db, &format!("n{n}")).await })
    });
    let (refused, _, others) = futures_util::future::select_all(waiting).await;
    assert!(matches!(refused, Err(DbError::Unavailable(_))), "{refused:?}");
    go_on.send(()).unwrap();
    holder.await.unwrap().unwrap();
    for inserted in futures_util::future::join_all(others).await {
        inserted.unwrap();
    }
}
