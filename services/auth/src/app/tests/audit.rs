//! Copies of the mesh's audit trails: each entry once, in its place, and never another in it.

use jiff::Timestamp;
use kit::audit::{
    Kept,
    copies::{Copies as _, CopyError, Page},
};
use shared_middleware::{
    audit::{Asked, Outcome},
    identity::Part,
};

use super::*;
use crate::store::audit::{Copied, Wanted};

/// The entries of a part that shows a patient again and again.
fn trail() -> Vec<Kept> {
    let patient = Uuid::from_u128(7);
    let asked = Asked::new("patient.read", Some(patient.to_string()), None, None);
    let of = |seq: i64| {
        let at = Timestamp::from_second(1_800_000_000 + seq).unwrap();
        let entry = asked.entry(at, Outcome::Allowed, None, vec![patient]);
        Kept { seq, entry, link: format!("link {seq}").into() }
    };
    (1..=100).map(of).collect()
}

async fn hand_in(world: &World, entries: &[Kept]) -> Result<i64, CopyError> {
    let page = Page { entries: entries.to_vec() };
    Ok(world.app().copies().take(Part::Patient, page).await?.up_to)
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
