//! The service as a whole: events go in by the topic or by the handler, messages come out.

mod delivery;
mod limits;
mod listing;
mod smtp;
mod smtp_server;

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use http::StatusCode;
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use kit::{
    consumer::{Handler as _, HandlerError},
    db::{DbError, Engine},
    dead_letter::DeadLetters,
    log::{ConsumedRecord, EVENT_ID, EmbeddedLog, EventLog, Record},
    page::Cursors,
    testing::{FromTheStart, TestEngine, TestStore},
};
use prost::Message as _;
use proto::patient_events::PatientEvent;
use secrecy::SecretString;
use serde_json::Value;
use shared_middleware::clock::{Clock, Ids};
use tokio::sync::Notify;
use tower::ServiceExt as _;
use uuid::Uuid;

use self::smtp_server::SmtpServer;
use crate::{
    Config, GROUP, api,
    consumer::Notifications,
    limits::{Limits, MessageLimits},
    parse_from,
    sender::Sender,
    store::{Claim, Store},
};

/// How long tests claim what a process then does not deliver.
const CLAIMED_FOR_S: i64 = 60;
const DEAD_LETTERS: &str = "patient.dlq";

/// An event as the patient service publishes it.
pub(crate) fn event(id: u128, patient: u128, kind: &str) -> PatientEvent {
    PatientEvent {
        patient_id: Uuid::from_u128(patient).to_string(),
        name: "Grace Hopper".to_owned(),
        email: "grace@example.com".to_owned(),
        event_type: kind.to_owned(),
        event_id: Uuid::from_u128(id).to_string(),
        version: 1,
        occurred_at: "2026-03-02T08:00:00Z".to_owned(),
        birth_year: 1906,
    }
}

/// The same as a record of the topic.
pub(crate) fn record(event: &PatientEvent) -> Record {
    Record {
        key: event.patient_id.clone(),
        headers: vec![
            (EVENT_ID.to_owned(), event.event_id.clone()),
            ("event-type".to_owned(), event.event_type.clone()),
        ],
        payload: event.encode_to_vec(),
    }
}

const fn each_its_own() -> MessageLimits {
    MessageLimits { update_interval: Duration::ZERO, address: None }
}

/// A time that goes on when it is asked to.
#[derive(Clone)]
struct Time(Arc<Mutex<Timestamp>>);

struct World {
    store: Store,
    log: EmbeddedLog,
    time: Time,
    handler: Arc<Notifications>,
    sender: Sender,
    config: Config,
    _kept: TestStore,
}

// === impl Time ===

impl Time {
    fn clock(&self) -> Clock {
        let time = self.clone();
        Clock::from_fn(move || *time.0.lock().unwrap())
    }

    fn pass_s(&self, seconds: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_secs(seconds);
    }
}

// === impl World ===

impl World {
    /// Each event has a message of its own.
    async fn with_files(engine: TestEngine) -> Self {
        Self::start(engine, None, each_its_own()).await
    }

    async fn with_limits(engine: TestEngine, limits: MessageLimits) -> Self {
        Self::start(engine, None, limits).await
    }

    async fn with_smtp(engine: TestEngine, server: &SmtpServer) -> Self {
        Self::start(engine, Some(SecretString::from(server.url.clone())), each_its_own()).await
    }

    async fn start(engine: TestEngine, smtp: Option<SecretString>, limits: MessageLimits) -> Self {
        let kept = TestStore::on(engine).await;
        let folder = kept.folder();
        let config = Config::new(kept.config().clone(), folder.join("outbox"));
        let config = Config { smtp, limits, ..config };
        let log = EmbeddedLog::open(&folder.join("events.db"), Clock::system()).await.unwrap();
        let time = Time(Arc::new(Mutex::new("2026-03-02T09:00:00Z".parse().unwrap())));
        let store = Store::open(&config.database).await.unwrap();
        let channel = config.channel().await.unwrap();
        let wake = Arc::new(Notify::new());
        let handler = Arc::new(Notifications {
            demo: true,
            clock: time.clock(),
            ids: Ids::system(),
            medium: channel.medium(),
            wake: Arc::clone(&wake),
        });
        let sender = Sender {
            store: store.clone(),
            channel,
            from: parse_from(&config.from).unwrap(),
            log: Arc::new(log.clone()),
            clock: time.clock(),
            wake,
            update_interval: config.limits.update_interval,
            limits: Limits::new(&config.limits),
        };
        Self { store, log, time, handler, sender, config, _kept: kept }
    }

    /// The same after a crash: all that is left is on disk. On PostgreSQL the claims are left, too,
    /// for another process may hold them, and some time after the crash they have run out.
    async fn after_a_crash(mut self) -> Self {
        self.store = Store::open(&self.config.database).await.unwrap();
        if self.store.db().engine() == Engine::Postgres {
            self.time.pass_s(CLAIMED_FOR_S);
        }
        self.store.release(self.time.clock().now()).await.unwrap();
        self.sender.store = self.store.clone();
        self.sender.channel = self.config.channel().await.unwrap();
        self
    }

    async fn handle(&self, event: &PatientEvent) -> Result<(), HandlerError> {
        let id = Uuid::parse_str(&event.event_id).unwrap().as_u128();
        self.apply(self.delivered(id, record(event))).await
    }

    /// Each at an offset of its own, made of its event's id.
    fn delivered(&self, event_id: u128, record: Record) -> ConsumedRecord {
        let offset = 100 + i64::try_from(event_id).unwrap();
        ConsumedRecord { partition: 3, position: offset, offset, published_at: None, record }
    }

    async fn apply(&self, delivered: ConsumedRecord) -> Result<(), HandlerError> {
        let handler = Arc::clone(&self.handler);
        self.store
            .db()
            .write(move |tx| Box::pin(async move { handler.apply(tx, &delivered).await }))
            .await
    }

    fn dead_letters(&self) -> DeadLetters {
        let (log, handler) = (Arc::new(self.log.clone()), Arc::clone(&self.handler));
        DeadLetters::new(GROUP, self.store.db(), log, handler)
    }

    /// Delivers until nothing is due, or nothing gets through.
    async fn deliver(&self) {
        while self.sender.deliver_some().await.unwrap() {}
    }

    fn file(&self, event_id: u128) -> PathBuf {
        self.config.outbox_dir.join(format!("{}.eml", Uuid::from_u128(event_id)))
    }

    fn files(&self) -> usize {
        fs::read_dir(&self.config.outbox_dir).unwrap().count()
    }

    async fn routes(&self) -> Router {
        api::routes(self.store.clone(), Cursors::open(&self.store.db()).await.unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.routes().await.oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// The states of all notifications, newest first.
    async fn statuses(&self) -> Vec<String> {
        let (status, body) = self.get("/notifications?size=200").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let listed = body["notifications"].as_array().unwrap();
        listed.iter().map(|it| it["status"].as_str().unwrap().to_owned()).collect()
    }

    /// What somebody else has taken for so long, and does not deliver.
    async fn claimed_elsewhere(&self) -> usize {
        let now = self.time.clock().now();
        let until = now + SignedDuration::from_secs(CLAIMED_FOR_S);
        let claim = Claim { now, until, count_max: 10, interval: SignedDuration::ZERO };
        self.store.claim(claim).await.unwrap().len()
    }

    /// How many notifications still hold personal data.
    async fn told_of(&self) -> i64 {
        let db = self.store.db();
        let sql = "select count(*) from notification
                   where event is not null or headers is not null";
        let row = db.read(move |tx| Box::pin(async move { tx.query_one(sql, &[]).await }));
        row.await.map_err(|error: DbError| error).unwrap().get(0).unwrap()
    }

    /// Waits for the first dead letter.
    async fn dead_letter(&self) -> Record {
        first_letter(&self.log).await
    }
}

async fn first_letter(log: &EmbeddedLog) -> Record {
    let from = Arc::new(FromTheStart);
    let mut letters = log.subscribe("test", DEAD_LETTERS, from).await.unwrap();
    loop {
        if let Some(letter) = letters.next(10).await.unwrap().records.pop() {
            return letter.record;
        }
    }
}
