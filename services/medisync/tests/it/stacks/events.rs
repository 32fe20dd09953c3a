//! What an operator does with events: watch them, deal with dead letters, make projections anew.

use std::{
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use kit::log::{EVENT_ID, EVENT_TYPE, EmbeddedLog, EventLog, KafkaConfig, KafkaLog, Record};
use serde_json::Value;
use shared_middleware::clock::Clock;

use crate::{
    background_load::Meanwhile,
    test_mesh::{ADMIN, RECEPTIONIST, TestMesh, a_patient, until},
};

/// A command that runs until it is asked to end, and what it prints.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

// === impl Running ===

impl Running {
    fn start(world: &TestMesh, arguments: &[&str]) -> Self {
        let mut child = world.command_line(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Its first line, while patients are registered.
    async fn first_line(mut self, world: &TestMesh) -> (Self, String) {
        let clerk = world.sign_in(RECEPTIONIST).await;
        let registering = Meanwhile::repeat(move || {
            let clerk = clerk.clone();
            async move {
                clerk.register(&a_patient()).await;
            }
        });
        let read = tokio::task::spawn_blocking(move || {
            let line = self.lines.next().unwrap().unwrap();
            (self, line)
        });
        let read = read.await.unwrap();
        registering.ends_well().await;
        read
    }

    fn ends_well(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

/// Objects, one a line.
fn objects(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn run(world: &TestMesh, arguments: &[&str]) -> Output {
    world.command_line(arguments).output().unwrap()
}

/// Somebody else publishes what is no event of ours.
async fn publish_poison(world: &TestMesh) {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = vec![header(EVENT_ID, "not-ours-1"), header(EVENT_TYPE, "PATIENT_CREATED")];
    let record = Record { key: "Jane Roe".to_owned(), headers, payload: b"\xffJane Roe".to_vec() };
    log_of(world).await.publish("patient", vec![record]).await.unwrap();
}

/// The mesh's event log, as any other program would open it.
pub(crate) async fn log_of(world: &TestMesh) -> Box<dyn EventLog> {
    let Some(url) = world.variable("MEDISYNC_EVENTS__LOG") else {
        let path = world.data().join("events.db");
        return Box::new(EmbeddedLog::open(&path, Clock::system()).await.unwrap());
    };
    let prefix = world.variable("MEDISYNC_EVENTS__PREFIX").unwrap_or_default().to_owned();
    let (url, topics) = (url.parse().unwrap(), Vec::new());
    let config = KafkaConfig { url, prefix, topics, partitions: 1, replication: None };
    Box::new(KafkaLog::open(config).await.unwrap())
}

/// Partitions have no order among each other.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn dead_letters(world: &TestMesh) -> Vec<Value> {
    objects(&world.command(&["events", "dead-letters", "list", "--output", "json"], ""))
}

#[tokio::test]
async fn events_are_told_from_the_beginning_and_name_nobody_unasked() {
    let world = TestMesh::start().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let patient = a_patient();
    let id = clerk.register(&patient).await;
    let email = patient["email"].as_str().unwrap();
    world.drain().await;

    let tail = ["events", "tail", "--from-beginning", "--limit", "16"];
    let json = world.command(&[&tail[..], &["--output", "json"]].concat(), "");
    let told = objects(&json);
    assert_eq!(told.len(), 16, "15 demo patients and ours");
    let ours = told.iter().find(|event| event["patientId"] == id.as_str()).unwrap();
    assert_eq!((&ours["type"], &ours["version"]), (&"PATIENT_CREATED".into(), &1.into()));
    assert!(ours["offset"].is_i64() && ours["partition"].is_i64(), "{ours}");
    assert_eq!(ours["headers"]["event-id"], ours["eventId"]);
    let text = world.command(&tail, "");
    assert_eq!(text.lines().count(), 16);
    assert!(text.contains(&id), "{text}");
    for printed in [&json, &text] {
        assert!(!printed.contains('@') && !printed.contains("Test Person"), "{printed}");
    }
    let named = world.command(&[&tail[..], &["--with-personal-data"]].concat(), "");
    assert!(named.contains(email), "{named}");
    let since = ["events", "tail", "--since", "2026-01-01", "--limit", "16"];
    assert_eq!(sorted(&world.command(&since, "")), sorted(&text));
}

#[tokio::test]
async fn events_are_told_as_they_come_until_nobody_listens() {
    let world = TestMesh::start().await;
    let tail = Running::start(&world, &["events", "tail"]);
    let (tail, line) = tail.first_line(&world).await;
    assert!(line.contains("PATIENT_CREATED"), "{line}");
    // Nothing more is published: it notices all the same.
    let Running { mut child, lines } = tail;
    drop(lines);
    assert!(child.wait().unwrap().success());

    let tail = Running::start(&world, &["events", "tail", "--output", "json"]);
    let (tail, line) = tail.first_line(&world).await;
    assert_eq!(objects(&line)[0]["type"], "PATIENT_CREATED");
    let pid = tail.child.id().to_string();
    let told = std::process::Command::new("sh").args(["-c", &format!("kill -INT {pid}")]).status();
    assert!(told.unwrap().success());
    tail.ends_well();
}

#[tokio::test]
async fn what_no_group_can_handle_is_shown_and_kept_until_it_is_dropped() {
    let world = TestMesh::start().await;
    world.drain().await;
    assert!(dead_letters(&world).is_empty());
    publish_poison(&world).await;
    until("both groups gave it up", || async { dead_letters(&world).len() == 2 }).await;
    let letters = dead_letters(&world);
    let groups: Vec<_> = letters.iter().map(|letter| letter["group"].as_str().unwrap()).collect();
    assert_eq!(groups, ["analytics-service", "notification-service"]);
    let id = letters[0]["id"].as_str().unwrap();
    assert_eq!(letters[0]["eventId"], "not-ours-1");
    assert_eq!(letters[0]["error"], "the event is not a PatientEvent");

    let shown = world.command(&["events", "dead-letters", "show", id], "");
    assert!(shown.contains("not-ours-1") && shown.contains("undecodable"), "{shown}");
    assert!(!shown.contains("Jane"), "{shown}");
    let offset = letters[0]["offset"].as_i64().unwrap();
    let tail = world.command(&["events", "tail", "--from-beginning", "--limit", "16"], "");
    assert!(tail.contains("undecodable") && tail.contains(&format!("/{offset}")), "{tail}");

    let retried = run(&world, &["events", "dead-letters", "retry", "--all"]);
    assert_eq!(retried.status.code(), Some(1));
    let told = String::from_utf8(retried.stdout).unwrap();
    assert!(told.contains(&format!("{id} failed again and is kept: the event is not a Pat")));
    assert_eq!(dead_letters(&world), letters);
    until("the metric tells of it", || async {
        world.metrics().await.contains("dead_letters{group=\"analytics-service\"} 1")
    })
    .await;

    world.command(&["events", "dead-letters", "drop", "--all", "--group", groups[1]], "");
    assert_eq!(dead_letters(&world), letters[..1]);
    world.command(&["events", "dead-letters", "drop", id], "");
    assert!(dead_letters(&world).is_empty());
    until("the metric tells of it", || async {
        world.metrics().await.contains("dead_letters{group=\"analytics-service\"} 0")
    })
    .await;
    // It blocked nobody.
    let admin = world.sign_in(ADMIN).await;
    let id = admin.register(&a_patient()).await;
    until("both have handled the next one", || async {
        admin.summary().await["patients"] == 16 && admin.messages_of(&id).await.len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_replay_beside_a_running_mesh_loses_nothing_and_counts_nothing_twice() {
    let world = TestMesh::start().await;
    let admin = world.sign_in(ADMIN).await;
    let registered = Arc::new(AtomicU32::new(0));
    let registering = Meanwhile::repeat({
        let (admin, registered) = (admin.clone(), Arc::clone(&registered));
        move || {
            let (admin, registered) = (admin.clone(), Arc::clone(&registered));
            async move {
                admin.register(&a_patient()).await;
                registered.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let replay = ["events", "replay", "--group", "analytics-service", "--from", "beginning"];
    for (from, to) in [(1, 2), (2, 3)] {
        registering.goes_on(10).await;
        let mut command = world.command_line(&replay);
        let replayed = tokio::task::spawn_blocking(move || command.output().unwrap()).await;
        let replayed = replayed.unwrap();
        assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
        let told = String::from_utf8(replayed.stdout).unwrap();
        assert!(told.contains(&format!("projection {to} took the place of {from}")), "{told}");
        assert!(told.contains("events/s"), "{told}");
    }
    registering.goes_on(10).await;
    registering.ends_well().await;
    let patients = 15 + registered.load(Ordering::SeqCst);
    until("all of them are counted", || async {
        admin.summary().await["patients"].as_u64() >= Some(patients.into())
    })
    .await;
    world.drain().await;
    let summary = admin.summary().await;
    assert_eq!((&summary["patients"], &summary["created"]), (&patients.into(), &patients.into()));

    let now = Clock::system().now().to_string();
    let since = ["events", "replay", "--group", "analytics-service", "--from", &now];
    let told = world.command(&since, "");
    assert!(told.contains("only events that were published since"), "{told}");
    assert_eq!(admin.summary().await["patients"], 0);
    world.command(&replay, "");
    assert_eq!(admin.summary().await["patients"], patients);

    let refused = run(
        &world,
        &["events", "replay", "--group", "notification-service", "--from", "beginning"],
    );
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("is not sent twice") && told.lines().count() == 1, "{told}");
}
