//! What every part must hear at once: sign-ins that were ended, and that the keys changed.
//!
//! One task looks into the store and at the keys' folder, when woken by this process and every half
//! second for what others wrote. Polls wait on what it found, in memory: no poll asks the store.
//!
//! **Invariant:** what a poll answers is complete up to its `next`, since revocations commit in the
//! order of their ids (see the migrations).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kit::{db::DbError, task::Task};
use shared_middleware::{
    clock::Clock,
    error::{ErrorCode, Failure, causes},
    token::{POLL_HELD_S_MAX, RevocationPage, RevokedSession},
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{keys::Keys, store::Store};

/// How often the task looks when nobody woke it.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(500);
/// This many rows are read, and sent, at once.
const PAGE_MAX: u32 = 1000;

/// The feed of a running service.
pub(crate) struct Feed {
    store: Store,
    keys: Arc<Keys>,
    clock: Clock,
    wake: Notify,
    news: watch::Sender<News>,
}

/// What the task found.
#[derive(Default)]
struct News {
    /// By position; those whose last token has expired are left out.
    revoked: BTreeMap<i64, RevokedSession>,
    /// Everything up to here was read.
    last: i64,
    keys_version: String,
    /// The service ends: nobody is held any longer.
    stopping: bool,
}

// === impl Feed ===

impl Feed {
    /// Reads everything that there is.
    pub(crate) async fn open(store: Store, keys: Arc<Keys>, clock: Clock) -> Result<Self, DbError> {
        let news = News { keys_version: keys.version(), ..News::default() };
        let news = watch::Sender::new(news);
        let feed = Self { store, keys, clock, wake: Notify::new(), news };
        feed.look().await?;
        Ok(feed)
    }

    /// Makes the task look now: this process has committed a revocation.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// The task that looks.
    pub(crate) fn task(self: Arc<Self>) -> Task {
        Task::new("auth-feed", move |stop| async move { self.follow(stop).await })
    }

    /// What is new after this position for somebody who has these keys; waits for it, if need be.
    pub(crate) async fn poll(&self, after: i64, keys: &str) -> Result<RevocationPage, Failure> {
        let mut news = self.news.subscribe();
        if after > news.borrow().last {
            // Another replica was faster than our task; or this store is not the one that it was.
            self.look().await?;
        }
        let held = Duration::from_secs(POLL_HELD_S_MAX);
        // Whether something came or the time is over: the page says which.
        let _ = timeout(held, news.wait_for(|news| news.answers(after, keys))).await;
        let news = self.news.borrow();
        if news.stopping {
            return Err(Failure::new(ErrorCode::Unavailable, "the service is ending"));
        }
        Ok(news.page(after, self.clock.unix_s()))
    }

    async fn follow(&self, stop: CancellationToken) {
        let mut failing = false;
        loop {
            let looked = self.look().await;
            let keys = self.keys.look().await;
            let failed = match (&looked, &keys) {
                (Err(error), _) => Some(causes(error)),
                (_, Err(error)) => Some(causes(error)),
                _ => None,
            };
            match failed {
                // Once, until it works again: it is tried twice a second.
                Some(error) if !failing => {
                    tracing::error!(error, "revocation feed is behind its store")
                }
                None if failing => tracing::info!("revocation feed caught up"),
                _ => {}
            }
            failing = looked.is_err() || keys.is_err();
            self.tell_keys();
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep(LOOKED_AT_EVERY) => {}
                () = stop.cancelled() => break,
            }
        }
        self.news.send_modify(|news| news.stopping = true);
    }

    /// Reads what was committed since the last look.
    async fn look(&self) -> Result<(), DbError> {
        loop {
            let after = self.news.borrow().last;
            let read = self.store.revocations_after(after, PAGE_MAX).await?;
            let more = read.len() >= PAGE_MAX as usize;
            let now_s = self.clock.unix_s();
            self.news.send_if_modified(|news| news.add(read, now_s));
            if !more {
                return Ok(());
            }
        }
    }

    fn tell_keys(&self) {
        let version = self.keys.version();
        self.news.send_if_modified(|news| {
            let changed = news.keys_version != version;
            news.keys_version = version;
            changed
        });
    }
}

// === impl News ===

impl News {
    /// Whether there is something to wake polls for.
    fn add(&mut self, read: Vec<(i64, RevokedSession)>, now_s: i64) -> bool {
        let Some((last, _)) = read.last() else {
            self.revoked.retain(|_, revoked| revoked.until_s >= now_s);
            return false;
        };
        self.last = self.last.max(*last);
        self.revoked.extend(read);
        self.revoked.retain(|_, revoked| revoked.until_s >= now_s);
        true
    }

    /// A position of another store begins anew.
    const fn from(&self, after: i64) -> i64 {
        if after > self.last { 0 } else { after }
    }

    fn answers(&self, after: i64, keys: &str) -> bool {
        let revoked = self.revoked.range(self.from(after) + 1..).next().is_some();
        revoked || after > self.last || self.keys_version != keys || self.stopping
    }

    fn page(&self, after: i64, now_s: i64) -> RevocationPage {
        let after = self.from(after);
        let page = PAGE_MAX as usize;
        let mut newer = self.revoked.range(after + 1..);
        let told: Vec<_> = newer.by_ref().take(page).collect();
        // When more wait, the next poll begins where this page ends.
        let more = newer.next().is_some();
        let next = match told.last() {
            Some((position, _)) if more => **position,
            _ => self.last,
        };
        let revoked = told.into_iter().map(|(_, revoked)| *revoked).collect();
        RevocationPage { revoked, next, more, keys_version: self.keys_version.clone(), now_s }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn news(positions: std::ops::RangeInclusive<i64>) -> News {
        let session = |n: i64| Uuid::from_u128(n.unsigned_abs().into());
        let read = positions.map(|n| (n, RevokedSession { session: session(n), until_s: 100 }));
        let mut news = News { keys_version: "k".to_owned(), ..News::default() };
        news.add(read.collect(), 0);
        news
    }

    #[test]
    fn a_poll_is_answered_by_what_is_newer_and_held_otherwise() {
        let news = news(1..=3);
        assert!(news.answers(0, "k") && news.answers(2, "k"));
        assert!(!news.answers(3, "k"));
        assert!(news.answers(3, "") && news.answers(3, "other"));
        let page = news.page(2, 0);
        assert_eq!((page.revoked.len(), page.next), (1, 3));
    }

    #[test]
    fn a_position_of_another_store_begins_anew() {
        let news = news(1..=3);
        assert!(news.answers(9, "k"));
        let page = news.page(9, 0);
        assert_eq!((page.revoked.len(), page.next), (3, 3));
    }

    #[test]
    fn a_long_list_is_told_in_pages() {
        let news = news(1..=2500);
        let (mut after, mut told) = (0, 0);
        while news.answers(after, "k") {
            let page = news.page(after, 0);
            assert_eq!(page.more, page.next < 2500);
            told += page.revoked.len();
            after = page.next;
        }
        assert_eq!((told, after), (2500, 2500));
    }

    #[test]
    fn what_has_expired_is_forgotten_and_its_position_is_not() {
        let mut news = news(1..=3);
        assert!(!news.add(Vec::new(), 101));
        assert!(!news.answers(0, "k"));
        assert_eq!(news.page(0, 0).next, 3);
    }
}
