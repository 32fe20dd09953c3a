//! A chain for each process: processes that come and go, connections that break, and what somebody
//! may take away meanwhile.

use std::time::Duration;

use testbed::proxy::{Behaviour, Proxy};

use super::{
    AuditLog, Head, Kept, REGISTRY, after,
    tests::{entries, entry, heads, tamper, verdict},
    verify::{Fault, Place, Verdict},
};
use crate::{
    db::{Db, DbConfig, DbError, Engine, Migrations},
    testing::{TestStore, engines},
};

/// What a process has of a store.
async fn process(store: &TestStore) -> (Db, AuditLog) {
    let db = store.open(Migrations::none()).await;
    let audit_log = store.audit_log(&db).await;
    (db, audit_log)
}

async fn append(audit_log: &AuditLog, numbers: std::ops::Range<u32>) {
    for n in numbers {
        audit_log.keep(entry(n)).await.unwrap();
    }
}

/// A store in which three processes have written: of the first two nobody knows whether they live.
async fn written_by_three(store: &TestStore) -> (Db, AuditLog) {
    for (first, last) in [(0, 5), (5, 12)] {
        append(&process(store).await.1, first..last).await;
    }
    let (db, audit_log) = process(store).await;
    append(&audit_log, 12..15).await;
    (db, audit_log)
}

fn place(chain: i64, seq: i64) -> Place {
    Place { chain: Some(chain), seq }
}

async fn of_chain(db: &Db, chain: i64) -> Vec<Kept> {
    let read = db.read(move |tx| Box::pin(after(tx, None, (chain, 0), 1000)));
    read.await.map_err(|error: DbError| error).unwrap()
}

#[tokio::test]
async fn each_process_writes_a_chain_of_its_own_and_the_next_one_tells_how_far_it_came() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let (db, _trail) = written_by_three(&store).await;
        let found = heads(&db).await;
        let lengths: Vec<_> = found.iter().map(|head| (head.chain, head.seq)).collect();
        assert_eq!(lengths, [(REGISTRY, 3), (1, 5), (2, 7), (3, 3)]);
        assert_eq!(entries(&db).await, 15);
        let openings = of_chain(&db, REGISTRY).await;
        assert_eq!(openings[0].entry.changed.len(), 0);
        assert!(openings[1].entry.changed[0].starts_with("1/5/"));
        // What was told is not told again.
        assert_eq!(openings[2].entry.changed.len(), 1);
        assert!(openings[2].entry.changed[0].starts_with("2/7/"));
    }
}

#[tokio::test]
async fn whatever_is_taken_away_from_several_chains_is_named() {
    let cases: &[(&str, Fault)] = &[
        ("update audit set actor = 'x' where chain = 2 and seq = 3", Fault::Changed(place(2, 3))),
        ("delete from audit where chain = 2 and seq = 3", Fault::Removed(place(2, 3))),
        ("delete from audit where chain = 2 and seq > 6", Fault::CutOff(place(2, 7))),
        ("delete from audit where chain = 1", Fault::CutOff(place(1, 1))),
        ("delete from audit where chain = 0 and seq = 2", Fault::Removed(place(0, 2))),
        (
            "update audit set changed = null where chain = 0 and seq = 2",
            Fault::Changed(place(0, 2)),
        ),
        ("update audit set chain = 4 where chain = 3", Fault::Inserted(place(4, 1))),
        ("update audit set chain = -4 where chain = 3", Fault::Inserted(place(-4, 1))),
    ];
    for engine in engines() {
        for (sql, fault) in cases {
            let store = TestStore::on(engine).await;
            let (db, _trail) = written_by_three(&store).await;
            tamper(&db, &[sql]).await;
            assert_eq!(verdict(&db, &[]).await, Verdict::Broken(*fault), "{engine:?} {sql}");
        }
    }
}

#[tokio::test]
async fn two_chains_whose_entries_were_exchanged_are_seen() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let (db, _trail) = written_by_three(&store).await;
        let change = "update audit set chain = 3 - chain, seq = -seq where chain in (1, 2)";
        tamper(&db, &[change, "update audit set seq = -seq where seq < 0"]).await;
        assert_eq!(verdict(&db, &[]).await, Verdict::Broken(Fault::Changed(place(1, 1))));
    }
}

/// What is cut off from the chain of a process that lives is missed when it goes on: its head is in
/// memory.
#[tokio::test]
async fn a_living_process_does_not_continue_what_was_cut_off() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let (db, audit_log) = written_by_three(&store).await;
        tamper(&db, &["delete from audit where chain = 3 and seq > 1"]).await;
        let own = db.appended().unwrap();
        assert_eq!((own.chain, own.seq), (3, 3));
        let found = verdict(&db, &[own]).await;
        assert_eq!(found, Verdict::Broken(Fault::CutOff(place(3, 2))));
        append(&audit_log, 15..16).await;
        assert_eq!(verdict(&db, &[]).await, Verdict::Broken(Fault::Removed(place(3, 2))));
    }
}

/// The window: nobody else knows of it yet.
#[tokio::test]
async fn the_last_chain_of_all_that_goes_with_its_opening_is_known_by_copies_and_checkpoints_only()
{
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let (db, _trail) = written_by_three(&store).await;
        let known = heads(&db).await;
        let last = "delete from audit where chain = 3 or chain = 0 and seq = 3";
        tamper(&db, &[last]).await;
        assert!(matches!(verdict(&db, &[]).await, Verdict::Intact(_)));
        assert_eq!(verdict(&db, &known).await, Verdict::Broken(Fault::CutOff(place(0, 3))));
    }
}

#[tokio::test]
async fn a_chain_of_before_the_registry_is_adopted() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let (db, audit_log) = process(&store).await;
        let write = db.write(move |tx| {
            Box::pin(async move {
                let (chain, mut head) =
                    (&audit_log.0.ledger.chain, Head::before_first(1, Vec::new()));
                let mut rows = Vec::new();
                for n in 0..8 {
                    head = chain.next(&head, &entry(n));
                    let Head { chain, seq, link } = head.clone();
                    rows.extend(Kept { chain, seq, entry: entry(n), link }.values());
                }
                tx.insert_all("audit", super::COLUMNS, &rows, "").await
            })
        });
        write.await.map_err(|error: DbError| error).unwrap();
        assert_eq!(entries(&db).await, 8);
        append(&process(&store).await.1, 8..10).await;
        let lengths: Vec<_> = heads(&db).await.iter().map(|it| (it.chain, it.seq)).collect();
        assert_eq!(lengths, [(REGISTRY, 2), (1, 8), (2, 2)]);
        tamper(&db, &["delete from audit where chain = 1 and seq = 8"]).await;
        assert_eq!(verdict(&db, &[]).await, Verdict::Broken(Fault::CutOff(place(1, 8))));
    }
}

/// Wherever a connection breaks: what was acknowledged is there, what was not may be, and the chain
/// that is in doubt has no successor.
#[tokio::test]
async fn a_connection_that_breaks_at_any_byte_leaves_good_chains() {
    for engine in engines().into_iter().filter(|engine| *engine == Engine::Postgres) {
        let store = TestStore::on(engine).await;
        let (db, _) = process(&store).await;
        let proxy = Proxy::start(store.server().unwrap(), 7).unwrap();
        let statement = Duration::from_secs(20);
        let config = DbConfig { statement, ..store.behind(proxy.port()) };
        let behind = Db::open(&config, Migrations::none()).await.unwrap();
        let audit_log = store.audit_log(&behind).await;
        append(&audit_log, 0..1).await;
        let (mut acknowledged, mut failed) = (vec![0], 0);
        // Up to what a flight takes both ways.
        for (n, bytes) in (0..1200).step_by(25).enumerate() {
            let n = u32::try_from(n).unwrap() + 1;
            proxy.set(Behaviour::TruncateAfter(bytes)).unwrap();
            match audit_log.keep(entry(n)).await {
                Ok(()) => acknowledged.push(n),
                Err(_) => failed += 1,
            }
            proxy.set(Behaviour::Pass).unwrap();
            while audit_log.keep(entry(1000 + n)).await.is_err() {}
            acknowledged.push(1000 + n);
        }
        assert!(failed > 10, "{failed}");
        let heads = heads(&db).await;
        assert!(heads.len() > 10, "{heads:?}");
        let mut found = Vec::new();
        for head in heads.iter().filter(|head| head.chain != REGISTRY) {
            let actors = of_chain(&db, head.chain).await.into_iter().map(|kept| kept.entry.actor);
            found.extend(actors);
        }
        let is_there = |n: &u32| found.contains(&format!("user-{n}"));
        assert!(acknowledged.iter().all(is_there));
    }
}

/// Replicas open chains at the same time, and again and again.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_begin_at_once_have_chains_of_their_own() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let mut processes = Vec::new();
        for _ in 0..6 {
            processes.push(process(&store).await);
        }
        let writers = processes.iter().enumerate().map(|(writer, (_, audit_log))| {
            let audit_log = audit_log.clone();
            tokio::spawn(async move {
                let first = u32::try_from(writer).unwrap() * 100;
                append(&audit_log, first..first + 20).await;
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let found = heads(&processes[0].0).await;
        assert_eq!(found.len(), 7);
        assert!(found.iter().filter(|it| it.chain != REGISTRY).all(|head| head.seq == 20));
    }
}

/// A log that was broken in three ways, and closed while one of its processes lived on.
async fn closed(store: &TestStore) -> (Db, Vec<Head>) {
    let (db, audit_log) = written_by_three(store).await;
    let known = heads(&db).await;
    let changes = [
        "update audit set actor = 'x' where chain = 1 and seq = 3",
        "delete from audit where chain = 3 and seq > 1",
        "delete from audit where chain = 0 and seq = 2",
    ];
    tamper(&db, &changes).await;
    assert!(matches!(verdict(&db, &known).await, Verdict::Broken(_)));
    let (_, command) = process(store).await;
    command.close(known.clone(), "restored by hand".to_owned()).await.unwrap();
    append(&audit_log, 15..18).await;
    append(&process(store).await.1, 18..20).await;
    (db, known)
}

#[tokio::test]
async fn a_log_that_was_closed_is_verified_from_there() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let (db, known) = closed(&store).await;
        assert!(matches!(verdict(&db, &known).await, Verdict::Intact(_)));
        let closing = &of_chain(&db, 4).await[0].entry;
        assert_eq!(closing.action, "audit.close");
        assert_eq!(closing.record.as_deref(), Some("restored by hand"));
    }
}

#[tokio::test]
async fn what_is_changed_after_a_log_was_closed_is_named() {
    let cases: &[(&str, Fault)] = &[
        ("delete from audit where chain = 3 and seq = 5", Fault::Removed(place(3, 5))),
        ("delete from audit where chain = 0 and seq = 5", Fault::Inserted(place(5, 1))),
        ("update audit set record = 'x' where chain = 4", Fault::Changed(place(4, 1))),
        // Then it is not closed.
        (
            "update audit set changed = null where chain = 0 and seq = 4",
            Fault::Removed(place(0, 2)),
        ),
        ("delete from audit where chain = 0 and seq = 4", Fault::Removed(place(0, 2))),
    ];
    for engine in engines() {
        for (sql, fault) in cases {
            let store = TestStore::on(engine).await;
            let (db, known) = closed(&store).await;
            tamper(&db, &[sql]).await;
            assert_eq!(verdict(&db, &known).await, Verdict::Broken(*fault), "{engine:?} {sql}");
        }
    }
}

/// A store's first chain is opened while somebody verifies: it is none of before the registry.
#[tokio::test]
async fn a_verification_meanwhile_takes_the_first_opening_for_what_it_is() {
    for engine in engines() {
        for _ in 0..12 {
            let store = TestStore::on(engine).await;
            let (db, audit_log) = process(&store).await;
            let verifying = async {
                for _ in 0..40 {
                    let found = verdict(&db, &[]).await;
                    assert!(matches!(found, Verdict::Intact(_)), "{found:?}");
                }
            };
            tokio::join!(verifying, append(&audit_log, 0..20));
        }
    }
}
