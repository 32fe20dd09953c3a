//! Time and ids as arguments, so that anyone who needs them can be tested.
//!
//! This is the only file that asks the machine for either.

use std::{fmt, sync::Arc};

pub use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil::Date};
use uuid::Uuid;

/// What time it is, and which day that is where the clinic is.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    zone: TimeZone,
    /// Whether it shows what time it is; else a test sets it.
    is_real: bool,
}

/// Where new ids come from.
#[derive(Clone)]
pub struct Ids(Arc<dyn Fn() -> Uuid + Send + Sync>);

// === impl Clock ===

impl Clock {
    /// The machine's clock. Its days are those of UTC, see [`Clock::in_zone`].
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub fn system() -> Self {
        Self { is_real: true, ..Self::from_fn(Timestamp::now) }
    }

    /// The machine's clock, if it went wrong by so much: for tests.
    pub fn system_ahead_by(ahead: SignedDuration) -> Self {
        let right = Self::system();
        Self { is_real: true, ..Self::from_fn(move || right.now() + ahead) }
    }

    /// A clock that a test controls.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { now: Arc::new(now), zone: TimeZone::UTC, is_real: false }
    }

    /// The same clock, on a wall in this zone: days begin at midnight there.
    #[must_use]
    pub fn in_zone(self, zone: TimeZone) -> Self {
        Self { zone, ..self }
    }

    /// The time of another source, in the same zone. A clock that a test sets stays as it
    /// is.
    #[must_use]
    pub fn told_by(&self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        if self.is_real { Self { now: Arc::new(now), ..self.clone() } } else { self.clone() }
    }

    /// Now, to the microsecond: what both stores keep.
    pub fn now(&self) -> Timestamp {
        let now = (self.now)();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    /// Now, in seconds since 1970, as tokens count (RFC 7519 "NumericDate").
    pub fn unix_s(&self) -> i64 {
        (self.now)().as_second()
    }

    /// Today, where the clinic is.
    pub fn today(&self) -> Date {
        self.day_of(self.now())
    }

    /// The day of a moment, where the clinic is.
    pub fn day_of(&self, at: Timestamp) -> Date {
        at.to_zoned(self.zone.clone()).date()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

// === impl Ids ===

impl Ids {
    /// UUID version 7 (RFC 9562): they sort by the time they were made, which keeps indexes
    /// compact.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub fn system() -> Self {
        Self(Arc::new(Uuid::now_v7))
    }

    /// Ids that a test controls.
    pub fn from_fn(next: impl Fn() -> Uuid + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }

    /// A new id.
    pub fn next(&self) -> Uuid {
        (self.0)()
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}

/// The time zone of this name, such as `Europe/Berlin`, if there is one.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

/// The machine's time zone; UTC where it has none.
pub fn system_time_zone() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}

/// 128 random bits, for trace ids: never zero.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
pub(crate) fn random_u128() -> u128 {
    Uuid::new_v4().as_u128()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn today_is_the_day_where_the_clinic_is() {
        let now: Timestamp = "2026-11-30T17:16:00Z".parse().unwrap();
        let today =
            |zone: &str| Clock::from_fn(move || now).in_zone(time_zone(zone).unwrap()).today();
        assert_eq!(today("Pacific/Auckland"), date(2026, 12, 1));
        assert_eq!(today("UTC"), date(2026, 11, 30));
        assert_eq!(Clock::from_fn(move || now).today(), date(2026, 11, 30));
        // Summer time counts: midnight in New York is at four or five in the morning, UTC.
        let clock = Clock::system().in_zone(time_zone("America/New_York").unwrap());
        let day_of = |at: &str| clock.day_of(at.parse().unwrap());
        assert_eq!(day_of("2026-07-02T03:59:59Z"), date(2026, 7, 1));
        assert_eq!(day_of("2026-01-02T04:00:00Z"), date(2026, 1, 1));
        assert!(time_zone("Middle/Earth").is_none());
    }
}
