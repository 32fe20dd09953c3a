//! What must be true once all is mended: all that was acknowledged is there, and has had its
//! effects once.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use crate::{
    client::Client,
    journal::{Expected, Journal, Known},
    stack::Stack,
};

/// What has not come true by then, does not.
const TRUE_WITHIN: Duration = Duration::from_secs(90);
const LOOKS_EVERY: Duration = Duration::from_millis(50);

/// Panics with what is not as it must be.
pub(crate) async fn judge(stack: &Stack, journal: &Journal) {
    let client = stack.client();
    let (expected, touched) = (journal.expected(), journal.take_touched());
    published(stack, journal, expected).await;
    counted(&client, expected).await;
    for (id, known) in &touched {
        patient(&client, id, known).await;
    }
    let wanted = journal.poison() * 2;
    let letters = stack.dead_letters().await;
    assert_eq!(letters, wanted, "dead letters: two groups for each poison");
}

/// Every committed change is one event, in its patient's order, and nothing else is.
async fn published(stack: &Stack, journal: &Journal, expected: Expected) {
    let until = Instant::now() + TRUE_WITHIN;
    let topic = loop {
        let topic = stack.topic().await;
        let count = |name: &str| topic.types.get(name).copied().unwrap_or(0);
        let found = Expected {
            created: count("PATIENT_CREATED"),
            updated: count("PATIENT_UPDATED"),
            deleted: count("PATIENT_DELETED"),
        };
        if found == expected {
            break topic;
        }
        let late = Instant::now() > until || found.events() > expected.events();
        assert!(!late, "events: {found:?} instead of {expected:?}");
        sleep(LOOKS_EVERY).await;
    };
    let wanted = journal.versions();
    for (patient, versions) in &topic.versions {
        let last = wanted.get(patient).copied().unwrap_or(1);
        let all: Vec<i64> = (1..=last).collect();
        assert_eq!(versions, &all, "the versions of {patient}, in the order of the log");
    }
}

/// Analytics has counted each event once.
async fn counted(client: &Client, expected: Expected) {
    let until = Instant::now() + TRUE_WITHIN;
    loop {
        let summary = client.get("/api/analytics/summary").await;
        let count = |name: &str| summary[name].as_u64().unwrap();
        let found = Expected {
            created: count("created"),
            updated: count("updated"),
            deleted: count("deleted"),
        };
        if found == expected {
            assert_eq!(count("patients"), expected.created - expected.deleted);
            return;
        }
        let late = Instant::now() > until || found.events() > expected.events();
        assert!(!late, "analytics counted {found:?} instead of {expected:?}");
        sleep(LOOKS_EVERY).await;
    }
}

/// A patient is as it was acknowledged, has one account, and was told of each event once.
async fn patient(client: &Client, id: &str, known: &Known) {
    let there = client.find(&format!("/api/patients/{id}")).await;
    if known.removed {
        assert_eq!(there, None, "{id} was removed");
    } else {
        let there = there.unwrap_or_else(|| panic!("{id} was acknowledged, and is not there"));
        assert_eq!(there["version"], known.version, "{id}");
        for field in ["name", "email", "address", "dateOfBirth"] {
            assert_eq!(there[field], known.fields[field], "{field} of {id}");
        }
        eventually(&format!("{id} has an account"), async || {
            client.get(&format!("/api/patients/{id}")).await["billing"]["status"] == "ACTIVE"
        })
        .await;
    }
    let path = format!("/api/billing/accounts?patientId={id}");
    let accounts = client.get(&path).await["accounts"].as_array().unwrap().len();
    // One that was removed before billing was asked has none.
    assert!(accounts == 1 || (known.removed && accounts == 0), "{accounts} accounts of {id}");
    let path = format!("/api/notifications?patientId={id}");
    let wanted = usize::try_from(known.version).unwrap();
    eventually(&format!("{id} was told of {wanted} events"), async || {
        let messages: Value = client.get(&path).await;
        let messages = messages["notifications"].as_array().unwrap();
        assert!(messages.len() <= wanted, "{} messages to {id}", messages.len());
        messages.len() == wanted && messages.iter().all(|message| message["status"] == "SENT")
    })
    .await;
}

async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let until = Instant::now() + TRUE_WITHIN;
    while !is_so().await {
        assert!(Instant::now() < until, "it never came to be: {what}");
        sleep(LOOKS_EVERY).await;
    }
}
