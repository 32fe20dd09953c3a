//! The verbs: register, update, remove, find.

use std::{future::Future, panic::resume_unwind, sync::Arc};

use jiff::civil::Date;
use kit::{db::DbError, outbox::Outbox};
use proto::demo;
use ring::digest::{SHA256, digest};
use shared_middleware::{
    audit,
    clock::{Clock, Ids},
    error::causes,
    trace_context,
};
use tokio::sync::Notify;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    billing::OpenAccount,
    domain::{Billing, Condition, Details, Input, Patient},
    error::Error,
    events::{PATIENT_CREATED, PATIENT_DELETED, PATIENT_UPDATED},
    in_progress::InProgress,
    store::{Change, IdempotencyKey, IdempotencyOutcome, List, Opened, Registration, Store},
};

/// The patient service's verbs.
pub struct App {
    pub(crate) store: Store,
    pub(crate) outbox: Outbox,
    pub(crate) billing: Arc<dyn OpenAccount>,
    /// Wakes the reconciler.
    pub(crate) reconcile: Arc<Notify>,
    pub(crate) in_progress: InProgress,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    /// Whether the demo's patients are served.
    pub(crate) demo: bool,
}

/// What a registration came to.
pub(crate) enum Registered {
    /// A new patient.
    New(Patient),
    /// The answer that the first request with this key got: JSON.
    Replayed { patient_id: Uuid, answer: String },
}

/// A key of a caller's choice that makes a registration safe to repeat.
pub(crate) struct RequestKey {
    pub(crate) caller: String,
    pub(crate) key: String,
}

/// How an answer is kept for anyone who repeats the request.
pub(crate) type Render = fn(&Patient) -> String;

// === impl App ===

impl App {
    /// Registers a patient: committed with its event, then billing is asked for an account.
    ///
    /// Billing's silence does not fail it: the account is pending then, and the reconciler goes on.
    pub(crate) async fn register(
        self: &Arc<Self>,
        input: Input,
        key: Option<RequestKey>,
        render: Render,
    ) -> Result<Registered, Error> {
        let (details, registered_date) = input.register(self.clock.today())?;
        let key = key.map(|key| IdempotencyKey {
            fingerprint: fingerprint(&details, registered_date),
            caller: key.caller,
            key: key.key,
        });
        let patient = self.new_patient(self.ids.next(), details, registered_date);
        let registration = Registration {
            event: self.event_of(&patient, PATIENT_CREATED, patient.version),
            answer: render(&patient),
            patient,
            key,
        };
        let app = Arc::clone(self);
        // A client that leaves would else take the key along: its request would seem in progress
        // long after it ended.
        run_detached(async move { app.register_whole(registration, render).await }).await
    }

    async fn register_whole(&self, new: Registration, render: Render) -> Result<Registered, Error> {
        let (patient, key) = (new.patient.clone(), new.key.clone());
        let working = key.as_ref().and_then(|key| self.in_progress.begin(key));
        let again = working.as_ref().map(|_| new.clone());
        let first = match (self.store.register(new).await, again) {
            // Another replica has just committed it: now it can be read.
            (Err(Error::InProgress), Some(new)) => self.store.register(new).await?,
            (other, _) => other?,
        };
        if let IdempotencyOutcome::Before { patient_id, answer, is_final } = first {
            return match key {
                Some(key) if !is_final => {
                    // Nobody here is at it: its process is gone, or its commit was not heard of.
                    let _working = working.ok_or(Error::InProgress)?;
                    self.finish(patient_id, key, answer, render).await
                }
                _ => Ok(Registered::Replayed { patient_id, answer }),
            };
        }
        self.outbox.wake();
        Ok(Registered::New(self.open_account(patient, key.map(|key| (key, render))).await))
    }

    /// Finishes what somebody else has begun: as it would, were it still there.
    async fn finish(
        &self,
        patient_id: Uuid,
        key: IdempotencyKey,
        begun: String,
        render: Render,
    ) -> Result<Registered, Error> {
        self.outbox.wake();
        let patient = self.store.get(patient_id).await?.ok_or(Error::Removed)?;
        let patient = match patient.billing {
            Billing::Pending => self.open_account(patient, None).await,
            Billing::Active(_) => patient,
        };
        // What was changed since is no part of the first answer.
        let answer = if patient.version == 1 { render(&patient) } else { begun };
        let answer = self.store.finish(key, answer).await?.ok_or(Error::Removed)?;
        Ok(Registered::Replayed { patient_id, answer })
    }

    /// Registers a patient under an id that is given: demo data.
    pub(crate) async fn register_as(&self, id: Uuid, input: Input) -> Result<(), Error> {
        let (details, registered_date) = input.register(self.clock.today())?;
        let patient = self.new_patient(id, details, registered_date);
        let registration = Registration {
            event: self.event_of(&patient, PATIENT_CREATED, patient.version),
            answer: String::new(),
            patient: patient.clone(),
            key: None,
        };
        self.store.register(registration).await?;
        self.outbox.wake();
        self.open_account(patient, None).await;
        Ok(())
    }

    /// Changes a patient, if it has a version that is meant.
    pub(crate) async fn update(
        &self,
        id: Uuid,
        input: Input,
        condition: Condition,
    ) -> Result<Patient, Error> {
        let details = input.update(self.clock.today())?;
        self.expect_shown(id)?;
        let change = self.change(id, condition);
        let changed = self.store.update(change, details, PATIENT_UPDATED).await?;
        self.outbox.wake();
        Ok(changed)
    }

    /// Removes a patient, if it has a version that is meant.
    pub(crate) async fn remove(&self, id: Uuid, condition: Condition) -> Result<(), Error> {
        self.expect_shown(id)?;
        let change = self.change(id, condition);
        self.store.remove(change, PATIENT_DELETED).await?;
        self.outbox.wake();
        Ok(())
    }

    pub(crate) async fn get(&self, id: Uuid) -> Result<Patient, Error> {
        self.expect_shown(id)?;
        self.store.get(id).await?.ok_or(Error::NotFound)
    }

    /// Where the demo's patients are not shown, this many more are read, and they left out: there
    /// are no more of them than that.
    pub(crate) async fn list(&self, mut list: List) -> Result<Vec<Patient>, Error> {
        if self.demo {
            return Ok(self.store.list(list).await?);
        }
        let count = list.count as usize;
        list.count += demo::COUNT;
        let mut found = self.store.list(list).await?;
        found.retain(|patient| !demo::is_patient(patient.id.as_u128()));
        found.truncate(count);
        Ok(found)
    }

    fn expect_shown(&self, id: Uuid) -> Result<(), Error> {
        if self.demo || !demo::is_patient(id.as_u128()) { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Asks billing for the patient's account, and keeps what it says: with the final answer, if
    /// one is to be kept.
    pub(crate) async fn open_account(
        &self,
        patient: Patient,
        answer: Option<(IdempotencyKey, Render)>,
    ) -> Patient {
        let account = match self.billing.open(&patient).await {
            Ok(account) => account,
            Err(error) => {
                tracing::warn!(patient.id = %patient.id, error = causes(&error), "account pending");
                return self.pending(patient, answer).await;
            }
        };
        let opened = Patient { billing: Billing::Active(account), ..patient.clone() };
        let kept = Opened {
            patient_id: patient.id,
            account,
            answer: answer.clone().map(|(key, render)| (key, render(&opened))),
        };
        match self.store.opened(kept).await {
            Ok(()) => opened,
            Err(error) => {
                // Billing has the account; the reconciler asks again and finds it.
                let error = causes(&error);
                tracing::warn!(patient.id = %patient.id, error, "cannot store the account id");
                self.pending(patient, answer).await
            }
        }
    }

    /// Leaves it to the reconciler.
    async fn pending(&self, patient: Patient, answer: Option<(IdempotencyKey, Render)>) -> Patient {
        self.reconcile.notify_one();
        if let Some((key, render)) = answer
            && let Err(error) = self.store.finish(key, render(&patient)).await
        {
            // The patient is registered; anyone who repeats the request finishes it.
            tracing::warn!(error = causes(&error), "cannot store the idempotent response");
        }
        patient
    }

    fn new_patient(&self, id: Uuid, details: Details, registered_date: Date) -> Patient {
        let now = self.clock.now();
        Patient {
            id,
            details,
            registered_date,
            version: 1,
            created_at: now,
            updated_at: now,
            billing: Billing::Pending,
        }
    }

    fn event_of(&self, patient: &Patient, kind: &'static str, version: i64) -> kit::outbox::Event {
        let (id, at) = (self.ids.next(), patient.updated_at);
        crate::events::event(kind, id, patient, version, at, trace_context::current())
    }

    fn change(&self, id: Uuid, condition: Condition) -> Change {
        let (now, event_id) = (self.clock.now(), self.ids.next());
        Change { id, condition, now, event_id, trace: trace_context::current() }
    }
}

/// Does the work, as part of the same trace, even when anyone who asked for it goes away.
async fn run_detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let work = audit::scope(audit::current(), work.in_current_span());
    let task = match trace_context::current() {
        Some(trace) => tokio::spawn(trace.scope(work)),
        None => tokio::spawn(work),
    };
    match task.await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => done,
        // On to where panics are caught and counted.
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(stopped)) => Err(Error::Store(DbError::Unavailable(Box::new(stopped)))),
    }
}

/// A fingerprint by which a repeated request is recognised.
fn fingerprint(details: &Details, registered_date: Date) -> Vec<u8> {
    let Details { name, email, address, date_of_birth } = details;
    let days = [date_of_birth.to_string(), registered_date.to_string()];
    let texts = [name.as_str(), email.as_str(), address.as_str(), &days[0], &days[1]];
    // No text has a line feed, so the lines are the fields.
    digest(&SHA256, texts.join("\n").as_bytes()).as_ref().to_vec()
}
