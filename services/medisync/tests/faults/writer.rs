//! Who writes. A write that was not answered is asked after until it is known what became of it: as
//! a careful client would, with the same idempotency key, or by looking.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    caller::Answer,
    client::Client,
    journal::{Journal, Known},
    stack::Stack,
};

const WRITERS: usize = 6;
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// What is not answered by then never will be.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Writers that write.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    writing: Vec<JoinHandle<()>>,
}

/// One of them, or somebody who writes one thing.
pub(crate) struct Writer {
    client: Client,
    journal: Arc<Journal>,
    random: fastrand::Rng,
    /// Its own patients, which nobody else touches.
    own: Vec<(String, Known)>,
}

// === impl Writers ===

impl Writers {
    /// Writers that rest so long after each write.
    pub(crate) fn start(
        stack: &Stack,
        journal: &Arc<Journal>,
        random: &mut fastrand::Rng,
        rest: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writing = (0..WRITERS).map(|_| {
            let mut writer = Writer::new(stack.client(), Arc::clone(journal), random.fork());
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    writer.write().await;
                    sleep(rest).await;
                }
            })
        });
        Self { writing: writing.collect(), stop }
    }

    /// Each finishes what it is at.
    pub(crate) async fn finish(self) {
        self.stop.store(true, Ordering::SeqCst);
        for writer in self.writing {
            writer.await.expect("a writer was answered something that must not be");
        }
    }
}

// === impl Writer ===

impl Writer {
    pub(crate) fn new(client: Client, journal: Arc<Journal>, random: fastrand::Rng) -> Self {
        Self { client, journal, random, own: Vec::new() }
    }

    async fn write(&mut self) {
        match (self.random.u8(0..10), self.own.is_empty()) {
            (0..=1, false) => self.change().await,
            (2, false) => self.remove().await,
            _ => self.register().await,
        }
    }

    /// What came back, unless it was no answer at all or one that says to come again.
    async fn answered(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Option<Answer> {
        let answer = self.client.send(method, path, headers, body).await;
        match answer {
            Ok(answer) if answer.status == StatusCode::UNAUTHORIZED => {
                self.client.sign_in().await;
                None
            }
            Ok(answer) if answer.status.is_server_error() => {
                self.journal.refuse();
                sleep(AGAIN_AFTER).await;
                None
            }
            Ok(answer) => Some(answer),
            Err(_) => {
                self.journal.refuse();
                sleep(AGAIN_AFTER).await;
                None
            }
        }
    }

    pub(crate) async fn register(&mut self) {
        let n = NEXT.fetch_add(1, Ordering::SeqCst);
        let email = format!("person.{n}@example.com");
        let fields = json!({
            "name": format!("Test Person {n}"), "email": email,
            "address": "1 Test Street", "dateOfBirth": "1990-02-28",
        });
        let key = format!("key-{n}");
        let headers = [("idempotency-key", &*key)];
        let until = Instant::now() + ANSWERED_WITHIN;
        let id = loop {
            assert!(Instant::now() < until, "a registration was never answered");
            let answer =
                self.answered(Method::POST, "/api/patients", &headers, Some(&fields)).await;
            let Some(answer) = answer else { continue };
            match answer.status {
                StatusCode::CREATED => break answer.json()["id"].as_str().unwrap().to_owned(),
                // The first request was cut off, and seems to go on for a while.
                StatusCode::CONFLICT if answer.text.contains("in progress") => {
                    if let Some(id) = self.find(&email).await {
                        break id;
                    }
                }
                status => panic!("a registration was answered {status}: {}", answer.text),
            }
        };
        let known = Known { fields, version: 1, removed: false };
        self.journal.acknowledge(&id, known.clone());
        self.own.push((id, known));
    }

    async fn find(&mut self, email: &str) -> Option<String> {
        let query = json!({"query": email});
        let found = self.answered(Method::POST, "/api/patients/search", &[], Some(&query)).await?;
        // Another's may contain it.
        let found = found.expect(StatusCode::OK).list("patients");
        let found = found.iter().find(|patient| patient["email"] == email)?;
        Some(found["id"].as_str().unwrap().to_owned())
    }

    async fn change(&mut self) {
        let place = self.random.usize(..self.own.len());
        let (id, mut known) = self.own[place].clone();
        let path = format!("/api/patients/{id}");
        // Another each time: what changes nothing makes no version.
        let number = self.random.u32(2..1000);
        known.fields["address"] = json!(format!("{number} Test Street, {}", known.version));
        let version = format!("\"{}\"", known.version);
        let until = Instant::now() + ANSWERED_WITHIN;
        loop {
            assert!(Instant::now() < until, "a change was never answered");
            let headers = [("if-match", &*version)];
            let answer = self.answered(Method::PUT, &path, &headers, Some(&known.fields)).await;
            let Some(answer) = answer else { continue };
            match answer.status {
                StatusCode::OK => break,
                // It was made, and the answer was lost: nobody else changes this one.
                StatusCode::PRECONDITION_FAILED => {
                    let there = self.look(&id).await.expect("nobody removed it");
                    assert_eq!(there["version"], known.version + 1, "{id}");
                    assert_eq!(there["address"], known.fields["address"], "{id}");
                    break;
                }
                status => panic!("a change was answered {status}: {}", answer.text),
            }
        }
        known.version += 1;
        self.journal.acknowledge(&id, known.clone());
        self.own[place] = (id, known);
    }

    async fn remove(&mut self) {
        let place = self.random.usize(..self.own.len());
        let (id, known) = self.own.swap_remove(place);
        let path = format!("/api/patients/{id}");
        let until = Instant::now() + ANSWERED_WITHIN;
        let mut asked = 0;
        loop {
            assert!(Instant::now() < until, "a removal was never answered");
            asked += 1;
            let answer = self.answered(Method::DELETE, &path, &[], None).await;
            let Some(answer) = answer else { continue };
            match answer.status {
                StatusCode::NO_CONTENT => break,
                // It was done, and the answer was lost.
                StatusCode::NOT_FOUND if asked > 1 => break,
                status => panic!("a removal was answered {status}: {}", answer.text),
            }
        }
        let known = Known { version: known.version + 1, removed: true, ..known };
        self.journal.acknowledge(&id, known);
    }

    /// The patient as it is; nothing when it is not there.
    async fn look(&mut self, id: &str) -> Option<Value> {
        let path = format!("/api/patients/{id}");
        loop {
            let Some(answer) = self.answered(Method::GET, &path, &[], None).await else { continue };
            return (answer.status == StatusCode::OK).then(|| answer.json());
        }
    }
}

/// Writes once, which lasts until the write is taken.
pub(crate) async fn write_once(stack: &Stack, journal: &Arc<Journal>) {
    let random = fastrand::Rng::with_seed(0);
    Writer::new(stack.client(), Arc::clone(journal), random).register().await;
}
