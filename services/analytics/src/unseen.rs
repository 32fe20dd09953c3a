//! The versions of a patient whose events were passed over and may still come. Pure.
//!
//! Order per patient is kept within a partition only: anyone who adds partitions to the topic moves
//! patients to others, which are read beside the old ones. And what was a dead letter comes later
//! than all others. So the newest version does not say whether an event was counted.

use std::fmt::Write as _;

/// This many gaps are remembered. Usually there is none; of more, the oldest are taken for seen.
const GAPS_MAX: usize = 64;

/// Ranges of versions, ends included, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unseen(Vec<(i64, i64)>);

impl Unseen {
    /// As [`Unseen::to_text`] writes them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let gap = |range: &str| {
            let (first, last) = range.split_once('-')?;
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some((first, last))
        };
        text.split(' ').filter(|range| !range.is_empty()).map(gap).collect::<Option<_>>().map(Self)
    }

    /// `2-4 7-7`; nothing when there are none.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for (first, last) in &self.0 {
            let space = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{space}{first}-{last}");
        }
        text
    }

    /// These are passed over; they are newer than all that were.
    pub(crate) fn pass_over(&mut self, first: i64, last: i64) {
        if first > last {
            return;
        }
        self.0.push((first, last));
        let too_many = self.0.len().saturating_sub(GAPS_MAX);
        self.0.drain(..too_many);
    }

    /// One of them has come; whether it was one.
    pub(crate) fn take(&mut self, version: i64) -> bool {
        let Some(place) =
            self.0.iter().position(|(first, last)| (*first..=*last).contains(&version))
        else {
            return false;
        };
        let (first, last) = self.0[place];
        let rest = [(first, version - 1), (version + 1, last)];
        self.0.splice(place..=place, rest.into_iter().filter(|(first, last)| first <= last));
        let too_many = self.0.len().saturating_sub(GAPS_MAX);
        self.0.drain(..too_many);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_written_is_read_and_nonsense_is_not() {
        for text in ["", "2-4", "2-4 7-7"] {
            assert_eq!(Unseen::parse(text).unwrap().to_text(), text);
        }
        for text in ["2", "4-2", "a-b", "1-2,4-5"] {
            assert_eq!(Unseen::parse(text), None, "{text}");
        }
    }

    #[test]
    fn of_too_many_gaps_the_oldest_are_taken_for_seen() {
        let mut unseen = Unseen::default();
        for gap in 1..=200 {
            unseen.pass_over(gap * 10, gap * 10 + 2);
        }
        assert!(!unseen.take(10) && unseen.take(2001));
        assert_eq!(unseen.0.len(), GAPS_MAX);
    }

    proptest! {
        #[test]
        fn each_is_taken_once(
            first in 1_i64..5,
            length in 0_i64..30,
            taken in prop::collection::vec(0_i64..40, 0..90),
        ) {
            let mut unseen = Unseen::default();
            unseen.pass_over(first, first + length);
            let mut left: std::collections::BTreeSet<i64> = (first..=first + length).collect();
            for version in taken {
                unseen = Unseen::parse(&unseen.to_text()).unwrap();
                prop_assert_eq!(unseen.take(version), left.remove(&version));
            }
        }
    }
}
