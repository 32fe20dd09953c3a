//! How an event is printed. Names and emails are left out unless they are asked for; so are the
//! values of headers that are not ours, since anybody may have put anything there.

use kit::log::{
    CONTENT_TYPE, ConsumedRecord, EVENT_ID, EVENT_TYPE, Record, SOURCE_GROUP, SOURCE_OFFSET,
    SOURCE_PARTITION, SOURCE_TOPIC, TRACEPARENT,
};
use prost::Message as _;
use proto::patient_events::PatientEvent;
use serde_json::{Map, Value, json};

/// Header of a dead letter: why it is one.
const ERROR: &str = "error";

/// Headers that we write: none of them names a person.
const OURS: [&str; 9] = [
    EVENT_ID,
    EVENT_TYPE,
    TRACEPARENT,
    CONTENT_TYPE,
    ERROR,
    SOURCE_GROUP,
    SOURCE_TOPIC,
    SOURCE_PARTITION,
    SOURCE_OFFSET,
];

/// A record as it is shown.
pub(super) struct Shown<'r> {
    record: &'r Record,
    event: Option<PatientEvent>,
    with_personal_data: bool,
}

// === impl Shown ===

impl<'r> Shown<'r> {
    pub(super) fn new(record: &'r Record, with_personal_data: bool) -> Self {
        // Many bytes are a message of some sort: one that says neither of whom nor what is none.
        let event = PatientEvent::decode(record.payload.as_slice())
            .ok()
            .filter(|event| !event.patient_id.is_empty() && !event.event_type.is_empty());
        let event = event.map(|event| if with_personal_data { event } else { of_form(event) });
        Self { record, event, with_personal_data }
    }

    /// On one line, without where it is.
    pub(super) fn text(&self) -> String {
        let mut text = match &self.event {
            Some(event) => {
                let PatientEvent { occurred_at, event_type, patient_id, version, .. } = event;
                let mut text = format!(
                    "{occurred_at:<27} {event_type:<15} {patient_id} v{version} {}",
                    event.event_id
                );
                if self.with_personal_data {
                    text += &format!(" {:?} <{}>", event.name, event.email);
                }
                text
            }
            None => {
                let bytes = self.record.payload.len();
                let headers = self.headers();
                let headers = headers.iter().map(|(name, value)| format!("{name}={value}"));
                let headers: Vec<_> = headers.collect();
                format!("undecodable, {bytes} bytes; headers: {}", headers.join(" "))
            }
        };
        if let (Some(error), Some(_)) = (self.record.header(ERROR), &self.event) {
            text += &format!(" error={error:?}");
        }
        printable(&text)
    }

    /// As the fields of an object.
    pub(super) fn json(&self) -> Map<String, Value> {
        let headers: Map<_, _> =
            self.headers().into_iter().map(|(n, v)| (n.to_owned(), v.into())).collect();
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        match &self.event {
            Some(event) => {
                set("occurredAt", json!(event.occurred_at));
                set("type", json!(event.event_type));
                set("patientId", json!(event.patient_id));
                set("version", json!(event.version));
                set("eventId", json!(event.event_id));
                if self.with_personal_data {
                    set("name", json!(event.name));
                    set("email", json!(event.email));
                    set("birthYear", json!(event.birth_year));
                }
            }
            None => {
                set("undecodable", json!(true));
                set("bytes", json!(self.record.payload.len()));
            }
        }
        set("headers", headers.into());
        fields
    }

    fn headers(&self) -> Vec<(&'r str, &'r str)> {
        let value = |name: &str, value: &'r str| {
            if self.with_personal_data || OURS.contains(&name) { value } else { "…" }
        };
        let headers = self.record.headers.iter();
        headers.map(|(n, v)| (n.as_str(), value(n, v))).collect()
    }
}

/// Without what is not of its form: in an event of somebody else's it may be anything, a name too.
fn of_form(mut event: PatientEvent) -> PatientEvent {
    let hide = |text: &mut String, keeps: bool| {
        if !keeps {
            "…".clone_into(text);
        }
    };
    let is_id = event.patient_id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let is_type = event.event_type.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let is_time = event.occurred_at.parse::<jiff::Timestamp>().is_ok();
    hide(&mut event.patient_id, is_id);
    hide(&mut event.event_type, is_type);
    hide(&mut event.occurred_at, is_time);
    event
}

/// What came from elsewhere must not move the cursor.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

/// A line of text for a record of a topic.
pub(super) fn line(delivered: &ConsumedRecord, with_personal_data: bool) -> String {
    let text = Shown::new(&delivered.record, with_personal_data).text();
    format!("{text} {}/{}", delivered.partition, delivered.offset)
}

/// The same as an object.
pub(super) fn object(topic: &str, delivered: &ConsumedRecord, with_personal_data: bool) -> Value {
    let mut fields = Shown::new(&delivered.record, with_personal_data).json();
    fields.insert("topic".to_owned(), topic.into());
    fields.insert("partition".to_owned(), delivered.partition.into());
    fields.insert("offset".to_owned(), delivered.offset.into());
    fields.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(payload: Vec<u8>) -> ConsumedRecord {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![header(EVENT_ID, "e-1"), header("who", "Jane Roe")];
        let record = Record { key: "Jane Roe".to_owned(), headers, payload };
        ConsumedRecord { partition: 2, position: 7, offset: 7, published_at: None, record }
    }

    fn event() -> Vec<u8> {
        let event = PatientEvent {
            patient_id: "a-1".to_owned(),
            name: "Jane Roe".to_owned(),
            email: "jane.roe@example.com".to_owned(),
            event_type: "PATIENT_CREATED".to_owned(),
            event_id: "e-1".to_owned(),
            version: 1,
            occurred_at: "2026-03-02T08:00:00Z".to_owned(),
            birth_year: 1990,
        };
        event.encode_to_vec()
    }

    #[test]
    fn a_person_is_named_only_when_that_is_asked_for() {
        for payload in [event(), b"Jane Roe jane.roe@example.com".to_vec()] {
            let delivered = delivered(payload);
            let shown = [line(&delivered, false), object("t", &delivered, false).to_string()];
            for shown in shown {
                assert!(!shown.contains("Jane") && !shown.contains("jane"), "{shown}");
                assert!(!shown.contains("1990") && shown.contains("e-1"), "{shown}");
            }
        }
        let named = line(&delivered(event()), true);
        assert!(named.contains("\"Jane Roe\" <jane.roe@example.com> 2/7"), "{named}");
    }

    #[test]
    fn what_cannot_be_decoded_is_shown_with_its_headers_and_moves_no_cursor() {
        for payload in [b"\xff".to_vec(), Vec::new()] {
            let mut delivered = delivered(payload);
            delivered.record.headers.push((EVENT_TYPE.to_owned(), "\u{1b}[2J".to_owned()));
            let shown = line(&delivered, false);
            assert!(shown.starts_with("undecodable") && shown.contains("who=…"), "{shown}");
            assert!(!shown.contains('\u{1b}'), "{shown}");
            assert_eq!(object("t", &delivered, false)["undecodable"], true);
        }
    }
}
