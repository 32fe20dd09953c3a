//! What the topic `patient` says, as this service needs it: no name, no address.

use jiff::Timestamp;
use kit::{consumer::HandlerError, log::Record};
use prost::Message as _;
use proto::patient_events::{PATIENT_CREATED, PATIENT_DELETED, PATIENT_UPDATED, PatientEvent};
use shared_middleware::clock::Clock;

use crate::domain::{BirthYear, Event, Kind};

/// Reads a record; its day is the clock's.
///
/// # Errors
/// `Poison`, with a text that names no person, when it cannot be counted, now or ever.
pub(crate) fn decode(record: &Record, clock: &Clock) -> Result<Event, HandlerError> {
    let event = PatientEvent::decode(record.payload.as_slice())
        .map_err(|_| HandlerError::Poison("the event is not a PatientEvent"))?;
    let patient = event
        .patient_id
        .parse()
        .map_err(|_| HandlerError::Poison("the event's patientId is not a UUID"))?;
    let kind = match event.event_type.as_str() {
        PATIENT_CREATED => Kind::Created,
        PATIENT_UPDATED => Kind::Updated,
        PATIENT_DELETED => Kind::Deleted,
        _ => return Err(HandlerError::Poison("the event's event_type is unknown")),
    };
    if event.version < 1 {
        return Err(HandlerError::Poison("the event's version is less than 1"));
    }
    let occurred_at: Timestamp = event
        .occurred_at
        .parse()
        .map_err(|_| HandlerError::Poison("the event's occurred_at is not a time"))?;
    Ok(Event {
        patient,
        kind,
        version: event.version,
        day: clock.day_of(occurred_at),
        birth_year: BirthYear::new(event.birth_year.into()),
    })
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;
    use shared_middleware::clock::time_zone;
    use uuid::Uuid;

    use super::*;
    use crate::tests::{event, record};

    #[test]
    fn an_event_is_read_with_its_day_where_the_clinic_is() {
        let told = PatientEvent {
            occurred_at: "2026-03-01T23:30:00-05:00".to_owned(),
            ..event(7, PATIENT_CREATED, 1, 1985)
        };
        let read = decode(&record(&told), &Clock::system()).unwrap();
        assert_eq!(read.patient, Uuid::from_u128(7));
        assert_eq!((read.kind, read.version, read.day), (Kind::Created, 1, date(2026, 3, 2)));
        assert_eq!(read.birth_year.map(BirthYear::get), Some(1985));
        let new_york = time_zone("America/New_York").unwrap();
        let read = decode(&record(&told), &Clock::system().in_zone(new_york)).unwrap();
        assert_eq!(read.day, date(2026, 3, 1));
    }

    #[test]
    fn what_cannot_be_counted_is_poison_and_names_no_person() {
        let good = event(7, PATIENT_CREATED, 1, 1985);
        let odd = [
            PatientEvent { patient_id: "Ada".to_owned(), ..good.clone() },
            PatientEvent { event_type: "PATIENT_LOST".to_owned(), ..good.clone() },
            PatientEvent { version: 0, ..good.clone() },
            PatientEvent { occurred_at: "yesterday".to_owned(), ..good },
        ];
        for event in odd {
            let refused = decode(&record(&event), &Clock::system());
            let Err(HandlerError::Poison(text)) = refused else { panic!("{refused:?}") };
            assert!(!text.contains(&event.name) && !text.contains("Ada"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_payload_makes_it_panic(payload: Vec<u8>) {
            let record = Record { key: String::new(), headers: Vec::new(), payload };
            let _ = decode(&record, &Clock::system());
        }
    }
}
