//! File descriptors: how many this process may have, and who gets the last ones.
//!
//! Anyone who connects takes one, and there are always more who want to connect. So the limit is
//! raised as far as the system allows, and some are kept back: when few are left, clients at the
//! front door are turned away, with fewer still the callers of services, so that stores,
//! certificates and the admin listener find some to the end.
//!
//! Nobody counts: a new descriptor has the lowest number that is free (POSIX), so one with a high
//! number says that all below it are taken.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::time::{Instant, sleep};

/// Scarce descriptors are logged this often at most.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// After a failed accept others get time to close some.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Who would take a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    /// A client at the front door.
    Client,
    /// Anyone who calls a service: the gateway, most of all.
    Caller,
}

/// Descriptors that are held for who must be let in when there are no others.
#[derive(Debug)]
pub struct Reserve {
    held: Mutex<Vec<OwnedFd>>,
    count: usize,
}

/// Says the same thing once in a while.
struct Told(Mutex<Option<Instant>>);

static TOLD: Told = Told(Mutex::new(None));

/// This many may be open at once.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the limit as far as it may be raised without anybody's permission; how far that was.
///
/// # Errors
/// When the system refuses.
pub fn raise_limit() -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(limit())
}

/// Whether this newest of all descriptors may be kept by who would take it.
pub fn may_keep(newest: &impl AsRawFd, taker: Taker) -> bool {
    let number = u64::try_from(newest.as_raw_fd()).unwrap_or_default();
    number < limit().saturating_sub(taker.leaves(limit()))
}

/// Whether this failed for want of a descriptor.
pub fn is_exhausted(error: &io::Error) -> bool {
    let errnos = [Errno::MFILE, Errno::NFILE];
    errnos.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Says that there are too few, if that was not said just now.
pub fn tell_scarce() {
    if TOLD.is_due() {
        tracing::warn!(
            limit = limit(),
            "file descriptors run out: connections are turned away until some are closed; raise \
             the hard limit of open files (ulimit -Hn, LimitNOFILE= of systemd, --ulimit of docker)"
        );
    }
}

/// What an accept loop does after a failure, so that it neither spins nor fills the log.
pub async fn accept_failed(error: &io::Error) {
    if is_exhausted(error) {
        tell_scarce();
    } else {
        tracing::warn!(error = %error, "cannot accept");
    }
    sleep(ACCEPT_AGAIN_AFTER).await;
}

// === impl Taker ===

impl Taker {
    /// This many of a limit it leaves to those who matter more.
    fn leaves(self, limit: u64) -> u64 {
        match self {
            Self::Client => (limit / 4).min(512),
            Self::Caller => (limit / 8).min(128),
        }
    }
}

// === impl Reserve ===

impl Reserve {
    /// Of this many.
    ///
    /// # Errors
    /// When there are not this many.
    pub fn of(count: usize) -> io::Result<Self> {
        let reserve = Self { held: Mutex::default(), count };
        reserve.refill()?;
        Ok(reserve)
    }

    /// Gives one up, so that it can be taken; returns whether there was one.
    pub fn release_one(&self) -> bool {
        self.held().pop().is_some()
    }

    /// Takes back what was given up.
    ///
    /// # Errors
    /// When there are not this many now.
    pub fn refill(&self) -> io::Result<()> {
        let mut held = self.held();
        while held.len() < self.count {
            held.push(File::open("/dev/null")?.into());
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Told ===

impl Told {
    fn is_due(&self) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = told.is_none_or(|at| at.elapsed() >= TOLD_EVERY);
        if due {
            *told = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_is_told_once_a_minute() {
        let told = Told(Mutex::new(None));
        assert!(told.is_due());
        for _ in 0..59 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(!told.is_due());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(told.is_due() && !told.is_due());
    }

    #[test]
    fn clients_leave_more_than_callers_and_callers_some() {
        for limit in [256, 1024, 8192, 1 << 30] {
            let (client, caller) = (Taker::Client.leaves(limit), Taker::Caller.leaves(limit));
            assert!(client > caller && caller >= 32 && client <= limit / 4, "{limit}");
        }
    }

    #[test]
    fn a_reserve_gives_what_it_holds_and_takes_it_back() {
        let reserve = Reserve::of(2).unwrap();
        assert_eq!([(); 3].map(|()| reserve.release_one()), [true, true, false]);
        reserve.refill().unwrap();
        assert!(reserve.release_one());
    }

    #[test]
    fn want_of_descriptors_is_told_from_other_failures() {
        assert!(is_exhausted(&io::Error::from_raw_os_error(Errno::MFILE.raw_os_error())));
        assert!(!is_exhausted(&io::Error::from(io::ErrorKind::ConnectionAborted)));
    }
}
