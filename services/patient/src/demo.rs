//! Demo patients: invented, and registered through the same path as anybody.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use proto::demo::PATIENTS;
use shared_middleware::{
    clock::{Clock, Ids},
    error::{ErrorCode, ServiceError as _, causes},
    trace_context::TraceContext,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    app::App,
    domain::{Condition, Input},
    error::Error,
    events::PATIENT_DELETED,
    store::{Change, Store},
};

/// Name, date of birth, date of registration, street. Emails are made from names.
const PEOPLE: [(&str, &str, &str, &str); 15] = [
    ("John Doe", "1985-06-15", "2024-01-10", "123 Main St, Springfield"),
    ("Jane Demo", "1990-09-23", "2024-01-12", "456 Sample Ave, Springfield"),
    ("Alice Example", "1978-03-12", "2024-02-01", "789 Model Rd, Springfield"),
    ("Bob Placeholder", "1982-11-30", "2024-02-14", "12 Test Ln, Springfield"),
    ("Emily Fictional", "1995-02-05", "2024-03-03", "34 Mock Blvd, Springfield"),
    ("Michael Specimen", "1988-07-25", "2024-03-20", "56 Dummy Dr, Springfield"),
    ("Sarah Sample", "1992-04-18", "2024-04-11", "78 Trial Ct, Springfield"),
    ("David Mockup", "1975-01-11", "2024-05-05", "90 Pilot Pl, Springfield"),
    ("Laura Template", "1989-09-02", "2024-05-28", "11 Draft St, Springfield"),
    ("James Prototype", "1993-11-15", "2024-06-17", "22 Proof Ave, Springfield"),
    ("Emma Illustration", "1980-08-09", "2024-07-07", "33 Figure Rd, Springfield"),
    ("Ethan Instance", "1984-05-03", "2024-08-19", "44 Case Ln, Springfield"),
    ("Sophia Showcase", "1991-12-25", "2024-09-09", "55 Display Blvd, Springfield"),
    ("Daniel Demonstration", "1976-06-08", "2024-10-30", "66 Exhibit Dr, Springfield"),
    ("Isabella Imaginary", "1987-10-17", "2024-11-21", "77 Dream Ct, Springfield"),
];

/// This many are registered at a time.
const AT_ONCE: usize = 16;
/// A store that is not available for so long is away.
const REGISTERED_WITHIN: Duration = Duration::from_secs(30);
/// A demo without billing is better than none.
const ACCOUNTS_WITHIN: Duration = Duration::from_secs(10);
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(100);

impl App {
    /// Registers the demo patients in a store that has no patient yet.
    pub async fn ensure_demo_patients(&self) -> Result<(), Error> {
        if !self.store.is_empty().await? {
            return Ok(());
        }
        let until = Instant::now() + REGISTERED_WITHIN;
        let people = PEOPLE.iter().enumerate();
        let registered =
            people.map(|(place, person)| self.ensure_demo_patient(place, person, until));
        let outcomes: Vec<_> = stream::iter(registered).buffered(AT_ONCE).collect().await;
        for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            tracing::warn!(error = causes(error), "cannot register a demo patient");
        }
        outcomes.into_iter().collect::<Result<Vec<()>, _>>()?;
        self.await_demo_accounts().await
    }

    /// Registers one of them, unless it is there. A store that has just started on a busy machine
    /// may not take all of them at once.
    async fn ensure_demo_patient(
        &self,
        place: usize,
        person: &(&str, &str, &str, &str),
        until: Instant,
    ) -> Result<(), Error> {
        loop {
            // Nobody asks for it, so each is a trace of its own.
            let registered = self.register_as(demo_id(place), input(*person));
            match TraceContext::start().scope(registered).await {
                Err(Error::EmailTaken | Error::IdTaken) | Ok(()) => return Ok(()),
                Err(error) if error.code() != ErrorCode::Unavailable || Instant::now() >= until => {
                    return Err(error);
                }
                Err(_) => sleep(ASKED_AGAIN_AFTER).await,
            }
        }
    }

    /// Anyone who looks at the demo sees accounts. In a mesh whose parts start at the same time
    /// billing may answer late.
    async fn await_demo_accounts(&self) -> Result<(), Error> {
        let until = Instant::now() + ACCOUNTS_WITHIN;
        loop {
            let now = self.clock.now();
            let pending = self.store.without_account(now, None, PEOPLE.len() as u32).await?;
            if pending.is_empty() || Instant::now() > until {
                return Ok(());
            }
            for patient in pending {
                self.open_account(patient, None).await;
            }
            sleep(ASKED_AGAIN_AFTER).await;
        }
    }

    /// Whether demo patients are among the patients.
    pub async fn has_demo_patients(&self) -> Result<bool, Error> {
        for place in 0..PEOPLE.len() {
            if self.store.get(demo_id(place)).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn demo_id(place: usize) -> Uuid {
    Uuid::from_u128(PATIENTS[place])
}

/// Removes those who are there, as anybody is removed; returns how many.
pub(crate) async fn remove(store: &Store, clock: &Clock, ids: &Ids) -> Result<u64, Error> {
    let mut removed = 0;
    for id in PATIENTS.map(Uuid::from_u128) {
        let (now, event_id) = (clock.now(), ids.next());
        let condition = Condition::default();
        let change = Change { id, condition, now, event_id, trace: None };
        match store.remove(change, PATIENT_DELETED).await {
            Ok(()) => removed += 1,
            Err(Error::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

fn input((name, born, registered, address): (&str, &str, &str, &str)) -> Input {
    let email = format!("{}@example.com", name.to_lowercase().replace(' ', "."));
    let text = |text: &str| Some(text.to_owned());
    Input {
        name: text(name),
        email: Some(email),
        address: text(address),
        date_of_birth: text(born),
        registered_date: text(registered),
        refused: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn the_ids_are_those_of_the_original_demo_data() {
        let ids: Vec<_> = (0..PEOPLE.len()).map(|place| demo_id(place).to_string()).collect();
        assert_eq!(ids[0], "123e4567-e89b-12d3-a456-426614174000");
        assert_eq!(ids[4], "123e4567-e89b-12d3-a456-426614174004");
        assert_eq!(ids[5], "223e4567-e89b-12d3-a456-426614174005");
        assert_eq!(ids[14], "223e4567-e89b-12d3-a456-426614174014");
    }

    #[test]
    fn every_demo_patient_can_be_registered() {
        for person in PEOPLE {
            input(person).register(date(2025, 1, 1)).unwrap();
        }
    }
}
