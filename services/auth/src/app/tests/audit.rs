//! Copies of the mesh's audit trails: each entry once, in its place, and never another in it.

use jiff::Timestamp;
use kit::{
    audit::{
        Head, Kept,
        copies::{CopyError, Page},
        verify::{Fault, Links, Verdict, verify_copy},
    },
    db::{DbError, Engine},
};
use shared_middleware::{
    audit::{Asked, Entry, Outcome},
    identity::Part,
};

use super::*;
use crate::store::audit::{Copied, Wanted};

/// The entries of a part that shows a patient again and again.
fn trail() -> Vec<Kept> {
    trail_of(Part::Patient, |_, _| {})
}

/// The same, of another part, or with something else in its entries.
fn trail_of(writer: Part, change: impl Fn(i64, &mut Entry)) -> Vec<Kept> {
    let patient = Uuid::from_u128(7);
    let asked = Asked::new("patient.read", Some(patient.to_string()), None, None);
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
        let (world, trail) = (World::new(engine).await, trail());
        assert_eq!(hand_in(&world, &[]).await.unwrap(), 0);
        assert_eq!(hand_in(&world, &trail[..80]).await.unwrap(), 80);
        assert_eq!(hand_in(&world, &trail[..80]).await.unwrap(), 80);
        assert_eq!(hand_in(&world, &trail[70..]).await.unwrap(), 100);
        assert_eq!(hand_in(&world, &[]).await.unwrap(), 100);
        assert_eq!(of_the_patient(&world).await, (1..=100).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_does_not_follow_waits_for_what_is_missing() {
    for engine in engines() {
        let (world, trail) = (World::new(engine).await, trail());
        assert_eq!(hand_in(&world, &trail[1..]).await.unwrap(), 0);
        let with_a_gap = [&trail[..10], &trail[11..]].concat();
        assert_eq!(hand_in(&world, &with_a_gap).await.unwrap(), 10);
        assert_eq!(of_the_patient(&world).await, (1..=10).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn another_entry_under_a_known_number_is_refused_with_all_that_came_with_it() {
    for engine in engines() {
        let (world, trail) = (World::new(engine).await, trail());
        hand_in(&world, &trail[..10]).await.unwrap();
        let mut changed = trail.clone();
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
        let mut changed = trail();
        changed[2].entry.actor = "somebody else".to_owned();
        let mut moved = trail();
        moved.swap(2, 3);
        (moved[2].seq, moved[3].seq) = (3, 4);
        let of_another = trail_of(Part::Billing, |_, _| {});
        for (what, entries) in
            [("long", long), ("changed", changed), ("moved", moved), ("another's", of_another)]
        {
            let taken = hand_in(&world, &entries).await;
            assert!(matches!(taken, Err(CopyError::Differs)), "{what}");
        }
        assert_eq!(hand_in(&world, &trail()).await.unwrap(), 100);
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
            hand_in(&world, &trail()).await.unwrap();
            let db = world.app().store.db();
            let verdict = async || verify_copy(Part::Patient, db, &audit_key()).await.unwrap();
            assert!(verdict().await.entries() == Some(100));
            // Whoever owns the store can take away what keeps others from it.
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

#[tokio::test]
async fn replicas_hand_in_the_same_entries_at_once() {
    for engine in engines() {
        let (world, trail) = (World::new(engine).await, trail());
        let pages = (0..8).map(|replica| hand_in(&world, &trail[..90 + replica]));
        let taken = join_all(pages).await;
        assert!(taken.into_iter().all(|up_to| up_to.unwrap() >= 90));
        let up_to = hand_in(&world, &trail).await.unwrap();
        assert_eq!(up_to, 100);
        assert_eq!(of_the_patient(&world).await, (1..=100).collect::<Vec<_>>());
    }
}
