//! Copies of the mesh's audit logs: each entry once, in its place, and never another in it.

use jiff::Timestamp;
use kit::{
    audit::{
        Head, Kept, after, heads,
        replication::{CopyError, Page},
        verify::{Fault, Links, Verdict, verify_copy},
    },
    db::{Db, DbError, Engine, Migrations},
    testing::TestStore,
};
use shared_middleware::{
    audit::{AuditContext, Entry, Outcome},
    identity::Part,
};

use super::*;
use crate::store::audit::{Copied, Wanted};

/// The entries of a part that shows a patient again and again.
fn audit_log() -> Vec<Kept> {
    trail_of(Part::Patient, |_, _| {})
}

/// The same, of another part, or with something else in its entries.
fn trail_of(writer: Part, change: impl Fn(i64, &mut Entry)) -> Vec<Kept> {
    let patient = Uuid::from_u128(7);
    let asked = AuditContext::new("patient.read", Some(patient.to_string()), None, None);
    let links = Links::of(writer, &audit_key());
    // As before there was a registry.
    let mut head = Head::before_first(1, Vec::new());
    let of = |seq: i64| {
        let at = Timestamp::from_second(1_800_000_000 + seq).unwrap();
        let mut entry = asked.entry(at, Outcome::Allowed, None, vec![patient]);
        change(seq, &mut entry);
        head = links.next(&head, &entry);
        Kept { chain: 1, seq, entry, link: head.link.clone() }
    };
    (1..=100).map(of).collect()
}

async fn hand_in(world: &World, entries: &[Kept]) -> Result<i64, CopyError> {
    let page = Page { heads_of: vec![1], entries: entries.to_vec() };
    let taken = world.auth.copies.take(Part::Patient, page).await?;
    Ok(taken.heads.last().map_or(0, |head| head.seq))
}

async fn of_the_patient(world: &World) -> Vec<i64> {
    let wanted = Wanted { patient: Some(Uuid::from_u128(7)), ..Wanted::default() };
    let found = world.app().audit_entries(wanted, 1000).await.unwrap();
    found.into_iter().rev().map(|Copied { seq, .. }| seq).collect()
}

#[tokio::test]
async fn entries_that_are_handed_in_again_are_there_once() {
    for engine in engines() {
        let (world, audit_log) = (World::new(engine).await, audit_log());
        assert_eq!(hand_in(&world, &[]).await.unwrap(), 0);
        assert_eq!(hand_in(&world, &audit_log[..80]).await.unwrap(), 80);
        assert_eq!(hand_in(&world, &audit_log[..80]).await.unwrap(), 80);
        assert_eq!(hand_in(&world, &audit_log[70..]).await.unwrap(), 100);
        assert_eq!(hand_in(&world, &[]).await.unwrap(), 100);
        assert_eq!(of_the_patient(&world).await, (1..=100).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_does_not_follow_waits_for_what_is_missing() {
    for engine in engines() {
        let (world, audit_log) = (World::new(engine).await, audit_log());
        assert_eq!(hand_in(&world, &audit_log[1..]).await.unwrap(), 0);
        let with_a_gap = [&audit_log[..10], &audit_log[11..]].concat();
        assert_eq!(hand_in(&world, &with_a_gap).await.unwrap(), 10);
        assert_eq!(of_the_patient(&world).await, (1..=10).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn another_entry_under_a_known_number_is_refused_with_all_that_came_with_it() {
    for engine in engines() {
        let (world, audit_log) = (World::new(engine).await, audit_log());
        hand_in(&world, &audit_log[..10]).await.unwrap();
        let mut changed = audit_log.clone();
        changed[4].link = b"another".into();
        assert!(matches!(hand_in(&world, &changed).await, Err(CopyError::Differs)));
        assert_eq!(hand_in(&world, &[]).await.unwrap(), 10);
        assert_eq!(of_the_patient(&world).await.len(), 10);
    }
}

#[tokio::test]
async fn what_the_part_has_not_written_is_not_taken() {
    for engine in engines() {
        let world = World::new(engine).await;
        let long = trail_of(Part::Patient, |seq, entry| {
            if seq == 3 {
                entry.actor = "x".repeat(3 << 20);
            }
        });
        let mut changed = audit_log();
        changed[2].entry.actor = "somebody else".to_owned();
        let mut moved = audit_log();
        moved.swap(2, 3);
        (moved[2].seq, moved[3].seq) = (3, 4);
        let of_another = trail_of(Part::Billing, |_, _| {});
        for (what, entries) in
            [("long", long), ("changed", changed), ("moved", moved), ("another's", of_another)]
        {
            let taken = hand_in(&world, &entries).await;
            assert!(matches!(taken, Err(CopyError::Differs)), "{what}");
        }
        assert_eq!(hand_in(&world, &audit_log()).await.unwrap(), 100);
    }
}

#[tokio::test]
async fn a_copy_that_was_changed_is_found() {
    for engine in engines() {
        for (statement, fault) in [
            ("update audit_copy set actor = 'x' where seq = 40", Fault::Changed(40.into())),
            ("delete from audit_copy where seq = 70", Fault::Removed(70.into())),
        ] {
            let world = World::new(engine).await;
            hand_in(&world, &audit_log()).await.unwrap();
            let db = world.app().store.db();
            let verdict = async || verify_copy(Part::Patient, db, &audit_key()).await.unwrap();
            assert!(verdict().await.entries() == Some(100));
            // Anyone who owns the store can take away what keeps others from it.
            let write = db.write(move |tx| {
                Box::pin(async move {
                    let first = match tx.engine() {
                        Engine::Sqlite => &[
                            "drop trigger audit_copy_keeps_what_it_has",
                            "drop trigger audit_copy_keeps_all_it_has",
                        ][..],
                        Engine::Postgres => &["grant update, delete on audit_copy to current_user"],
                    };
                    for statement in first {
                        tx.execute(statement, &[]).await?;
                    }
                    tx.execute(statement, &[]).await
                })
            });
            assert_eq!(write.await.map_err(|error: DbError| error).unwrap(), 1);
            assert_eq!(verdict().await, Verdict::Broken(fault));
        }
    }
}

/// Chains as the processes of a part write them, the registry's first.
async fn chains_of(db: &Db) -> Vec<Vec<Kept>> {
    let read = db.read(|tx| {
        Box::pin(async move {
            let mut chains = Vec::new();
            for head in heads(tx, None).await? {
                chains.push(after(tx, None, (head.chain, 0), 100).await?);
            }
            Ok::<_, DbError>(chains)
        })
    });
    read.await.unwrap()
}

#[tokio::test]
async fn a_chain_is_taken_after_its_opening_only() {
    for engine in engines() {
        let (world, part) = (World::new(engine).await, TestStore::on(engine).await);
        for last in [5, 3] {
            let db = part.open(Migrations::none()).await;
            let entries = audit_log()[..last].iter().map(|kept| kept.entry.clone()).collect();
            part.audit_log(&db).await.keep_all(entries).await.unwrap();
        }
        let chains = chains_of(&part.open(Migrations::none()).await).await;
        assert_eq!(hand_in(&world, &chains[2]).await.unwrap(), 0);
        assert_eq!(hand_in(&world, &[&chains[0][1..], &chains[2]].concat()).await.unwrap(), 0);
        assert_eq!(hand_in(&world, &[&chains[0][..], &chains[2]].concat()).await.unwrap(), 3);
        assert_eq!(hand_in(&world, &chains[1]).await.unwrap(), 5);
        let copy = verify_copy(Part::Patient, world.app().store.db(), &audit_key()).await.unwrap();
        assert_eq!(copy.entries(), Some(8));
    }
}

#[tokio::test]
async fn after_a_closing_a_copy_goes_on_without_what_is_missing() {
    for engine in engines() {
        let (world, part) = (World::new(engine).await, TestStore::on(engine).await);
        let living = part.open(Migrations::none()).await;
        let trail_of_living = part.audit_log(&living).await;
        let entries = |range: std::ops::Range<usize>| {
            audit_log()[range].iter().map(|kept| kept.entry.clone()).collect()
        };
        trail_of_living.keep_all(entries(0..10)).await.unwrap();
        let command = part.open(Migrations::none()).await;
        let command = part.audit_log(&command).await;
        command.close(Vec::new(), "a test".to_owned()).await.unwrap();
        trail_of_living.keep_all(entries(10..12)).await.unwrap();
        let chains = chains_of(&living).await;
        hand_in(&world, &[&chains[0][..1], &chains[1][..6]].concat()).await.unwrap();
        // Without the closing it waits for what is missing.
        assert_eq!(hand_in(&world, &chains[1][10..]).await.unwrap(), 6);
        let page = [&chains[0][1..], &chains[1][10..], &chains[2]].concat();
        assert_eq!(hand_in(&world, &page).await.unwrap(), 1);
        assert_eq!(hand_in(&world, &page).await.unwrap(), 1);
        let db = world.app().store.db();
        let copy = verify_copy(Part::Patient, db, &audit_key()).await.unwrap();
        assert_eq!(copy.entries(), Some(13));
    }
}

#[tokio::test]
async fn replicas_hand_in_the_same_entries_at_once() {
    for engine in engines() {
        let (world, audit_log) = (World::new(engine).await, audit_log());
        let pages = (0..8).map(|replica| hand_in(&world, &audit_log[..90 + replica]));
        let taken = join_all(pages).await;
        assert!(taken.into_iter().all(|up_to| up_to.unwrap() >= 90));
        let up_to = hand_in(&world, &audit_log).await.unwrap();
        assert_eq!(up_to, 100);
        assert_eq!(of_the_patient(&world).await, (1..=100).collect::<Vec<_>>());
    }
}
