//! How often anybody may try to sign in to one account.
//!
//! All strangers together have one allowance for an account, whether it exists or not. A place from
//! where its user signed in before has one of its own, so that a flood from elsewhere does not keep
//! the user out there.
//!
//! What remains: while a flood lasts, nobody signs in to its target from a place that is new, and
//! whoever shares the user's address shares its allowance. Each replica counts for itself.

use std::net::IpAddr;

use shared_middleware::rate_limit::{Limiter, MonotonicClock, RateLimit, household};

use crate::{error::Error, secret::sha256};

/// So many accounts, and so many places, are told apart; the rest share one allowance each.
const TRACKED_MAX: usize = 100_000;

/// The two limits; none when they are off.
pub(crate) struct AccountLimits(Option<Both>);

struct Both {
    strangers: Limiter<Hash>,
    places: Limiter<Hash>,
}

type Hash = [u8; 32];

/// Somebody at an address who wants to be this account's user. Holds no more than hashes.
pub(crate) struct Attempt {
    account: Hash,
    place: Hash,
}

// === impl AccountLimits ===

impl AccountLimits {
    /// As configured.
    pub(crate) fn new(limit: Option<RateLimit>) -> Self {
        let limiter = |limit| Limiter::new(limit, TRACKED_MAX, MonotonicClock);
        Self(limit.map(|limit| Both { strangers: limiter(limit), places: limiter(limit) }))
    }

    pub(crate) const fn are_off(&self) -> bool {
        self.0.is_none()
    }

    /// Counts an attempt, from a place that is known or not.
    pub(crate) fn check(&self, attempt: &Attempt, known: bool) -> Result<(), Error> {
        let Some(Both { strangers, places }) = &self.0 else { return Ok(()) };
        let count =
            if known { places.check(&attempt.place) } else { strangers.check(&attempt.account) };
        if count.allowed {
            return Ok(());
        }
        Err(Error::TooManyAttempts { retry_after_s: count.reset_s })
    }
}

// === impl Attempt ===

impl Attempt {
    /// By the account's email, valid or not, and the client's address.
    pub(crate) fn new(email: &str, from: IpAddr) -> Self {
        let account = sha256(email.trim().to_lowercase().as_bytes());
        let place = household(from).to_string();
        // The first part has a fixed length: no two pairs give the same bytes.
        Self { account, place: sha256(&[&account, place.as_bytes()].concat()) }
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

    fn passed(limits: &AccountLimits, attempt: &Attempt, known: bool) -> usize {
        (0..30).filter(|_| limits.check(attempt, known).is_ok()).count()
    }

    #[test]
    fn strangers_share_an_allowance_and_a_known_place_has_its_own() {
        let limits = AccountLimits::new(Some(RateLimit::every(10, 3600)));
        assert_eq!(passed(&limits, &attempt("a@b.org", "192.0.2.1"), false), 10);
        assert_eq!(passed(&limits, &attempt("A@b.org ", "192.0.2.2"), false), 0);
        assert_eq!(passed(&limits, &attempt("a@b.org", "192.0.2.3"), true), 10);
        assert_eq!(passed(&limits, &attempt("a@b.org", "192.0.2.4"), true), 10);
        assert_eq!(passed(&limits, &attempt("c@b.org", "192.0.2.1"), false), 10);
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_back() {
        let limits = AccountLimits::new(Some(RateLimit::every(10, 60)));
        let stranger = attempt("a@b.org", "192.0.2.1");
        passed(&limits, &stranger, false);
        let Err(Error::TooManyAttempts { retry_after_s }) = limits.check(&stranger, false) else {
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
