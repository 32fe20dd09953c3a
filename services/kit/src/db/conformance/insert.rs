//! Many rows at once.

use super::*;

/// As many statements as there are sizes, and one of them twice.
const MANY: usize = 64 + 64 + 16 + 4 + 3;

async fn insert_many(db: &Db, names: Vec<Value>, or: &'static str) -> Result<u64, DbError> {
    db.write(move |tx| Box::pin(async move { tx.insert_all("thing", "name", &names, or).await }))
        .await
}

#[tokio::test]
async fn many_rows_inserted_together_are_all_there_or_none_is() {
    for engine in engines() {
        let world = World::on(engine).await;
        let names = || (0..MANY).map(|name| Value::from(name.to_string()));
        // Whichever statement it is in.
        for again in [0, 70, 130, 145, MANY - 1] {
            let taken = names().chain([Value::from(again.to_string())]);
            let refused = insert_many(&world.db, taken.collect(), "").await.unwrap_err();
            assert!(
                matches!(&refused, DbError::Unique(name) if name == "thing_name"),
                "{refused:?}"
            );
            assert_eq!(count(&world.db).await, 0);
        }
        let inserted = insert_many(&world.db, names().collect(), "").await.unwrap();
        assert_eq!((inserted, count(&world.db).await), (MANY as u64, MANY as i64));
        let more = names().chain([Value::from("new".to_owned())]).collect();
        assert_eq!(insert_many(&world.db, more, "on conflict do nothing").await.unwrap(), 1);
        assert_eq!(insert_many(&world.db, Vec::new(), "").await.unwrap(), 0);
    }
}
