//! Patients of before there was a normal form of names: what they are found and sorted by is made
//! when the service starts, before it serves. No event is published, since nothing of them changes.

use kit::db::{Db, DbError};

use super::patients::{self, COLUMNS};

/// This many rows are prepared in one transaction.
const AT_ONCE: u32 = 500;
/// It is said how far it is after this many.
const TOLD_AFTER: u64 = 50_000;

/// Prepares them all.
pub(super) async fn prepare(db: &Db) -> Result<(), DbError> {
    let mut done = 0;
    loop {
        let some = db.write(|tx| {
            Box::pin(async move {
                let sql = format!(
                    "select {COLUMNS} from patient where search is null order by id limit {AT_ONCE}"
                );
                let found = tx.query(&sql, &[]).await?;
                let found = found.iter().map(patients::patient).collect::<Result<Vec<_>, _>>()?;
                patients::index_again(tx, &found).await?;
                Ok::<_, DbError>(found.len() as u64)
            })
        });
        match some.await? {
            0 => return Ok(()),
            some if (done + some) / TOLD_AFTER > done / TOLD_AFTER => {
                done += some;
                tracing::info!(patients = done, "preparing the search index of existing patients");
            }
            some => done += some,
        }
    }
}

#[cfg(test)]
mod tests {
    use kit::testing::engines;

    use super::*;
    use crate::{
        domain::Patient,
        store::{List, Order, Search, Sort, conformance::World},
        testing::{details, patient},
    };

    #[tokio::test]
    async fn patients_of_before_are_found_and_sorted_after_the_start() {
        for engine in engines() {
            let world = World::on(engine).await;
            for (id, name) in (1..).zip(["Zoe", "Émile", "Ada"]) {
                let details = details(name, &format!("p{id}@example.com"));
                world.add(&Patient { details, ..patient(id) }).await;
            }
            let forgotten = world.db.write(|tx| {
                Box::pin(async move {
                    if tx.engine() == kit::db::Engine::Sqlite {
                        tx.execute("delete from patient_search", &[]).await?;
                    }
                    tx.execute("update patient set search = null, sort_key = null", &[]).await
                })
            });
            assert_eq!(forgotten.await.map_err(|error: DbError| error).unwrap(), 3);
            world.store.prepare().await.unwrap();
            let list = |search| List {
                sort: Sort::Name,
                order: Order::Asc,
                search,
                after: None,
                count: 10,
            };
            let names = async |search| {
                let found = world.store.list(list(search)).await.unwrap();
                found.iter().map(|it| it.details.name.as_str().to_owned()).collect::<Vec<_>>()
            };
            assert_eq!(names(None).await, ["Ada", "Émile", "Zoe"]);
            assert_eq!(names(Search::parse("emile")).await, ["Émile"]);
        }
    }
}
