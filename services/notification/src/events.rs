//! What the topic `patient` says, as this service needs it.

use kit::{consumer::HandlerError, log::Record};
use prost::Message as _;
use proto::patient_events::{PATIENT_CREATED, PATIENT_DELETED, PATIENT_UPDATED, PatientEvent};
use uuid::Uuid;

use crate::domain::Kind;

/// An event that a patient is notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Uuid,
    pub(crate) patient: Uuid,
    pub(crate) kind: Kind,
}

/// Whom a message is for.
pub(crate) struct Recipient {
    pub(crate) name: String,
    pub(crate) email: String,
}

/// Reads a record.
///
/// # Errors
/// `Poison`, with a text that names no person, when nobody can be notified of it, now or ever.
pub(crate) fn decode(record: &Record) -> Result<Event, HandlerError> {
    let event = PatientEvent::decode(record.payload.as_slice())
        .map_err(|_| HandlerError::Poison("the event is not a PatientEvent"))?;
    let kind = match event.event_type.as_str() {
        PATIENT_CREATED => Kind::Welcome,
        PATIENT_UPDATED => Kind::Update,
        PATIENT_DELETED => Kind::Farewell,
        _ => return Err(HandlerError::Poison("the event's event_type is unknown")),
    };
    let id = event
        .event_id
        .parse()
        .map_err(|_| HandlerError::Poison("the event's event_id is not a UUID"))?;
    let patient = event
        .patient_id
        .parse()
        .map_err(|_| HandlerError::Poison("the event's patientId is not a UUID"))?;
    Ok(Event { id, patient, kind })
}

/// Whom an event's value names; nobody when it cannot be read, which [`decode`] has refused before.
pub(crate) fn recipient(payload: &[u8]) -> Option<Recipient> {
    let PatientEvent { name, email, .. } = PatientEvent::decode(payload).ok()?;
    Some(Recipient { name, email })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::{event, record};

    #[test]
    fn each_type_of_event_has_its_kind_of_message() {
        let table = [
            (PATIENT_CREATED, Kind::Welcome),
            (PATIENT_UPDATED, Kind::Update),
            (PATIENT_DELETED, Kind::Farewell),
        ];
        for (kind, told) in table {
            let read = decode(&record(&event(3, 7, kind))).unwrap();
            let (id, patient) = (Uuid::from_u128(3), Uuid::from_u128(7));
            assert_eq!(read, Event { id, patient, kind: told });
        }
    }

    #[test]
    fn what_nobody_can_be_told_of_is_poison_and_names_no_person() {
        let good = event(3, 7, PATIENT_CREATED);
        let odd = [
            PatientEvent { patient_id: "Ada".to_owned(), ..good.clone() },
            PatientEvent { event_id: String::new(), ..good.clone() },
            PatientEvent { event_type: "PATIENT_LOST".to_owned(), ..good },
        ];
        for event in odd {
            let refused = decode(&record(&event));
            let Err(HandlerError::Poison(text)) = refused else { panic!("{refused:?}") };
            assert!(!text.contains(&event.name) && !text.contains("Ada"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_payload_makes_it_panic(payload: Vec<u8>) {
            let _ = recipient(&payload);
            let _ = decode(&Record { key: String::new(), headers: Vec::new(), payload });
        }
    }
}
