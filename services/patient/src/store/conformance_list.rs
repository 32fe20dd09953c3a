//! What lists and searches must do, on every engine.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Span, civil::date};
use kit::testing::engines;
use uuid::Uuid;

use super::{After, Change, List, Order, Search, Sort, conformance::World};
use crate::{
    domain::{Condition, Patient},
    events::PATIENT_UPDATED,
    names::sort_key,
    testing::{NOW, details, patient},
};

const SORTS: [Sort; 3] = [Sort::Name, Sort::RegisteredDate, Sort::CreatedAt];
const ORDERS: [Order; 2] = [Order::Asc, Order::Desc];

/// A patient whose every sort key it shares with some others.
fn one_of_many(id: u128) -> Patient {
    let n = i64::try_from(id).unwrap();
    let name = format!("{} {}", if id.is_multiple_of(2) { "ada" } else { "Änne" }, n % 5);
    Patient {
        details: details(&name, &format!("p{id}@example.com")),
        registered_date: date(2026, 1, 1) + Span::new().days(n % 4),
        created_at: NOW + SignedDuration::from_secs(n % 3),
        // There is room for others between them.
        ..patient(id * 1000)
    }
}

/// A patient's sort key.
fn sort_key_of(patient: &Patient, sort: Sort) -> After {
    match sort {
        Sort::Name => After::Name(sort_key(patient.details.name.as_str())),
        Sort::RegisteredDate => After::RegisteredDate(patient.registered_date),
        Sort::CreatedAt => After::CreatedAt(patient.created_at),
    }
}

fn key(patient: &Patient, sort: Sort) -> (Vec<u8>, Uuid) {
    let key = match sort {
        Sort::Name => sort_key(patient.details.name.as_str()),
        Sort::RegisteredDate => patient.registered_date.to_string().into_bytes(),
        Sort::CreatedAt => patient.created_at.to_string().into_bytes(),
    };
    (key, patient.id)
}

impl World {
    /// All pages, one after the other; between two of them something is done with the last row.
    async fn pages(&self, list: List, mut between: impl AsyncFnMut(&Patient)) -> Vec<Patient> {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list(List { after, ..list.clone() }).await.unwrap();
            let Some(last) = page.last().cloned() else { return seen };
            assert!(page.len() <= list.count as usize);
            between(&last).await;
            after = Some((sort_key_of(&last, list.sort), last.id));
            seen.extend(page);
        }
    }

    /// Who is found, by id, in every sort and order and by both ways to search.
    async fn found(&self, search: &str) -> BTreeSet<u128> {
        let mut answers = Vec::new();
        for few_matches in [0, 2000] {
            let store = self.store.clone().with_few_matches(few_matches);
            for (sort, order) in SORTS.into_iter().flat_map(|sort| ORDERS.map(|it| (sort, it))) {
                let search = Search::parse(search);
                let list = List { sort, order, search, after: None, count: 200 };
                let found = store.list(list).await.unwrap();
                answers.push(found.iter().map(|it| it.id.as_u128()).collect::<BTreeSet<_>>());
            }
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{search}: every way finds the same");
        answers.pop().unwrap()
    }
}

#[tokio::test]
async fn pages_follow_each_other_in_every_sort_and_order() {
    for engine in engines() {
        let world = World::on(engine).await;
        let mut all: Vec<_> = (1..=23).map(one_of_many).collect();
        for patient in &all {
            world.add(patient).await;
        }
        for (sort, order) in SORTS.into_iter().flat_map(|sort| ORDERS.map(|it| (sort, it))) {
            all.sort_by_key(|patient| key(patient, sort));
            if order == Order::Desc {
                all.reverse();
            }
            for search in [None, Search::parse("example"), Search::parse("p")] {
                let list = List { sort, order, search, after: None, count: 4 };
                let seen = world.pages(list, async |_| {}).await;
                assert!(seen == all, "{sort:?} {order:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_row_that_comes_or_goes_where_a_page_ended_moves_no_other() {
    for engine in engines() {
        for (sort, order) in SORTS.into_iter().flat_map(|sort| ORDERS.map(|it| (sort, it))) {
            let world = World::on(engine).await;
            let all: Vec<_> = (1..=12).map(one_of_many).collect();
            for patient in &all {
                world.add(patient).await;
            }
            let list = List { sort, order, search: None, after: None, count: 3 };
            let seen = world
                .pages(list, async |last| {
                    let id = last.id.as_u128();
                    if !id.is_multiple_of(1000) {
                        return;
                    }
                    // The row that the cursor names goes; one comes just before, one just after it.
                    world.remove(last.id).await;
                    for id in [id - 1, id + 1] {
                        let name = last.details.name.as_str();
                        let details = details(name, &format!("new{id}@example.com"));
                        world
                            .add(&Patient { id: Uuid::from_u128(id), details, ..last.clone() })
                            .await;
                    }
                })
                .await;
            let seen: Vec<_> = seen.iter().map(|patient| patient.id.as_u128()).collect();
            let (old, new): (Vec<u128>, Vec<u128>) =
                seen.iter().copied().partition(|id| id.is_multiple_of(1000));
            assert_eq!(old.len(), 12, "{sort:?} {order:?}: {seen:?}");
            assert_eq!(old.into_iter().collect::<BTreeSet<_>>().len(), 12, "none twice");
            // Of the new ones those that come after the page's end.
            let after = if order == Order::Asc { 1 } else { 999 };
            assert!(new.iter().all(|id| id % 1000 == after), "{sort:?} {order:?}: {seen:?}");
            assert!(new.len() >= 3, "{sort:?} {order:?}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn a_part_of_a_name_or_email_finds_whoever_has_it() {
    let people = [
        (1, "Jane Roe", "jane.roe@example.com"),
        (2, "Per Cent 100%", "a_b@example.com"),
        (3, r"Back\slash", "axb@example.org"),
        (4, "Jürgen Großmann", "juergen@example.net"),
        (5, "王小明", "wang@example.cn"),
        (6, "ΟΔΥΣΣΕΥΣ", "odysseus@example.gr"),
        (7, "abcd", "bcde@example.com"),
        (8, "O'Neil \"Q\" 🦀", "o.neil@example.com"),
        (9, "Łukasz Øvergård", "lo@example.no"),
        (10, "Anna Maria Zoë", "amz@example.it"),
    ];
    let table: [(&str, &[u128]); 45] = [
        ("jane", &[1]),
        ("ROE", &[1]),
        ("roe jane", &[1]),
        ("Roe, Jane", &[1]),
        ("j roe", &[1]),
        ("jan  ro", &[1]),
        ("roe\tjane", &[1]),
        ("e.r", &[1, 2, 4, 9]),
        ("jane jack", &[]),
        ("jane.roe@", &[1]),
        ("%", &[2]),
        ("_", &[2]),
        ("a_b", &[2]),
        ("0%", &[2]),
        (r"\", &[3]),
        (r"k\s", &[3]),
        (r"\%", &[]),
        ("ü", &[4, 6, 9]),
        ("JÜRGEN", &[4]),
        ("jurgen grossmann", &[4]),
        ("GROSSMANN", &[4]),
        ("小", &[5]),
        ("王小明", &[5]),
        ("王 小明", &[5]),
        ("οδυσ", &[6]),
        ("ΟΔΥΣ", &[6]),
        ("Οδυσσεύς", &[6]),
        // Its trigrams are all there, and apart: in a name and an email.
        ("abcde", &[]),
        ("bcd", &[7]),
        ("or and not near", &[]),
        ("\"q\"", &[8]),
        ("🦀", &[8]),
        ("@example.com", &[1, 2, 7, 8]),
        ("o’neil", &[8]),
        ("oneil", &[8]),
        ("O Neil", &[8]),
        ("o.neil", &[8]),
        ("lukasz", &[9]),
        ("overgard", &[9]),
        ("Øvergård Łukasz", &[9]),
        ("anna maria", &[10]),
        ("annamaria", &[10]),
        ("Anna-Maria", &[10]),
        ("maria - anna", &[10]),
        ("zoe\u{308}", &[10]),
    ];
    for engine in engines() {
        let world = World::on(engine).await;
        for (id, name, email) in people {
            world.add(&Patient { details: details(name, email), ..patient(id) }).await;
        }
        for (search, expected) in table {
            let expected = expected.iter().copied().collect();
            assert_eq!(world.found(search).await, expected, "{search}");
        }
    }
}

#[tokio::test]
async fn a_search_finds_who_a_patient_is_now() {
    for engine in engines() {
        let world = World::on(engine).await;
        world.add(&Patient { details: details("Jane Roe", "roe@example.com"), ..patient(1) }).await;
        let (id, now, event_id) = (Uuid::from_u128(1), NOW, Uuid::nil());
        let condition = Condition::default();
        let change = Change { id, condition, now, event_id, trace: None };
        let married = details("Jane Doe", "doe@example.com");
        world.store.update(change, married, PATIENT_UPDATED).await.unwrap();
        assert_eq!(world.found("roe").await, BTreeSet::new());
        assert_eq!(world.found("doe").await, [1].into());
        world.remove(id).await;
        assert_eq!(world.found("doe").await, BTreeSet::new());
    }
}
