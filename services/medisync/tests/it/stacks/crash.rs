//! Nothing acknowledged is lost and nothing happens twice, whenever the process is killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use reqwest::StatusCode;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::Value;
use tokio::{sync::Notify, task::JoinHandle};

use crate::{
    heavy,
    test_mesh::{ADMIN, Caller, TestMesh, a_patient, files, until},
};

const ROUNDS: usize = 10;
const WRITERS: usize = 8;
/// The process is killed after this many acknowledgements of a round at most.
const ACKNOWLEDGED_MAX: usize = 60;
const DEMO_PATIENTS: usize = 15;

/// What the writers of one round were told.
#[derive(Default)]
struct Journal {
    acknowledged: AtomicUsize,
    kill_after: usize,
    kill_now: Notify,
    stop: AtomicBool,
}

/// Registers patients until the process is gone; tells which were acknowledged, as they were.
fn writer(caller: Caller, journal: Arc<Journal>) -> JoinHandle<Vec<Value>> {
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        while !journal.stop.load(Ordering::SeqCst) {
            let Some(answer) = caller.try_post("/api/patients", &a_patient()).await else { break };
            if answer.status != StatusCode::CREATED {
                break;
            }
            acknowledged.push(answer.json());
            if journal.acknowledged.fetch_add(1, Ordering::SeqCst) + 1 == journal.kill_after {
                journal.kill_now.notify_one();
            }
        }
        acknowledged
    })
}

fn random(below: usize) -> usize {
    let mut bytes = [0; 4];
    SystemRandom::new().fill(&mut bytes).unwrap();
    u32::from_le_bytes(bytes) as usize % below
}

#[tokio::test]
async fn whatever_moment_it_is_killed_at_everything_acknowledged_is_there_once() {
    let _turn = heavy::turn().await;
    let mut world = TestMesh::start().await;
    let mut acknowledged = BTreeMap::new();
    for _ in 0..ROUNDS {
        let kill_after = 1 + random(ACKNOWLEDGED_MAX);
        let journal = Arc::new(Journal { kill_after, ..Journal::default() });
        let caller = world.sign_in(ADMIN).await;
        let writers: Vec<_> =
            (0..WRITERS).map(|_| writer(caller.clone(), Arc::clone(&journal))).collect();
        journal.kill_now.notified().await;
        world = world.crash_and_restart();
        journal.stop.store(true, Ordering::SeqCst);
        for writer in writers {
            for patient in writer.await.unwrap() {
                acknowledged.insert(patient["id"].as_str().unwrap().to_owned(), patient);
            }
        }
    }
    assert!(acknowledged.len() >= ROUNDS, "{} acknowledged", acknowledged.len());
    check(&world, &acknowledged).await;
}

/// Every patient that is there, acknowledged or not, has all that belongs to it, once.
pub(crate) async fn check(world: &TestMesh, acknowledged: &BTreeMap<String, Value>) {
    let admin = world.sign_in(ADMIN).await;
    for (id, told) in acknowledged {
        let kept = admin.get(&format!("/api/patients/{id}")).await.expect(StatusCode::OK).json();
        for field in ["name", "email", "address", "dateOfBirth", "version"] {
            assert_eq!(kept[field], told[field], "{field} of {id}");
        }
    }
    let there = all(&admin, "/api/patients", "patients").await;
    assert!(there.len() >= acknowledged.len() + DEMO_PATIENTS);

    until("every patient has an account", || async {
        let patients = all(&admin, "/api/patients", "patients").await;
        patients.iter().all(|patient| patient["billing"]["status"] == "ACTIVE")
    })
    .await;
    let accounts = all(&admin, "/api/billing/accounts", "accounts").await;
    let with_account: BTreeSet<_> = accounts.iter().map(|a| a["patientId"].to_string()).collect();
    assert_eq!(accounts.len(), there.len(), "one account each");
    assert!(there.iter().all(|patient| with_account.contains(&patient["id"].to_string())));

    world.drain().await;
    let summary = admin.summary().await;
    assert_eq!(summary["created"], there.len(), "one PATIENT_CREATED in effect each");
    assert_eq!(summary["patients"], there.len());

    until("every message is sent", || async {
        let messages = all(&admin, "/api/notifications", "notifications").await;
        messages.len() >= there.len() && messages.iter().all(|m| m["status"] == "SENT")
    })
    .await;
    let messages = all(&admin, "/api/notifications", "notifications").await;
    let to: BTreeSet<_> = messages.iter().map(|m| m["patientId"].to_string()).collect();
    assert_eq!((messages.len(), to.len()), (there.len(), there.len()), "one message each");
    let written = std::fs::read_dir(world.data().join("outbox")).unwrap().count();
    assert_eq!(files(&world.data().join("outbox"), ".eml").len(), there.len());
    assert_eq!(written, there.len(), "and nothing else in the folder");
}

/// A whole list, page by page.
async fn all(caller: &Caller, path: &str, name: &str) -> Vec<Value> {
    let (mut found, mut query) = (Vec::new(), "size=200".to_owned());
    loop {
        let page = caller.get(&format!("{path}?{query}")).await.expect(StatusCode::OK);
        found.extend(page.list(name));
        match page.json()["nextCursor"].as_str() {
            Some(next) => query = format!("size=200&cursor={next}"),
            None => return found,
        }
    }
}
