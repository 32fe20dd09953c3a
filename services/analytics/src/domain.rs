//! What an event changes, and how patients are counted by age. Pure.

use std::collections::BTreeMap;

use jiff::civil::Date;
use uuid::Uuid;

/// Years in an age band, and bands with an upper end: `0-9` to `80-89`, then `90+`.
const BAND_YEARS: i64 = 10;
const BANDS_WITH_END: i64 = 9;

/// The band of patients whose year of birth is not known.
const UNKNOWN_BAND: &str = "unknown";

/// What happened to a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Created,
    Updated,
    Deleted,
}

/// A year that somebody may be born in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BirthYear(i64);

/// An event, as far as it counts.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) patient: Uuid,
    pub(crate) kind: Kind,
    pub(crate) version: i64,
    pub(crate) day: Date,
    pub(crate) birth_year: Option<BirthYear>,
}

/// Whether a patient is registered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// With the year of birth, when it is known.
    Registered(Option<BirthYear>),
    /// For good: an event after it changes nothing of that.
    Deleted,
}

/// What is known of a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patient {
    pub(crate) version: i64,
    pub(crate) state: State,
}

/// Registered patients of an age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Band {
    pub(crate) name: String,
    pub(crate) patients: i64,
}

// === impl BirthYear ===

impl BirthYear {
    /// `None` for what is no year of the common era with four digits; 0 says "not told".
    pub(crate) fn new(year: i64) -> Option<Self> {
        (1..=9999).contains(&year).then_some(Self(year))
    }

    pub(crate) const fn get(self) -> i64 {
        self.0
    }
}

// === impl Patient ===

impl Patient {
    /// The patient after an event; `None` when the event was counted before.
    ///
    /// The first event that is seen need not be the creation, since a topic may be read from its
    /// middle: an update then registers the patient, and a deletion leaves a tombstone.
    pub(crate) fn after(known: Option<Self>, event: &Event) -> Option<Self> {
        if known.is_some_and(|known| event.version <= known.version) {
            return None;
        }
        let state = match (known.map(|known| known.state), event.kind) {
            (_, Kind::Deleted) | (Some(State::Deleted), _) => State::Deleted,
            // An event that does not tell the year takes nothing away.
            (Some(State::Registered(year)), _) => State::Registered(event.birth_year.or(year)),
            (None, _) => State::Registered(event.birth_year),
        };
        Some(Self { version: event.version, state })
    }
}

/// Patients by age band in order, the empty ones too; those without a year of birth come last, if
/// there are any.
///
/// The age is the one that is reached in `this_year`: the day of birth is not known here. A year of
/// birth that lies ahead counts as age 0.
pub(crate) fn bands(by_year: &[(Option<BirthYear>, i64)], this_year: i64) -> Vec<Band> {
    let mut by_band: BTreeMap<i64, i64> = (0..=BANDS_WITH_END).map(|band| (band, 0)).collect();
    let mut unknown = 0;
    for (year, patients) in by_year {
        match year {
            Some(year) => *by_band.entry(band(*year, this_year)).or_default() += patients,
            None => unknown += patients,
        }
    }
    let named = |(band, patients)| Band { name: name(band), patients };
    let mut bands: Vec<_> = by_band.into_iter().map(named).collect();
    if unknown > 0 {
        bands.push(Band { name: UNKNOWN_BAND.to_owned(), patients: unknown });
    }
    bands
}

fn band(year: BirthYear, this_year: i64) -> i64 {
    let age = (this_year - year.get()).max(0);
    (age / BAND_YEARS).min(BANDS_WITH_END)
}

fn name(band: i64) -> String {
    let first = band * BAND_YEARS;
    if band == BANDS_WITH_END {
        return format!("{first}+");
    }
    format!("{first}-{}", first + BAND_YEARS - 1)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn event(kind: Kind, version: i64, year: i64) -> Event {
        Event {
            patient: Uuid::nil(),
            kind,
            version,
            day: date(2026, 1, 1),
            birth_year: BirthYear::new(year),
        }
    }

    fn registered(year: i64) -> State {
        State::Registered(BirthYear::new(year))
    }

    #[test]
    fn an_event_that_is_not_newer_changes_nothing() {
        let known = Some(Patient { version: 3, state: registered(1985) });
        for version in 1..=3 {
            assert_eq!(Patient::after(known, &event(Kind::Deleted, version, 1985)), None);
        }
    }

    #[test]
    fn a_patient_whose_creation_was_not_seen_is_counted_all_the_same() {
        let state = |kind| Patient::after(None, &event(kind, 4, 1985)).unwrap().state;
        assert_eq!(state(Kind::Updated), registered(1985));
        assert_eq!(state(Kind::Deleted), State::Deleted);
    }

    #[test]
    fn an_update_without_a_year_keeps_the_one_that_is_known() {
        let known = Some(Patient { version: 1, state: registered(1985) });
        let state = |year| Patient::after(known, &event(Kind::Updated, 2, year)).unwrap().state;
        assert_eq!(state(0), registered(1985));
        assert_eq!(state(1990), registered(1990));
    }

    #[test]
    fn a_deleted_patient_stays_deleted() {
        let known = Some(Patient { version: 2, state: State::Deleted });
        let after = Patient::after(known, &event(Kind::Updated, 3, 1985)).unwrap();
        assert_eq!(after, Patient { version: 3, state: State::Deleted });
    }

    #[test]
    fn every_band_is_there_in_order_and_unknown_only_if_any() {
        let names: Vec<_> = bands(&[], 2026).into_iter().map(|band| band.name).collect();
        let all =
            ["0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70-79", "80-89", "90+"];
        assert_eq!(names, all);
        let with_unknown = bands(&[(None, 2)], 2026);
        assert_eq!(with_unknown.len(), 11);
        assert_eq!(with_unknown[10], Band { name: "unknown".to_owned(), patients: 2 });
    }

    #[test]
    fn bands_begin_and_end_where_they_say() {
        let named = |year| {
            let found = bands(&[(BirthYear::new(year), 1)], 2026);
            found.into_iter().find(|band| band.patients == 1).unwrap().name
        };
        let table = [
            (2026, "0-9"),
            (2017, "0-9"),
            (2016, "10-19"),
            (1937, "80-89"),
            (1936, "90+"),
            (1, "90+"),
            // Born today where the new year has already begun.
            (2027, "0-9"),
        ];
        for (year, name) in table {
            assert_eq!(named(year), name, "{year}");
        }
    }

    proptest! {
        #[test]
        fn no_patient_is_lost_in_the_bands(
            years in prop::collection::vec((-10_i64..12_000, 0_i64..1_000), 0..50),
            this_year in 1_i64..9999,
        ) {
            let by_year: Vec<_> =
                years.iter().map(|(year, count)| (BirthYear::new(*year), *count)).collect();
            let total: i64 = bands(&by_year, this_year).iter().map(|band| band.patients).sum();
            prop_assert_eq!(total, years.iter().map(|(_, count)| count).sum::<i64>());
        }

        #[test]
        fn versions_only_grow(
            events in prop::collection::vec((0_u8..3, 1_i64..20, 0_i64..2000), 0..40),
        ) {
            let mut known: Option<Patient> = None;
            for (kind, version, year) in events {
                let kind = [Kind::Created, Kind::Updated, Kind::Deleted][usize::from(kind)];
                let before = known;
                known = Patient::after(known, &event(kind, version, year)).or(known);
                prop_assert!(known.map(|p| p.version) >= before.map(|p| p.version));
                if before.is_some_and(|p| p.state == State::Deleted) {
                    prop_assert_eq!(known.unwrap().state, State::Deleted);
                }
            }
        }
    }
}
