//! The kinds and states of a notification, and when to try again. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// What can never be delivered is tried so often before it is given up.
pub(crate) const TRIES_MAX: i64 = 5;

const BACK_OFF_FIRST_S: i64 = 1;
const BACK_OFF_LAST_S: i64 = 300;
/// Longer than any limit's window.
const WAIT_MAX: SignedDuration = SignedDuration::from_hours(48);

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Welcome,
    Update,
    Farewell,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Pending,
    Sent,
    Failed,
}

/// How notifications are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    File,
    Smtp,
}

/// Why a message was not delivered. The texts name no person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Later it may work.
    Passing(String),
    /// It will not work later either.
    Permanent(String),
    /// It was not tried: there were too many lately.
    TooMany { wait_s: u64, reason: &'static str },
}

/// What is to be done with a notification after a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Sent,
    Retry {
        at: Timestamp,
        reason: String,
    },
    /// It was not tried, which does not count as a try.
    Postponed {
        at: Timestamp,
        reason: &'static str,
    },
    Failed {
        reason: String,
    },
}

// === impl Kind ===

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Welcome, Self::Update, Self::Farewell];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Welcome => "WELCOME",
            Self::Update => "UPDATE",
            Self::Farewell => "FAREWELL",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

// === impl Status ===

impl Status {
    pub(crate) const ALL: [Self; 3] = [Self::Pending, Self::Sent, Self::Failed];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Sent => "SENT",
            Self::Failed => "FAILED",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

// === impl Medium ===

impl Medium {
    pub(crate) const ALL: [Self; 2] = [Self::File, Self::Smtp];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Smtp => "smtp",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|medium| medium.as_str() == name)
    }
}

// === impl Verdict ===

impl Verdict {
    /// After this many tries, the last of which ended like this.
    pub(crate) fn of(outcome: Result<(), Refusal>, tried: i64, now: Timestamp) -> Self {
        match outcome {
            Ok(()) => Self::Sent,
            Err(Refusal::TooMany { wait_s, reason }) => {
                let wait = SignedDuration::try_from(Duration::from_secs(wait_s));
                Self::Postponed { at: now + wait.unwrap_or_default().min(WAIT_MAX), reason }
            }
            Err(Refusal::Permanent(reason)) if tried >= TRIES_MAX => Self::Failed { reason },
            Err(Refusal::Permanent(reason) | Refusal::Passing(reason)) => {
                Self::Retry { at: now + back_off(tried), reason }
            }
        }
    }

    /// Its name in metrics.
    pub(crate) const fn outcome(&self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Retry { .. } => "retried",
            Self::Postponed { .. } => "postponed",
            Self::Failed { .. } => "failed",
        }
    }
}

/// 1 s after the first try, twice as long after each further one, at most 5 min.
fn back_off(tried: i64) -> SignedDuration {
    let doublings = u32::try_from(tried.clamp(1, 16) - 1).unwrap_or_default();
    SignedDuration::from_secs((BACK_OFF_FIRST_S << doublings).min(BACK_OFF_LAST_S))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn passing() -> Result<(), Refusal> {
        Err(Refusal::Passing("later".to_owned()))
    }

    fn permanent() -> Result<(), Refusal> {
        Err(Refusal::Permanent("never".to_owned()))
    }

    fn waits_s(verdict: &Verdict) -> Option<i64> {
        match verdict {
            Verdict::Retry { at, .. } => Some(at.as_second()),
            _ => None,
        }
    }

    #[test]
    fn tries_are_farther_and_farther_apart_and_never_end() {
        let waits: Vec<_> =
            (1..=12).map(|tried| waits_s(&Verdict::of(passing(), tried, NOW)).unwrap()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    }

    #[test]
    fn what_can_never_be_delivered_is_given_up_after_five_tries() {
        for tried in 1..TRIES_MAX {
            assert!(waits_s(&Verdict::of(permanent(), tried, NOW)).is_some());
        }
        let last = Verdict::of(permanent(), TRIES_MAX, NOW);
        assert_eq!(last, Verdict::Failed { reason: "never".to_owned() });
        assert_eq!(Verdict::of(Ok(()), TRIES_MAX, NOW), Verdict::Sent);
    }

    #[test]
    fn what_was_not_tried_waits_as_long_as_it_is_told() {
        let refused = Refusal::TooMany { wait_s: 90, reason: "too many" };
        let at = Timestamp::from_second(90).unwrap();
        let postponed = Verdict::Postponed { at, reason: "too many" };
        assert_eq!(Verdict::of(Err(refused), 1, NOW), postponed);
        let refused = Refusal::TooMany { wait_s: u64::MAX, reason: "too many" };
        assert!(matches!(Verdict::of(Err(refused), 1, NOW), Verdict::Postponed { .. }));
    }

    #[test]
    fn names_are_read_back() {
        assert!(Kind::ALL.into_iter().all(|kind| Kind::parse(kind.as_str()) == Some(kind)));
        assert!(Status::ALL.into_iter().all(|it| Status::parse(it.as_str()) == Some(it)));
        assert!(Medium::ALL.into_iter().all(|it| Medium::parse(it.as_str()) == Some(it)));
        assert_eq!(Kind::parse("welcome"), None);
    }

    proptest! {
        #[test]
        fn a_wait_is_bounded(tried: i64) {
            let wait = waits_s(&Verdict::of(passing(), tried, NOW)).unwrap();
            prop_assert!((BACK_OFF_FIRST_S..=BACK_OFF_LAST_S).contains(&wait));
        }
    }
}
