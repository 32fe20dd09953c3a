//! What is sent with the commit, and what becomes of a transaction that nobody commits.

use super::*;

async fn at_commit(db: &Db, first: Option<&str>, last: &str) -> Result<(), DbError> {
    let (first, last) = (first.map(str::to_owned), last.to_owned());
    db.write(move |tx| {
        Box::pin(async move {
            if let Some(first) = first {
                insert_in(tx, first).await?;
            }
            tx.insert_at_commit("thing", "name", vec![last.into()]).await
        })
    })
    .await
}

#[tokio::test]
async fn what_is_sent_with_the_commit_is_there_or_nothing_of_its_transaction_is() {
    for engine in engines() {
        let world = World::on(engine).await;
        // It may be all that there is.
        at_commit(&world.db, None, "a").await.unwrap();
        at_commit(&world.db, Some("b"), "c").await.unwrap();
        assert_eq!(count(&world.db).await, 3);
        for (first, last) in [(None, "a"), (Some("d"), "c"), (Some("e"), "e")] {
            let refused = at_commit(&world.db, first, last).await.unwrap_err();
            assert!(
                matches!(&refused, DbError::Unique(name) if name == "thing_name"),
                "{refused:?}"
            );
            assert_eq!(count(&world.db).await, 3);
        }
        insert(&world.db, "d").await.unwrap();
        assert_eq!(count(&world.db).await, 4);
    }
}

#[tokio::test]
async fn what_need_not_be_on_disk_at_once_is_seen_at_once() {
    for engine in engines() {
        let world = World::on(engine).await;
        let written = world.db.write_soon(|tx| Box::pin(insert_in(tx, "soon".to_owned()))).await;
        written.unwrap();
        assert_eq!(count(&world.db).await, 1);
    }
}

#[tokio::test]
async fn whoever_gives_up_in_the_middle_leaves_nothing_that_another_comes_into() {
    for engine in engines() {
        let world = World::on(engine).await;
        if world.db.engine() == Engine::Sqlite {
            // There anyone who has begun is waited for.
            continue;
        }
        for round in 0..20 {
            let db = world.db.clone();
            let (begun, is_begun) = oneshot::channel();
            let task = tokio::spawn(async move {
                db.write(move |tx| {
                    Box::pin(async move {
                        insert_in(tx, format!("given up {round}")).await?;
                        let _ = begun.send(());
                        std::future::pending::<Result<(), DbError>>().await
                    })
                })
                .await
            });
            is_begun.await.unwrap();
            task.abort();
            let _ = task.await;
            insert(&world.db, &format!("kept {round}")).await.unwrap();
        }
        assert_eq!(count(&world.db).await, 20);
    }
}
