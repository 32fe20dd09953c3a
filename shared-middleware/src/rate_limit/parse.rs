//! The form in which a rate limit is written: `N/Ts` or `N/Ts:BURST`.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

/// The longest window, in seconds: one day.
const WINDOW_S_MAX: u32 = 86_400;

/// This many requests in so much time, with this many of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many in the long run.
    pub requests: NonZeroU32,
    /// In what time: whole seconds.
    pub per: Duration,
    /// How many at once after a pause.
    pub burst: NonZeroU32,
}

/// A text that is no rate limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no rate limit: N/Ts or N/Ts:BURST is wanted, such as 100/1s or 10/60s:20 (numbers \
     from 1; at most {WINDOW_S_MAX} seconds), or off"
)]
pub struct InvalidRateLimit(String);

/// Reads a limit, or `off`.
pub fn parse_limit(text: &str) -> Result<Option<RateLimit>, InvalidRateLimit> {
    if text == "off" { Ok(None) } else { text.parse().map(Some) }
}

// === impl RateLimit ===

impl RateLimit {
    /// This many requests every this many seconds; zero counts as one.
    pub const fn every(requests: u32, seconds: u64) -> Self {
        let requests = match NonZeroU32::new(requests) {
            Some(requests) => requests,
            None => NonZeroU32::MIN,
        };
        let seconds = if seconds == 0 { 1 } else { seconds };
        Self { requests, per: Duration::from_secs(seconds), burst: requests }
    }

    /// The same, with this many at once.
    pub const fn with_burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }

    /// This many times as much.
    pub const fn times(self, factor: u32) -> Self {
        let factor = match NonZeroU32::new(factor) {
            Some(factor) => factor,
            None => NonZeroU32::MIN,
        };
        let (requests, burst) =
            (self.requests.saturating_mul(factor), self.burst.saturating_mul(factor));
        Self { requests, burst, per: self.per }
    }
}

impl FromStr for RateLimit {
    type Err = InvalidRateLimit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = || {
            let (requests, rest) = text.split_once('/')?;
            let (window, burst) = match rest.split_once(':') {
                Some((window, burst)) => (window, Some(burst)),
                None => (rest, None),
            };
            let requests = number(requests)?;
            let seconds = number(window.strip_suffix('s')?)?;
            let burst = burst.map_or(Some(requests), number)?;
            let per = Duration::from_secs(u64::from(seconds.get()));
            (seconds.get() <= WINDOW_S_MAX).then_some(Self { requests, per, burst })
        };
        parsed().ok_or_else(|| InvalidRateLimit(text.to_owned()))
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.requests, self.per.as_secs())?;
        if self.burst != self.requests {
            write!(f, ":{}", self.burst)?;
        }
        Ok(())
    }
}

/// Digits only: `u32::from_str` would also take a sign.
fn number(text: &str) -> Option<NonZeroU32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_limit_is_read_with_and_without_a_burst() {
        assert_eq!("100/1s".parse(), Ok(RateLimit::every(100, 1)));
        let limit: RateLimit = "10/60s:20".parse().unwrap();
        assert_eq!((limit.requests.get(), limit.burst.get()), (10, 20));
        assert_eq!(limit.per, Duration::from_secs(60));
        assert_eq!(parse_limit("off"), Ok(None));
    }

    #[test]
    fn what_is_no_limit_is_told_what_is_wanted() {
        for text in [
            "",
            "10",
            "10/",
            "/1s",
            "10/1",
            "0/1s",
            "10/0s",
            "10/1s:",
            "10/1s:0",
            "+10/1s",
            "10/1m",
            "10/86401s",
            " 10/1s",
            "10/1s ",
            "99999999999/1s",
            "Off",
            "10/1s:5:5",
        ] {
            let refused = parse_limit(text).unwrap_err().to_string();
            assert!(refused.contains("N/Ts"), "{text}: {refused}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            requests in 1u32..,
            seconds in 1u64..=86_400,
            burst in 1u32..,
        ) {
            let limit = RateLimit::every(requests, seconds)
                .with_burst(NonZeroU32::new(burst).unwrap());
            prop_assert_eq!(limit.to_string().parse(), Ok(limit));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse_limit(&text);
        }
    }
}
