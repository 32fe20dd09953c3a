//! Time and ids as arguments, so that whoever needs them can be tested.
//!
//! This is the only file that asks the machine for either.

use std::{fmt, sync::Arc};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use uuid::Uuid;

/// What time it is.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

/// Where new ids come from.
#[derive(Clone)]
pub struct Ids(Arc<dyn Fn() -> Uuid + Send + Sync>);

// === impl Clock ===

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that a test controls.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Now, to the microsecond: what both stores keep.
    pub fn now(&self) -> Timestamp {
        let now = (self.0)();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    /// Now, in seconds since 1970, as tokens count (RFC 7519 "NumericDate").
    pub fn unix_s(&self) -> i64 {
        (self.0)().as_second()
    }

    /// Today, in UTC.
    pub fn today(&self) -> Date {
        self.now().to_zoned(TimeZone::UTC).date()
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

/// 128 random bits, for trace ids: never zero.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
pub(crate) fn random_u128() -> u128 {
    Uuid::new_v4().as_u128()
}
