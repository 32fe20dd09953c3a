//! What an event changes, and how patients are counted by age. Pure.

use std::collections::BTreeMap;

use jiff::civil::Date;
use uuid::Uuid;

use crate::unseen::Unseen;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patient {
    /// The newest one that was seen.
    pub(crate) version: i64,
    /// Older ones that were not.
    pub(crate) unseen: Unseen,
    pub(crate) state: State,
    /// The version that had the year of birth; 0 when none did.
    pub(crate) birth_year_version: i64,
}

/// Registered patients of an age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Band {
    pub(crate) name: String,
    pub(crate) patients: i64,
}

// === impl BirthYear ===

impl BirthYear {
    /// `None` for what is no year of the common era with four digits; 0 means unknown.
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
    /// It comes to the same in whatever order events come. The first one that is seen need not be
    /// the creation, since a topic may be read from its middle: an update then registers the
    /// patient, and a deletion leaves a tombstone.
    pub(crate) fn after(known: Option<&Self>, event: &Event) -> Option<Self> {
        let newest = known.map_or(0, |known| known.version);
        let mut unseen = known.map_or_else(Unseen::default, |known| known.unseen.clone());
        if event.version > newest {
            unseen.pass_over(newest + 1, event.version - 1);
        } else if !unseen.take(event.version) {
            return None;
        }
        let (year, told_by) = match known.map(|known| (known.state, known.birth_year_version)) {
            Some((State::Registered(year), told_by)) => (year, told_by),
            _ => (None, 0),
        };
        let gone =
            event.kind == Kind::Deleted || known.is_some_and(|known| known.state == State::Deleted);
        let (state, birth_year_version) = match event.birth_year {
            _ if gone => (State::Deleted, 0),
            // An event that does not tell the year takes nothing away, nor does an older one.
            Some(told) if event.version > told_by => (State::Registered(Some(told)), event.version),
            _ => (State::Registered(year), told_by),
        };
        Some(Self { version: newest.max(event.version), unseen, state, birth_year_version })
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

    fn known(version: i64, state: State) -> Patient {
        Patient { version, unseen: Unseen::default(), state, birth_year_version: version }
    }

    #[test]
    fn an_event_that_was_seen_changes_nothing() {
        let known = known(3, registered(1985));
        for version in 1..=3 {
            assert_eq!(Patient::after(Some(&known), &event(Kind::Deleted, version, 1985)), None);
        }
    }

    #[test]
    fn an_older_event_that_was_not_seen_counts_once_and_leaves_the_newest_state() {
        let update = Patient::after(None, &event(Kind::Updated, 3, 1990)).unwrap();
        let creation = event(Kind::Created, 1, 1985);
        let after = Patient::after(Some(&update), &creation).unwrap();
        assert_eq!((after.version, after.state), (3, registered(1990)));
        assert_eq!(after.unseen.to_text(), "2-2");
        assert_eq!(Patient::after(Some(&after), &creation), None);
    }

    #[test]
    fn a_patient_whose_creation_was_not_seen_is_counted_all_the_same() {
        let state = |kind| Patient::after(None, &event(kind, 4, 1985)).unwrap().state;
        assert_eq!(state(Kind::Updated), registered(1985));
        assert_eq!(state(Kind::Deleted), State::Deleted);
    }

    #[test]
    fn an_update_without_a_year_keeps_the_one_that_is_known() {
        let known = known(1, registered(1985));
        let state =
            |year| Patient::after(Some(&known), &event(Kind::Updated, 2, year)).unwrap().state;
        assert_eq!(state(0), registered(1985));
        assert_eq!(state(1990), registered(1990));
    }

    #[test]
    fn a_deleted_patient_stays_deleted() {
        let known = known(2, State::Deleted);
        let after = Patient::after(Some(&known), &event(Kind::Updated, 3, 1985)).unwrap();
        assert_eq!((after.version, after.state), (3, State::Deleted));
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
                let before = known.clone();
                known = Patient::after(known.as_ref(), &event(kind, version, year)).or(known);
                let version = |of: &Option<Patient>| of.as_ref().map(|of| of.version);
                prop_assert!(version(&known) >= version(&before));
                if before.is_some_and(|p| p.state == State::Deleted) {
                    prop_assert_eq!(known.as_ref().unwrap().state, State::Deleted);
                }
            }
        }

        #[test]
        fn in_whatever_order_and_however_often_events_come_it_is_the_same(
            (events, order) in history(),
        ) {
            let play = |events: &mut dyn Iterator<Item = &Event>| {
                let (mut known, mut counted) = (None, [0; 3]);
                for event in events {
                    if let Some(after) = Patient::after(known.as_ref(), event) {
                        known = Some(after);
                        counted[event.kind as usize] += 1;
                    }
                }
                (known, counted)
            };
            let in_order = play(&mut events.iter());
            let as_it_comes = play(&mut order.iter().map(|place| &events[*place]));
            prop_assert_eq!(as_it_comes, in_order);
        }
    }

    /// A life of a patient, and an order in which its events come, each once at least.
    fn history() -> impl Strategy<Value = (Vec<Event>, Vec<usize>)> {
        let years = prop::collection::vec(prop_oneof![Just(0), 1900_i64..2000], 1..20);
        let life = (years, any::<bool>()).prop_map(|(years, is_deleted)| {
            let last = years.len();
            let at = |(place, year): (usize, i64)| {
                let kind = match place + 1 {
                    1 => Kind::Created,
                    version if version == last && is_deleted => Kind::Deleted,
                    _ => Kind::Updated,
                };
                event(kind, place as i64 + 1, year)
            };
            years.into_iter().enumerate().map(at).collect::<Vec<_>>()
        });
        life.prop_flat_map(|events| {
            let all: Vec<usize> = (0..events.len()).collect();
            let again = prop::collection::vec(0..events.len(), 0..10);
            let order = again
                .prop_flat_map(move |again| Just([all.clone(), again].concat()).prop_shuffle());
            (Just(events), order)
        })
    }
}
