//! The facts that we publish.

use jiff::Timestamp;
use kit::outbox::Event;
use prost::Message as _;
use proto::patient_events::PatientEvent;
use shared_middleware::trace_context::TraceContext;
use uuid::Uuid;

use crate::domain::Patient;

pub use proto::patient_events::TOPIC;
pub(crate) use proto::patient_events::{PATIENT_CREATED, PATIENT_DELETED, PATIENT_UPDATED};

/// What happened to a patient. It says no more of the person than its readers need: notification
/// writes to the patient, analytics counts age bands.
///
/// The trace is its cause's; where the event is made, on the writer's thread, nobody knows it.
pub(crate) fn event(
    kind: &'static str,
    id: Uuid,
    patient: &Patient,
    version: i64,
    at: Timestamp,
    trace: Option<TraceContext>,
) -> Event {
    let message = PatientEvent {
        patient_id: patient.id.to_string(),
        name: patient.details.name.as_str().to_owned(),
        email: patient.details.email.as_str().to_owned(),
        event_type: kind.to_owned(),
        event_id: id.to_string(),
        version,
        occurred_at: at.to_string(),
        birth_year: patient.details.date_of_birth.year().into(),
    };
    Event {
        topic: TOPIC,
        key: patient.id.to_string(),
        id,
        kind,
        payload: message.encode_to_vec(),
        at,
        trace,
    }
}
