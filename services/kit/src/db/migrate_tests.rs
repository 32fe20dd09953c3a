//! Replicas that migrate one store at once, or die while they do.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use refinery::{Migration, Runner};
use tokio::{
    runtime::{Handle, Runtime},
    sync::oneshot,
    task::JoinHandle,
    time::{interval, timeout},
};

use super::{Db, DbError, Engine, Migrations};
use crate::{
    params,
    testing::{TestEngine, TestStore, engines},
};

const FIRST: &str = "create table early (a bigint)";
/// Waits for anyone who has this lock.
const SECOND: &str = "create table late (a bigint); select pg_advisory_xact_lock(42)";
/// The sessions that do.
const WAITING: &str = "select cast(pid as bigint) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock'
                       and query like 'create table late%'";
const LOOKS_EVERY: Duration = Duration::from_millis(20);
/// What never happens by then, does not happen.
const WITHIN: Duration = Duration::from_secs(60);

/// How a replica dies.
#[derive(Clone, Copy)]
enum Dies {
    /// The server ends its session.
    Ended,
    /// The process is gone, and the server not told.
    Gone,
}

fn migrations() -> Migrations {
    let of = |version, sql| Migration::unapplied(version, sql).unwrap();
    let all = [of("V1__early", FIRST), of("V2__late", SECOND)];
    Migrations { sqlite: Runner::new(&[]), postgres: Runner::new(&all) }
}

fn servers() -> impl Iterator<Item = TestEngine> {
    engines().into_iter().filter(|engine| *engine == Engine::Postgres)
}

/// The first column of all rows.
async fn numbers(db: &Db, sql: &'static str) -> BTreeSet<i64> {
    let read = db.read(move |tx| Box::pin(async move { tx.query(sql, params![]).await })).await;
    let rows = read.map_err(|error: DbError| error).unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

/// Waits until a session waits in the second migration that is none of these.
async fn waits(db: &Db, but: &BTreeSet<i64>) -> BTreeSet<i64> {
    let mut looks = interval(LOOKS_EVERY);
    let looking = async {
        loop {
            looks.tick().await;
            let found = numbers(db, WAITING).await;
            if !found.is_empty() && found.is_disjoint(but) {
                return found;
            }
        }
    };
    timeout(WITHIN, looking).await.expect("a session waits in the migration")
}

async fn end(db: &Db, pid: i64) {
    let ended = db.write(move |tx| {
        Box::pin(async move {
            let sql = "select cast(pg_terminate_backend(cast($1 as int)) as text)";
            tx.query(sql, params![pid]).await.map(drop)
        })
    });
    ended.await.map_err(|error: DbError| error).unwrap();
}

/// Holds the lock until the sender is dropped.
async fn hold(db: &Db) -> (oneshot::Sender<()>, JoinHandle<Result<(), DbError>>) {
    let (release, released) = oneshot::channel();
    let (tell, has_it) = oneshot::channel();
    let db = db.clone();
    let holding = tokio::spawn(async move {
        db.write(move |tx| {
            Box::pin(async move {
                tx.execute("select pg_advisory_xact_lock(42)", params![]).await?;
                let _ = tell.send(());
                let _ = released.await;
                Ok(())
            })
        })
        .await
    });
    has_it.await.unwrap();
    (release, holding)
}

#[tokio::test]
async fn replicas_that_start_at_once_on_an_empty_store_all_start() {
    for engine in servers() {
        let store = TestStore::on(engine).await;
        let all = join_all((0..6).map(|_| store.open(migrations()))).await;
        let applied = "select cast(version as bigint) from refinery_schema_history";
        for db in &all {
            assert_eq!(numbers(db, applied).await, [1, 2].into());
        }
    }
}

#[tokio::test]
async fn a_replica_that_dies_in_a_migration_does_not_keep_the_next_from_it() {
    for (engine, dies) in servers().flat_map(|it| [(it, Dies::Ended), (it, Dies::Gone)]) {
        let store = TestStore::on(engine).await;
        let watcher = store.open(Migrations::none()).await;
        let (release, holding) = hold(&watcher).await;
        let open = |on: &Handle| {
            let config = store.config().clone();
            on.spawn(async move { Db::open(&config, migrations()).await })
        };
        // Its connections end with it, as those of a process do.
        let process = Runtime::new().unwrap();
        let dying = open(process.handle());
        let of_dying = waits(&watcher, &BTreeSet::new()).await;
        let next = open(&Handle::current());
        if let Dies::Ended = dies {
            end(&watcher, *of_dying.first().unwrap()).await;
            assert!(dying.await.unwrap().is_err());
        }
        process.shutdown_background();
        waits(&watcher, &of_dying).await;
        drop(release);
        holding.await.unwrap().unwrap();
        let db = next.await.unwrap().unwrap();
        let applied = "select cast(version as bigint) from refinery_schema_history";
        assert_eq!(numbers(&db, applied).await, [1, 2].into());
    }
}
