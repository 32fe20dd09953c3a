//! An audit log on every engine: appended to by many at once, and changed by somebody who may not.

use std::sync::Arc;

use jiff::Timestamp;
use shared_middleware::{
    audit::{AuditContext, Entry, Outcome},
    clock::Clock,
    identity::{Part, Role},
};
use uuid::Uuid;

use super::{
    AuditKey, AuditLog, AuditNote, Head, REGISTRY,
    checkpoint::Checkpoint,
    note,
    verify::{Fault, Place, Verdict, verify},
};
use crate::{
    db::{Db, DbError, Engine, Migrations},
    params,
    testing::{TestStore, audit_key, engines},
};

const KEY: AuditKey = audit_key();

async fn audit_log(store: &TestStore) -> (Db, AuditLog) {
    let db = store.open(Migrations::none()).await;
    let audit_log = store.audit_log(&db).await;
    (db, audit_log)
}

pub(super) fn entry(n: u32) -> Entry {
    let asked = AuditContext::new("patient.read", None, None, None);
    asked.by_user(format!("user-{n}"), Some(Role::Clinician));
    let patient = Uuid::from_u128(n.into());
    let at = Timestamp::from_microsecond(1_800_000_000_000_000 + i64::from(n)).unwrap();
    let patients = vec![patient, Uuid::max()];
    let entry = asked.entry(at, Outcome::Allowed, Some(patient.to_string()), patients);
    let changed = if n == 4 { vec!["role=ADMIN".to_owned()] } else { Vec::new() };
    Entry { changed, ..entry }
}

async fn trail_again(store: &TestStore) {
    let (_, again) = audit_log(store).await;
    again.keep(entry(5)).await.unwrap();
}

async fn filled(store: &TestStore, count: u32) -> (Db, AuditLog) {
    let (db, audit_log) = audit_log(store).await;
    audit_log.keep_all((1..=count).map(entry).collect()).await.unwrap();
    (db, audit_log)
}

/// Does what only somebody who has the whole store can.
pub(super) async fn tamper(db: &Db, statements: &[&str]) {
    let statements: Vec<_> = statements.iter().map(|&sql| sql.to_owned()).collect();
    db.write(move |tx| {
        Box::pin(async move {
            match tx.engine() {
                Engine::Sqlite => {
                    for name in ["audit_keeps_what_it_has", "audit_keeps_all_it_has"] {
                        tx.execute(&format!("drop trigger if exists {name}"), &[]).await?;
                    }
                }
                Engine::Postgres => {
                    tx.execute("grant all on audit to current_user", &[]).await?;
                }
            }
            for sql in statements {
                tx.execute(&sql, &[]).await?;
            }
            Ok::<_, DbError>(())
        })
    })
    .await
    .unwrap();
}

pub(super) async fn verdict(db: &Db, known: &[Head]) -> Verdict {
    verify(Part::Patient, db, &KEY, known).await.unwrap()
}

pub(super) async fn heads(db: &Db) -> Vec<Head> {
    match verdict(db, &[]).await {
        Verdict::Intact(heads) => heads,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn entries(db: &Db) -> i64 {
    let verdict = verdict(db, &[]).await;
    verdict.entries().unwrap_or_else(|| panic!("{verdict:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_entries_of_many_at_once_make_one_unbroken_chain() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let (db, audit_log) = audit_log(&store).await;
        let writers = (0..100).map(|writer| {
            let audit_log = audit_log.clone();
            tokio::spawn(async move {
                for n in 0..100 {
                    audit_log.keep(entry(writer * 100 + n)).await.unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        assert_eq!(entries(&db).await, 10_000);
    }
}

#[tokio::test]
async fn an_effect_and_its_entry_commit_together_or_not_at_all() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let (db, _trail) = audit_log(&store).await;
        let asked = AuditContext::by_shell("user.create");
        for fails in [true, false] {
            let write = db.write(move |tx| {
                Box::pin(async move {
                    let sql = "insert into secret (name, value) values ('thing', $1)";
                    tx.execute(sql, params![vec![1_u8]]).await?;
                    note(tx, AuditNote::of("thing"))?;
                    if fails { Err(DbError::Corrupt("a failure")) } else { Ok(()) }
                })
            });
            let done = asked.clone().scope(write).await;
            assert_eq!(done.is_err(), fails);
            let rows = db.read(|tx| Box::pin(super::after(tx, None, (1, 0), 10))).await.unwrap();
            assert_eq!(rows.len(), usize::from(!fails));
        }
        let rows = db.read(|tx| Box::pin(super::after(tx, None, (1, 0), 10))).await.unwrap();
        let Entry { actor, action, record, .. } = &rows[0].entry;
        assert_eq!((&**actor, &**action), ("shell", "user.create"));
        assert_eq!(record.as_deref(), Some("thing"));
    }
}

#[tokio::test]
async fn whatever_is_changed_the_first_wrong_entry_is_named() {
    let cases: &[(&[&str], Fault)] = &[
        (&["update audit set actor = 'nobody' where seq = 7"], Fault::Changed(7.into())),
        (&["update audit set record = null where seq = 7"], Fault::Changed(7.into())),
        (&["update audit set changed = null where seq = 4"], Fault::Changed(4.into())),
        (&["update audit set changed = 'role=BILLING' where seq = 4"], Fault::Changed(4.into())),
        (&["update audit set changed = 'role=ADMIN' where seq = 5"], Fault::Changed(5.into())),
        (&["update audit set outcome = 'odd' where seq = 3"], Fault::Changed(3.into())),
        (&["update audit set patients = 'odd' where seq = 3"], Fault::Changed(3.into())),
        (&["delete from audit where seq = 1"], Fault::Removed(1.into())),
        (&["delete from audit where seq = 12"], Fault::Removed(12.into())),
        (&["delete from audit where seq between 5 and 9"], Fault::Removed(5.into())),
        (
            &[
                "update audit set seq = 100 where seq = 8",
                "update audit set seq = 8 where seq = 9",
                "update audit set seq = 9 where seq = 100",
            ],
            Fault::Changed(8.into()),
        ),
        (
            &["insert into audit
               select 0, at, actor, role, action, outcome, record, patients, source, trace, link,
                      changed, 1 from audit where chain = 1 and seq = 1"],
            Fault::Inserted(0.into()),
        ),
        (
            &["insert into audit
               select 21, at, actor, role, action, outcome, record, patients, source, trace, link,
                      changed, 1 from audit where seq = 20"],
            Fault::Changed(21.into()),
        ),
        (&["delete from audit where seq > 15"], Fault::CutOff(16.into())),
        (&["delete from audit"], Fault::CutOff(Place { chain: Some(REGISTRY), seq: 1 })),
    ];
    for engine in engines() {
        for (statements, fault) in cases {
            let store = TestStore::on(engine).await;
            let (db, _trail) = filled(&store, 20).await;
            let checkpoint = heads(&db).await;
            tamper(&db, statements).await;
            let found = verdict(&db, &checkpoint).await;
            assert_eq!(found, Verdict::Broken(*fault), "{engine:?} {statements:?}");
        }
    }
}

#[tokio::test]
async fn a_trail_written_anew_is_not_the_one_that_a_checkpoint_knows() {
    for engine in engines() {
        let (store, other) = (TestStore::on(engine).await, TestStore::on(engine).await);
        let (db, _trail) = filled(&store, 5).await;
        let before = heads(&db).await;
        let (anew, audit_log) = filled(&other, 4).await;
        audit_log.keep(entry(99)).await.unwrap();
        assert!(matches!(verdict(&anew, &[]).await, Verdict::Intact(_)));
        let opening = Place { chain: Some(REGISTRY), seq: 1 };
        assert_eq!(verdict(&anew, &before).await, Verdict::Broken(Fault::Rewritten(opening)));
    }
}

#[tokio::test]
async fn the_stores_own_role_may_not_change_what_is_there() {
    for engine in engines() {
        let store = TestStore::of_its_own_role(engine).await;
        let (db, _trail) = filled(&store, 3).await;
        const CHANGES: [&str; 3] =
            ["update audit set actor = 'x'", "delete from audit", "truncate audit"];
        // SQLite knows no truncate.
        let possible = if engine == Engine::Postgres { 3 } else { 2 };
        for sql in &CHANGES[..possible] {
            let done =
                db.write(move |tx| Box::pin(async move { tx.execute(sql, &[]).await })).await;
            assert!(matches!(done, Err(DbError::Statement(_))), "{engine:?}: {sql}: {done:?}");
        }
        assert_eq!(entries(&db).await, 3);
    }
}

#[tokio::test]
async fn handed_to_another_role_the_trail_grows_and_its_old_owner_cannot_have_it_back() {
    for engine in engines().into_iter().filter(|engine| *engine == Engine::Postgres) {
        let store = TestStore::of_its_own_role(engine).await;
        let (db, audit_log) = filled(&store, 3).await;
        let role = db
            .read(|tx| {
                Box::pin(async move {
                    tx.query_one("select current_user::text", &[]).await?.get::<String>(0)
                })
            })
            .await
            .map_err(|error: DbError| error)
            .unwrap();
        store
            .as_superuser(&format!(
                "alter table audit owner to current_user; grant select, insert on audit to {role}"
            ))
            .await;
        audit_log.keep(entry(4)).await.unwrap();
        for sql in ["grant all on audit to current_user", "delete from audit"] {
            // The server tells of a grant that gave nothing by a warning.
            let _ = db.write(move |tx| Box::pin(async move { tx.execute(sql, &[]).await })).await;
        }
        let change = "update audit set actor = 'x'";
        let done = db.write(move |tx| Box::pin(async move { tx.execute(change, &[]).await })).await;
        assert!(matches!(done, Err(DbError::Statement(_))), "{done:?}");
        assert_eq!(entries(&db).await, 4);
        // And a service starts on it.
        trail_again(&store).await;
    }
}

#[tokio::test]
async fn a_store_keeps_to_the_key_that_its_trail_was_begun_with() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let (db, _trail) = filled(&store, 1).await;
        let other = AuditKey::new([8; 32]);
        let refused = AuditLog::open(Part::Patient, db.clone(), &other, Clock::system()).await;
        assert!(matches!(refused, Err(DbError::AnotherAuditKey)));
        let opening = Place { chain: Some(REGISTRY), seq: 1 };
        let verdict = verify(Part::Patient, &db, &other, &[]).await.unwrap();
        assert_eq!(verdict, Verdict::Broken(Fault::Changed(opening)));
        // One service's chain is none of another's.
        let verdict = verify(Part::Billing, &db, &KEY, &[]).await.unwrap();
        assert_eq!(verdict, Verdict::Broken(Fault::Changed(opening)));
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_is_refused() {
    for engine in engines() {
        let store = TestStore::on(engine).await;
        let (db, audit_log) = filled(&store, 1).await;
        tamper(&db, &["drop table audit"]).await;
        let refused = Arc::new(audit_log).keep(entry(2)).await.unwrap_err();
        assert_eq!(refused.code(), shared_middleware::error::ErrorCode::Unavailable);
    }
}

#[test]
fn a_checkpoint_is_signed_and_anything_changed_in_it_is_seen() {
    let known = Head { chain: 2, seq: 7, link: vec![1, 2, 3] };
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    let stated = Checkpoint::sign(Part::Patient, &known, at, &KEY);
    let line = serde_json::to_string(&stated).unwrap();
    assert_eq!(Checkpoint::read(&line, &KEY).unwrap().head(), known);
    assert!(Checkpoint::read(&line, &AuditKey::new([8; 32])).is_err());
    let changes = [
        ("\"seq\":7", "\"seq\":8"),
        ("\"chain\":2", "\"chain\":3"),
        ("010203", "010204"),
        ("patient", "billing"),
    ];
    for (from, to) in changes {
        let changed = line.replace(from, to);
        assert_ne!(changed, line);
        assert!(Checkpoint::read(&changed, &KEY).is_err(), "{to}");
    }
    assert!(Checkpoint::read("{}", &KEY).is_err());
}

#[test]
fn a_key_is_64_hexadecimal_digits() {
    assert_eq!(KEY.to_hex().parse::<AuditKey>().unwrap().to_hex(), KEY.to_hex());
    for text in ["", "07", "g7", &"0".repeat(63), &"0".repeat(65), &"é".repeat(32)] {
        assert!(text.parse::<AuditKey>().is_err(), "{text}");
    }
}
