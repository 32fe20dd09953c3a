//! Back-off: how long to wait before the next attempt, after failures in a row.

use std::time::Duration;

use crate::clock::random_u128;

/// Each pause is twice the one before, up to the last. Of each pause a random part of its second
/// half is left out, so that replicas that failed together do not retry together.
#[derive(Clone, Copy, Debug)]
pub struct BackOff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl BackOff {
    /// Pauses of at most this much at first, and of at most that much in the end.
    pub const fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, next: first }
    }

    /// The pause after one more failure.
    pub fn next_pause(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(self.last);
        let half_ns = u64::try_from(longest.as_nanos() / 2).unwrap_or(u64::MAX);
        let left_out_ns = random_u128() % (u128::from(half_ns) + 1);
        longest - Duration::from_nanos(u64::try_from(left_out_ns).unwrap_or(half_ns))
    }

    /// After a success: the next pause is the first one again.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_last_and_begin_anew_after_a_success() {
        let ms = Duration::from_millis;
        let mut back_off = BackOff::new(ms(20), ms(100));
        for longest in [20, 40, 80, 100, 100] {
            let pause = back_off.next_pause();
            assert!(pause >= ms(longest) / 2 && pause <= ms(longest), "{pause:?} of {longest}");
        }
        back_off.reset();
        assert!(back_off.next_pause() <= ms(20));
    }

    #[test]
    fn those_who_failed_together_do_not_come_back_together() {
        let pause = || BackOff::new(Duration::from_secs(1), Duration::from_secs(1)).next_pause();
        let pauses: std::collections::BTreeSet<_> = (0..100).map(|_| pause()).collect();
        assert!(pauses.len() > 90);
    }
}
