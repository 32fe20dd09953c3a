//! What the tests of this crate share: patients, a billing that follows a script, a time that
//! goes on when it is asked to.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp, civil::date};
use kit::{
    db::{Db, DbError},
    log::EmbeddedLog,
    outbox::Outbox,
    testing::{TestEngine, TestStore},
};
use prost::Message as _;
use proto::patient_events::PatientEvent;
use shared_middleware::{
    clock::{Clock, Ids},
    identity::Part,
    trace_context::TRACEPARENT,
};
use tonic::Code;
use uuid::Uuid;

use crate::{
    app::App,
    billing::{BillingError, OpenAccount},
    domain::{Billing, Details, Input, Patient},
    in_progress::InProgress,
    store::{Store, migrations},
};

/// When the tests begin.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_772_355_600, 0);

/// What a client says of a person with this name.
pub(crate) fn input(name: &str, email: &str) -> Input {
    let text = |text: &str| Some(text.to_owned());
    Input {
        name: text(name),
        email: text(email),
        address: text("1 Demo Street"),
        date_of_birth: text("1990-02-28"),
        registered_date: None,
        refused: Vec::new(),
    }
}

/// The same, understood.
pub(crate) fn details(name: &str, email: &str) -> Details {
    input(name, email).register(date(2026, 3, 1)).unwrap().0
}

/// A patient with this id, whose email is of that id.
pub(crate) fn patient(id: u128) -> Patient {
    Patient {
        id: Uuid::from_u128(id),
        details: details("Jane Roe", &format!("p{id}@example.com")),
        registered_date: date(2026, 3, 1),
        version: 1,
        created_at: NOW,
        updated_at: NOW,
        billing: Billing::Pending,
    }
}

/// A time that goes on when it is asked to.
#[derive(Clone)]
pub(crate) struct Time(Arc<Mutex<Timestamp>>);

/// A billing that follows a script, and counts its calls.
#[derive(Default)]
pub(crate) struct FakeBilling {
    pub(crate) down: AtomicBool,
    /// Patients it will never have, by how their email begins.
    pub(crate) refuses: Mutex<Option<&'static str>>,
    pub(crate) asked: AtomicUsize,
    pub(crate) opened: AtomicUsize,
}

/// The verbs over a store, with a billing and a time of the test's.
pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) billing: Arc<FakeBilling>,
    pub(crate) time: Time,
    pub(crate) db: Db,
    _store: TestStore,
}

// === impl Time ===

impl Time {
    pub(crate) fn clock(&self) -> Clock {
        let time = self.clone();
        Clock::from_fn(move || *time.0.lock().unwrap())
    }

    pub(crate) fn pass(&self, duration: SignedDuration) {
        *self.0.lock().unwrap() += duration;
    }
}

// === impl FakeBilling ===

#[async_trait]
impl OpenAccount for FakeBilling {
    async fn open(&self, patient: &Patient) -> Result<Uuid, BillingError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(BillingError::Status(Code::Unavailable));
        }
        let refuses = *self.refuses.lock().unwrap();
        if refuses.is_some_and(|begins| patient.details.email.as_str().starts_with(begins)) {
            return Err(BillingError::Status(Code::InvalidArgument));
        }
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(account_of(patient.id))
    }
}

/// The account that [`FakeBilling`] opens for a patient.
pub(crate) const fn account_of(patient: Uuid) -> Uuid {
    Uuid::from_u128(!patient.as_u128())
}

// === impl World ===

impl World {
    pub(crate) async fn on(engine: TestEngine) -> Self {
        let billing = Arc::<FakeBilling>::default();
        let asked: Arc<dyn OpenAccount> = Arc::clone(&billing) as _;
        Self::with(engine, asked, billing).await
    }

    /// With another billing than the fake one, which then is not asked.
    pub(crate) async fn with(
        engine: TestEngine,
        asked: Arc<dyn OpenAccount>,
        billing: Arc<FakeBilling>,
    ) -> Self {
        let store = TestStore::on(engine).await;
        let db = store.open(migrations()).await;
        let log = Arc::new(
            EmbeddedLog::open(&store.folder().join("events.db"), Clock::system()).await.unwrap(),
        );
        let time = Time(Arc::new(Mutex::new(NOW)));
        let app = App {
            demo: true,
            store: Store::new(db.clone()),
            outbox: Outbox::new(Part::Patient, db.clone(), log, time.clock()),
            billing: asked,
            reconcile: Arc::default(),
            in_progress: InProgress::default(),
            clock: time.clock(),
            ids: Ids::system(),
        };
        Self { app: Arc::new(app), billing, time, db, _store: store }
    }

    /// The verbs of another process on the same store.
    pub(crate) fn elsewhere(&self, billing: Arc<dyn OpenAccount>) -> Arc<App> {
        Arc::new(App {
            demo: self.app.demo,
            store: Store::new(self.db.clone()),
            outbox: self.app.outbox.clone(),
            billing,
            reconcile: Arc::default(),
            in_progress: InProgress::default(),
            clock: self.time.clock(),
            ids: Ids::system(),
        })
    }
}

/// The events in the outbox, oldest first.
pub(crate) async fn events(db: &Db) -> Vec<PatientEvent> {
    let read = db.read(|tx| {
        Box::pin(async { tx.query("select payload from outbox order by id", &[]).await })
    });
    let rows = read.await.map_err(|error: DbError| error).unwrap();
    let event = |payload: Vec<u8>| PatientEvent::decode(payload.as_slice()).unwrap();
    rows.iter().map(|row| event(row.get(0).unwrap())).collect()
}

/// The traces of the events in the outbox, oldest first.
pub(crate) async fn traces(db: &Db) -> Vec<Option<String>> {
    let read = db.read(|tx| {
        Box::pin(async { tx.query("select headers from outbox order by id", &[]).await })
    });
    let rows = read.await.map_err(|error: DbError| error).unwrap();
    let trace = |headers: String| {
        let headers: Vec<(String, String)> = serde_json::from_str(&headers).unwrap();
        headers.into_iter().find(|(name, _)| name == TRACEPARENT).map(|(_, trace)| trace)
    };
    rows.iter().map(|row| trace(row.get(0).unwrap())).collect()
}

/// How many rows a query counts.
pub(crate) async fn count(db: &Db, sql: &'static str) -> i64 {
    let read = db.read(move |tx| Box::pin(async { tx.query_one(sql, &[]).await?.get(0) }));
    read.await.map_err(|error: DbError| error).unwrap()
}
