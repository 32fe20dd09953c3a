//! What a batch of events comes to: worked out in memory, so that it is written by a few
//! statements, however many events there are. Pure.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::Date;
use uuid::Uuid;

use crate::domain::{BirthYear, Event, Kind, Patient, State};

/// How many events of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) deleted: i64,
}

/// The difference that events make. In order, so that everybody writes rows in one order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// As they are afterwards.
    pub(crate) patients: BTreeMap<Uuid, Patient>,
    /// This many more patients of each year of birth.
    pub(crate) birth_years: BTreeMap<Option<BirthYear>, i64>,
    pub(crate) totals: Totals,
    /// Registrations and deletions, on the days that have any.
    pub(crate) days: BTreeMap<Date, Totals>,
}

// === impl Totals ===

impl Totals {
    const fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Created => self.created += 1,
            Kind::Updated => self.updated += 1,
            Kind::Deleted => self.deleted += 1,
        }
    }
}

// === impl Changes ===

impl Changes {
    /// Of these events, in this order, where these patients were known.
    pub(crate) fn of(mut known: HashMap<Uuid, Patient>, events: &[Event]) -> Self {
        let mut changes = Self::default();
        for event in events {
            let before = known.get(&event.patient);
            let Some(after) = Patient::after(before, event) else { continue };
            changes.move_birth_year(before.map(|before| before.state), after.state);
            changes.totals.add(event.kind);
            if event.kind != Kind::Updated {
                changes.days.entry(event.day).or_default().add(event.kind);
            }
            changes.patients.insert(event.patient, after.clone());
            known.insert(event.patient, after);
        }
        changes
    }

    /// Whether all of them were counted before.
    pub(crate) fn is_empty(&self) -> bool {
        self.patients.is_empty()
    }

    fn move_birth_year(&mut self, from: Option<State>, to: State) {
        for (state, by) in [(from, -1), (Some(to), 1)] {
            if let Some(State::Registered(year)) = state {
                *self.birth_years.entry(year).or_default() += by;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn event((patient, kind, version, year): (u128, u8, i64, i64)) -> Event {
        let kind = [Kind::Created, Kind::Updated, Kind::Deleted][usize::from(kind % 3)];
        let (patient, day) = (Uuid::from_u128(patient), date(2026, 1, 1 + kind as i8));
        Event { patient, kind, version, day, birth_year: BirthYear::new(year) }
    }

    /// The same events in batches, one after the other.
    fn in_batches(events: &[Event], size: usize) -> Changes {
        let (mut known, mut all) = (HashMap::new(), Changes::default());
        for batch in events.chunks(size) {
            let of = Changes::of(known.clone(), batch);
            known.extend(of.patients.clone());
            all.patients.extend(of.patients);
            for (year, by) in of.birth_years {
                *all.birth_years.entry(year).or_default() += by;
            }
            for (day, of) in of.days {
                let day = all.days.entry(day).or_default();
                (day.created, day.deleted) = (day.created + of.created, day.deleted + of.deleted);
            }
            all.totals.created += of.totals.created;
            all.totals.updated += of.totals.updated;
            all.totals.deleted += of.totals.deleted;
        }
        all
    }

    proptest! {
        #[test]
        fn however_events_are_batched_they_come_to_the_same(
            events in prop::collection::vec((0_u128..4, 0_u8..3, 1_i64..8, 0_i64..1990), 0..60),
            size in 1_usize..20,
        ) {
            let events: Vec<_> = events.into_iter().map(event).collect();
            prop_assert_eq!(in_batches(&events, size), in_batches(&events, 1));
        }
    }
}
