//! What only a server can do to us: fall silent, and tell another time.

use std::time::Duration;

use jiff::SignedDuration;
use shared_middleware::{clock::Clock, error::causes};
use testbed::proxy::{Behaviour, Proxy};
use tokio::time::timeout;

use super::{Db, DbConfig, DbError, Engine, Migrations, many};
use crate::testing::{TestEngine, TestStore, engines};

/// Anyone who waits longer waits for ever.
const AT_LAST: Duration = Duration::from_secs(60);

fn servers() -> impl Iterator<Item = TestEngine> {
    engines().into_iter().filter(|engine| *engine == Engine::Postgres)
}

/// A store behind a proxy, which gives up a statement after a second.
async fn behind_proxy(store: &TestStore) -> (Proxy, Db) {
    let proxy = Proxy::start(store.server().unwrap(), 7).unwrap();
    let (acquire, statement) = (Duration::from_secs(2), Duration::from_secs(1));
    let config = DbConfig { acquire, statement, ..store.behind(proxy.port()) };
    let db = Db::open(&config, Migrations::none()).await.unwrap();
    (proxy, db)
}

async fn ask(db: &Db) -> Result<(), DbError> {
    db.write(|tx| Box::pin(async { tx.query("select 1", &[]).await.map(drop) })).await
}

#[tokio::test]
async fn a_connection_that_stalls_is_given_up_and_nobody_meets_it_again() {
    for engine in servers() {
        let store = TestStore::on(engine).await;
        let (proxy, db) = behind_proxy(&store).await;
        // Every connection of the pool is open, and idle. These write, since nobody waits for the
        // end of what only reads.
        let all = (0..4).map(|_| {
            db.write(|tx| {
                Box::pin(async { tx.query("select pg_sleep(0.1)::text", &[]).await.map(drop) })
            })
        });
        for asked in futures_util::future::join_all(all).await {
            asked.map_err(|error: DbError| error).unwrap();
        }
        proxy.set(Behaviour::StallOpen).unwrap();
        let error = timeout(AT_LAST, ask(&db)).await.expect("it is given up").unwrap_err();
        assert!(matches!(error, DbError::Unavailable(_)), "{}", causes(&error));
        // The others were silent since, too: they are not tried one after the other.
        for _ in 0..4 {
            timeout(AT_LAST, ask(&db)).await.expect("it is given up").unwrap();
        }
    }
}

#[tokio::test]
async fn a_statement_whose_caller_has_gone_is_waited_for_no_longer_than_one_whose_has_not() {
    for engine in servers() {
        let store = TestStore::on(engine).await;
        let (proxy, db) = behind_proxy(&store).await;
        ask(&db).await.unwrap();
        proxy.set(Behaviour::StallOpen).unwrap();
        // Each caller leaves long before the statement is given up, and comes again.
        let asking =
            async { while timeout(Duration::from_millis(100), ask(&db)).await.is_err() {} };
        timeout(AT_LAST, asking).await.expect("the connection is given up");
    }
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing_is_out_of_reach_until_it_does() {
    for engine in servers() {
        let store = TestStore::on(engine).await;
        let (proxy, db) = behind_proxy(&store).await;
        proxy.set(Behaviour::BlackHole).unwrap();
        for _ in 0..3 {
            let error = timeout(AT_LAST, ask(&db)).await.expect("it is given up").unwrap_err();
            assert!(matches!(error, DbError::Unavailable(_)), "{}", causes(&error));
        }
        proxy.set(Behaviour::Pass).unwrap();
        let back = async { while ask(&db).await.is_err() {} };
        timeout(AT_LAST, back).await.expect("it is back");
    }
}

/// Also where the plan was made while the table was small, since it is kept.
#[tokio::test]
async fn a_statement_about_many_ids_finds_each_of_them_by_the_index() {
    for engine in servers() {
        let store = TestStore::on(engine).await;
        let db = store.open(Migrations::none()).await;
        let plan = db.write(|tx| {
            Box::pin(async move {
                tx.execute("create table small (id uuid primary key, n int)", &[]).await?;
                let make = "insert into small select gen_random_uuid(), n
                            from generate_series(1, 50) n";
                tx.execute(make, &[]).await?;
                tx.execute("analyze small", &[]).await?;
                let ids = tx.among_ids("$1");
                let sql = format!("explain update small set n = 0 where id {ids}");
                tx.query(&sql, &[many::ids([])]).await
            })
        });
        let plan = plan.await.map_err(|error: DbError| error).unwrap();
        let lines: Vec<String> = plan.iter().map(|row| row.get(0).unwrap()).collect();
        let plan = lines.join("\n");
        assert!(plan.contains("Index Cond: (id = "), "{plan}");
    }
}

#[tokio::test]
async fn replicas_agree_about_the_time_whatever_their_machines_say() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let db = store.open(Migrations::none()).await;
        let hour = SignedDuration::from_hours(1);
        for wrong in [hour, -hour] {
            let of_store = db.clock(&Clock::system_ahead_by(wrong));
            let ahead = of_store.now().duration_since(Clock::system().now());
            let expected = if engine == Engine::Postgres { SignedDuration::ZERO } else { wrong };
            assert!((ahead - expected).abs() < SignedDuration::from_secs(60), "{ahead}");
        }
        let set = Clock::from_fn(|| jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(db.clock(&set).now(), jiff::Timestamp::UNIX_EPOCH);
    }
}

#[tokio::test]
async fn a_machine_whose_clock_is_wrong_is_not_ready_and_says_so() {
    for (ahead_s, complaint) in [(0, None), (3600, Some("s ahead of")), (-3600, Some("s behind"))] {
        for engine in servers() {
            let store = TestStore::on(engine).await;
            let db = store.open(Migrations::none()).await;
            db.clock(&Clock::system_ahead_by(SignedDuration::from_secs(ahead_s)));
            match (db.check().await, complaint) {
                (Ok(()), None) => {}
                (Err(error), Some(complaint)) => {
                    assert!(causes(&error).contains(complaint), "{}", causes(&error));
                }
                (checked, _) => panic!("{checked:?} {ahead_s}"),
            }
        }
    }
}
