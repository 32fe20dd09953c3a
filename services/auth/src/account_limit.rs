//! How often sign-ins to one account may fail. Those that succeed do not count, so that a program
//! or a person who signs in often is not locked out.
//!
//! All strangers together have one allowance for an account, whether it exists or not. A place from
//! where its user signed in before has one of its own, so that a flood from elsewhere does not keep
//! the user out there.
//!
//! What remains: while a flood lasts, nobody signs in to its target from a place that is new, and
//! anyone who shares the user's address shares its allowance. Each replica counts for itself.

use std::net::IpAddr;

use shared_middleware::rate_limit::{self, Attempts, MonotonicClock, RateLimit, client_network};

use crate::{error::Error, secret::sha256};

/// This many accounts, and this many places, are distinguished; the rest share one allowance each.
const TRACKED_MAX: usize = 100_000;

/// The two limits; none when they are off.
pub(crate) struct AccountLimits(Option<Both>);

struct Both {
    strangers: Attempts<Hash>,
    places: Attempts<Hash>,
}

type Hash = [u8; 32];

/// An attempt that may go on; none is counted when the limits are off. One that is dropped
/// has failed.
#[must_use]
pub(crate) struct Admitted(Option<rate_limit::Attempt<Hash>>);

/// Somebody at an address who wants to be this account's user.
pub(crate) struct Attempt {
    account: Hash,
    place: Hash,
    from: IpAddr,
}

// === impl AccountLimits ===

impl AccountLimits {
    /// As configured.
    pub(crate) fn new(limit: Option<RateLimit>) -> Self {
        let attempts = |limit| Attempts::new(limit, TRACKED_MAX, MonotonicClock);
        Self(limit.map(|limit| Both { strangers: attempts(limit), places: attempts(limit) }))
    }

    /// Lets an attempt begin, from a place that is known or not, unless too many have failed.
    pub(crate) async fn begin(&self, attempt: &Attempt, known: bool) -> Result<Admitted, Error> {
        let Some(Both { strangers, places }) = &self.0 else { return Ok(Admitted(None)) };
        let begun = match known {
            true => places.begin(&attempt.place).await,
            false => strangers.begin(&attempt.account).await,
        };
        let refused =
            |count: rate_limit::Count| Error::TooManyAttempts { retry_after_s: count.reset_s };
        begun.map(|attempt| Admitted(Some(attempt))).map_err(refused)
    }
}

// === impl Admitted ===

impl Admitted {
    /// The password was right, or was not looked at.
    pub(crate) fn uncounted(self) {
        if let Some(attempt) = self.0 {
            attempt.uncounted();
        }
    }
}

// === impl Attempt ===

impl Attempt {
    /// By the account's email, valid or not, and the client's address.
    pub(crate) fn new(email: &str, from: IpAddr) -> Self {
        let account = sha256(email.trim().to_lowercase().as_bytes());
        let place = client_network(from).to_string();
        // The first part has a fixed length: no two pairs give the same bytes.
        Self { account, place: sha256(&[&account, place.as_bytes()].concat()), from }
    }

    /// The client's address.
    pub(crate) const fn from(&self) -> IpAddr {
        self.from
    }

    /// The account and the address together.
    pub(crate) fn place(&self) -> Vec<u8> {
        self.place.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(email: &str, from: &str) -> Attempt {
        Attempt::new(email, from.parse().unwrap())
    }

    async fn failures(limits: &AccountLimits, attempt: &Attempt, known: bool) -> usize {
        let mut failed = 0;
        while failed < 30 && limits.begin(attempt, known).await.is_ok() {
            failed += 1;
        }
        failed
    }

    #[tokio::test]
    async fn strangers_share_an_allowance_and_a_known_place_has_its_own() {
        let limits = AccountLimits::new(Some(RateLimit::every(10, 3600)));
        for (email, from, known, failed) in [
            ("a@b.org", "192.0.2.1", false, 10),
            ("A@b.org ", "192.0.2.2", false, 0),
            ("a@b.org", "192.0.2.3", true, 10),
            ("a@b.org", "192.0.2.4", true, 10),
            ("c@b.org", "192.0.2.1", false, 10),
        ] {
            let attempt = attempt(email, from);
            assert_eq!(failures(&limits, &attempt, known).await, failed, "{email} {from}");
        }
    }

    #[tokio::test]
    async fn those_that_succeed_do_not_count() {
        let limits = AccountLimits::new(Some(RateLimit::every(10, 3600)));
        let stranger = attempt("a@b.org", "192.0.2.1");
        for _ in 0..30 {
            limits.begin(&stranger, false).await.unwrap().uncounted();
        }
        assert_eq!(failures(&limits, &stranger, false).await, 10);
    }

    #[tokio::test]
    async fn who_is_refused_is_told_when_to_come_back() {
        let limits = AccountLimits::new(Some(RateLimit::every(10, 60)));
        let stranger = attempt("a@b.org", "192.0.2.1");
        failures(&limits, &stranger, false).await;
        let refused = limits.begin(&stranger, false).await.err();
        let Some(Error::TooManyAttempts { retry_after_s }) = refused else {
            panic!("it is not refused")
        };
        assert!((1..=6).contains(&retry_after_s), "{retry_after_s}");
    }

    #[test]
    fn a_place_is_an_account_and_a_household() {
        let place = |email, from| attempt(email, from).place();
        assert_eq!(place("a@b.org", "2001:db8::1"), place("A@B.org", "2001:db8::2"));
        assert_ne!(place("a@b.org", "192.0.2.1"), place("a@b.org", "192.0.2.2"));
        assert_ne!(place("a@b.org", "192.0.2.1"), place("c@b.org", "192.0.2.1"));
    }
}
