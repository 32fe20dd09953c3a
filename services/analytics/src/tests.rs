//! The service as a whole: events go in by the topic or by the handler, the summary comes out.

use std::sync::Arc;

use axum::{Router, body::Body, extract::Request};
use http::StatusCode;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kit::{
    consumer::{Consumer, Handler as _, HandlerError, dead_letters_of},
    db::DbError,
    log::{
        ConsumedRecord, EmbeddedLog, EventLog as _, Record, SOURCE_GROUP, SOURCE_OFFSET,
        SOURCE_PARTITION, SOURCE_TOPIC,
    },
    testing::{FromTheStart, TestEngine, TestStore, engines},
};
use prost::Message as _;
use proto::patient_events::{
    PATIENT_CREATED, PATIENT_DELETED, PATIENT_UPDATED, PatientEvent, TOPIC,
};
use serde_json::{Value, json};
use shared_middleware::{clock::Clock, identity::Part};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::{
    api,
    consumer::{GROUP, Projection},
    store::Store,
};

/// An event as the patient service publishes it.
pub(crate) fn event(patient: u128, kind: &str, version: i64, birth_year: i32) -> PatientEvent {
    PatientEvent {
        patient_id: Uuid::from_u128(patient).to_string(),
        name: "Grace Hopper".to_owned(),
        email: "grace@example.com".to_owned(),
        event_type: kind.to_owned(),
        event_id: Uuid::from_u128(patient << 64 | u128::from(version.unsigned_abs())).to_string(),
        version,
        occurred_at: "2026-03-02T08:00:00Z".to_owned(),
        birth_year,
    }
}

/// The same as a record of the topic.
pub(crate) fn record(event: &PatientEvent) -> Record {
    Record {
        key: event.patient_id.clone(),
        headers: vec![
            ("event-id".to_owned(), event.event_id.clone()),
            ("event-type".to_owned(), event.event_type.clone()),
        ],
        payload: event.encode_to_vec(),
    }
}

struct World {
    store: Store,
    kept: TestStore,
}

async fn world(engine: TestEngine) -> World {
    let kept = TestStore::on(engine).await;
    World { store: Store::open(kept.config()).await.unwrap(), kept }
}

impl World {
    async fn handle(&self, event: &PatientEvent) -> Result<(), HandlerError> {
        let delivered = ConsumedRecord {
            partition: 0,
            position: 1,
            offset: 1,
            published_at: None,
            record: record(event),
        };
        self.store
            .db()
            .write(move |tx| {
                Box::pin(async move { Projection(Clock::system()).apply(tx, &delivered).await })
            })
            .await
    }

    fn routes(&self) -> Router {
        let now: Timestamp = "2026-12-31T23:59:59.5Z".parse().unwrap();
        api::routes(self.store.clone(), Clock::from_fn(move || now))
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.routes().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn summary(&self) -> Value {
        let (status, body) = self.get("/summary").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let patients = body["byAgeBand"].as_array().unwrap().iter();
        let sum: i64 = patients.map(|band| band["patients"].as_i64().unwrap()).sum();
        assert_eq!(body["patients"], sum);
        body
    }

    /// The stored state and year of birth of a patient.
    async fn kept(&self, patient: u128) -> (i64, String, Option<i64>) {
        let id = Uuid::from_u128(patient);
        let db = self.store.db();
        let row = db.read(move |tx| {
            Box::pin(async move {
                let sql = "select version, state, birth_year from patient where id = $1
                           order by projection desc";
                tx.query_one(sql, kit::params![id]).await
            })
        });
        let row = row.await.map_err(|error: DbError| error).unwrap();
        (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap())
    }
}

fn patients_in(summary: &Value, band: &str) -> i64 {
    let bands = summary["byAgeBand"].as_array().unwrap();
    let found = bands.iter().find(|entry| entry["band"] == band);
    found.map_or(0, |entry| entry["patients"].as_i64().unwrap())
}

#[tokio::test]
async fn nothing_is_counted_before_the_first_event() {
    for engine in engines() {
        let summary = world(engine).await.summary().await;
        assert_eq!(summary["patients"], 0);
        assert_eq!(summary["byDay"], json!([]));
        assert_eq!(summary["byAgeBand"].as_array().unwrap().len(), 10);
        assert_eq!(summary["asOf"], "2026-12-31T23:59:59.5Z");
    }
}

#[tokio::test]
async fn a_life_of_a_patient_is_counted() {
    for engine in engines() {
        let world = world(engine).await;
        world.handle(&event(1, PATIENT_CREATED, 1, 1985)).await.unwrap();
        world.handle(&event(1, PATIENT_UPDATED, 2, 1995)).await.unwrap();
        let summary = world.summary().await;
        assert_eq!((patients_in(&summary, "40-49"), patients_in(&summary, "30-39")), (0, 1));

        let deletion = PatientEvent {
            occurred_at: "2026-03-03T00:00:00Z".to_owned(),
            ..event(1, PATIENT_DELETED, 3, 1995)
        };
        world.handle(&deletion).await.unwrap();
        let summary = world.summary().await;
        assert_eq!(summary["patients"], 0);
        assert_eq!(
            (&summary["created"], &summary["updated"], &summary["deleted"]),
            (&json!(1), &json!(1), &json!(1))
        );
        let days = json!([
            {"date": "2026-03-02", "created": 1, "deleted": 0},
            {"date": "2026-03-03", "created": 0, "deleted": 1},
        ]);
        assert_eq!(summary["byDay"], days);
    }
}

#[tokio::test]
async fn an_event_that_comes_twice_or_late_changes_nothing() {
    for engine in engines() {
        let world = world(engine).await;
        world.handle(&event(1, PATIENT_CREATED, 1, 1985)).await.unwrap();
        world.handle(&event(1, PATIENT_UPDATED, 2, 1985)).await.unwrap();
        let before = world.summary().await;
        world.handle(&event(1, PATIENT_CREATED, 1, 1985)).await.unwrap();
        world.handle(&event(1, PATIENT_UPDATED, 2, 1955)).await.unwrap();
        world.handle(&event(1, PATIENT_DELETED, 2, 1985)).await.unwrap();
        assert_eq!(world.summary().await, before);
    }
}

/// As when partitions are added to the topic while the group is behind: what is new of a patient is
/// read beside what is old.
#[tokio::test]
async fn events_that_come_after_newer_ones_count_once() {
    for engine in engines() {
        let world = world(engine).await;
        let life = [
            event(1, PATIENT_CREATED, 1, 1985),
            event(1, PATIENT_UPDATED, 2, 1985),
            event(1, PATIENT_UPDATED, 3, 1995),
            event(1, PATIENT_DELETED, 4, 1995),
        ];
        for place in [2, 0, 2, 1, 0] {
            world.handle(&life[place]).await.unwrap();
        }
        let summary = world.summary().await;
        assert_eq!((&summary["created"], &summary["updated"]), (&json!(1), &json!(2)));
        assert_eq!((&summary["patients"], patients_in(&summary, "30-39")), (&json!(1), 1));
        let days = json!([{"date": "2026-03-02", "created": 1, "deleted": 0}]);
        assert_eq!(summary["byDay"], days);

        for place in [3, 1] {
            world.handle(&life[place]).await.unwrap();
        }
        assert_eq!(world.kept(1).await, (4, "DELETED".to_owned(), None));
        assert_eq!(world.summary().await["deleted"], 1);
    }
}

#[tokio::test]
async fn a_deletion_erases_the_year_of_birth_and_leaves_a_tombstone() {
    for engine in engines() {
        let world = world(engine).await;
        world.handle(&event(1, PATIENT_CREATED, 1, 1985)).await.unwrap();
        assert_eq!(world.kept(1).await, (1, "REGISTERED".to_owned(), Some(1985)));
        world.handle(&event(1, PATIENT_DELETED, 2, 1985)).await.unwrap();
        assert_eq!(world.kept(1).await, (2, "DELETED".to_owned(), None));
        // Late, and of a replay: neither brings the patient back.
        world.handle(&event(1, PATIENT_CREATED, 1, 1985)).await.unwrap();
        assert_eq!(world.kept(1).await, (2, "DELETED".to_owned(), None));
    }
}

#[tokio::test]
async fn events_whose_creation_was_not_seen_are_counted_all_the_same() {
    for engine in engines() {
        let world = world(engine).await;
        world.handle(&event(1, PATIENT_UPDATED, 5, 1985)).await.unwrap();
        world.handle(&event(2, PATIENT_DELETED, 9, 1985)).await.unwrap();
        let summary = world.summary().await;
        assert_eq!((&summary["patients"], &summary["created"]), (&json!(1), &json!(0)));
        assert_eq!((&summary["updated"], &summary["deleted"]), (&json!(1), &json!(1)));
    }
}

#[tokio::test]
async fn a_patient_without_a_year_of_birth_is_in_the_band_unknown() {
    for engine in engines() {
        let world = world(engine).await;
        world.handle(&event(1, PATIENT_CREATED, 1, 0)).await.unwrap();
        assert_eq!(patients_in(&world.summary().await, "unknown"), 1);
        world.handle(&event(1, PATIENT_UPDATED, 2, 1985)).await.unwrap();
        let summary = world.summary().await;
        assert_eq!(summary["byAgeBand"].as_array().unwrap().len(), 10);
        assert_eq!(patients_in(&summary, "40-49"), 1);
    }
}

#[tokio::test]
async fn only_the_latest_days_are_told_and_the_oldest_of_them_first() {
    for engine in engines() {
        let world = world(engine).await;
        let first: jiff::civil::Date = "2026-01-01".parse().unwrap();
        for day in 0..100_i32 {
            let date = first + jiff::Span::new().days(day);
            let created = PatientEvent {
                occurred_at: format!("{date}T12:00:00Z"),
                ..event(u128::from(day.unsigned_abs()) + 1, PATIENT_CREATED, 1, 1985)
            };
            world.handle(&created).await.unwrap();
        }
        let summary = world.summary().await;
        let days = summary["byDay"].as_array().unwrap();
        assert_eq!(days.len(), 90);
        assert_eq!(
            (&days[0]["date"], &days[89]["date"]),
            (&json!("2026-01-11"), &json!("2026-04-10"))
        );
        assert_eq!(summary["patients"], 100);
    }
}

#[tokio::test]
async fn a_query_parameter_is_refused() {
    for engine in engines() {
        let (status, body) = world(engine).await.get("/summary?days=5").await;
        assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!("invalid")));
    }
}

#[tokio::test]
async fn the_document_is_served() {
    for engine in engines() {
        let (status, body) = world(engine).await.get("/v3/api-docs").await;
        assert_eq!(status, StatusCode::OK);
        assert!(body["paths"]["/api/analytics/summary"].is_object());
    }
}

#[tokio::test]
async fn a_poison_event_is_a_dead_letter_and_the_next_one_counts() {
    for engine in engines() {
        let world = world(engine).await;
        let log = EmbeddedLog::open(&world.kept.folder().join("events.db"), Clock::system())
            .await
            .unwrap();
        let poison =
            Record { payload: b"\xff".to_vec(), ..record(&event(2, PATIENT_CREATED, 1, 0)) };
        let records = vec![
            record(&event(1, PATIENT_CREATED, 1, 1985)),
            // Published again by a relay that did not hear of its success, under another header.
            Record { headers: Vec::new(), ..record(&event(1, PATIENT_CREATED, 1, 1985)) },
            poison.clone(),
            record(&event(3, PATIENT_CREATED, 1, 1985)),
        ];
        log.publish(TOPIC, records).await.unwrap();

        let stop = CancellationToken::new();
        let db = world.store.db();
        let (log_of, handler) = (Arc::new(log.clone()), Arc::new(Projection(Clock::system())));
        let consumer =
            Consumer::new(Part::Analytics, GROUP, TOPIC, db, log_of, handler, Clock::system());
        tokio::spawn(consumer.task().run(stop.clone()));
        let dead_letters: &'static str = "patient.dlq";
        assert_eq!(dead_letters_of(TOPIC), dead_letters);
        let from = Arc::new(FromTheStart);
        let mut letters = log.subscribe("test", dead_letters, from).await.unwrap();
        let letter = loop {
            if let Some(letter) = letters.next(10).await.unwrap().records.pop() {
                break letter.record;
            }
        };
        assert_eq!((letter.key, letter.payload), (poison.key, poison.payload.clone()));
        let header = |name| letter.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(header("error"), Some("the event is not a PatientEvent"));
        assert_eq!(header(SOURCE_TOPIC), Some(TOPIC));
        assert_eq!((header(SOURCE_PARTITION), header(SOURCE_OFFSET)), (Some("0"), Some("3")));
        assert_eq!(header(SOURCE_GROUP), Some(GROUP));
        while world.summary().await["patients"] != 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.summary().await["created"], 2);
        stop.cancel();
    }
}
