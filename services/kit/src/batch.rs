//! Work that is done in groups: what waits while a group is worked on is the next group. So one
//! alone is done at once, and many share what a group costs, such as a commit.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, join_all, ready},
};
use tokio::sync::oneshot;

use crate::db::{Db, DbError};

/// Groups items, works on each group, and returns each caller its result.
pub struct Batch<I, O>(Arc<Inner<I, O>>);

struct Inner<I, O> {
    /// This many are in a group at most.
    size_max: usize,
    /// This many groups are worked on at once.
    groups_max: usize,
    work: Work<I, O>,
    queue: Mutex<Queue<I, O>>,
}

/// This many items are committed in one transaction at most.
const COMMIT_MAX: usize = 64;
/// While one group is committed, the next one is written.
const COMMITS_AT_ONCE: usize = 2;

/// The work of a group in one transaction; none for each item that must be done alone.
type Together<I, T> = fn(Db, Arc<[I]>) -> BoxFuture<'static, Result<Vec<Option<T>>, DbError>>;
/// The work of one item in a transaction of its own.
type Alone<I, T, E> = fn(Db, I) -> BoxFuture<'static, Result<T, E>>;

/// Comes to as many results as there were items, in their order.
type Work<I, O> = Box<dyn Fn(Vec<I>) -> BoxFuture<'static, Vec<O>> + Send + Sync>;

struct Queue<I, O> {
    waiting: Vec<(I, oneshot::Sender<O>)>,
    /// This many tasks work on groups, until nothing waits.
    workers: usize,
}

/// Counts a worker down whose work panics.
struct Working<'i, I, O>(&'i Inner<I, O>);

/// Commits a group in one transaction. What comes to none there, such as a row that a
/// constraint refuses, is done again by itself, and so is the whole group when its transaction
/// fails. When the outcome of the commit is unknown, all of them fail as unavailable.
async fn commit_together<I: Clone, O, E: From<DbError>>(
    db: Db,
    group: Vec<I>,
    together: impl FnOnce(Db, Arc<[I]>) -> BoxFuture<'static, Result<Vec<Option<O>>, DbError>>,
    alone: impl Fn(Db, I) -> BoxFuture<'static, Result<O, E>>,
) -> Vec<Result<O, E>> {
    let group = Arc::<[I]>::from(group);
    let done = match &*group {
        [_] => vec![None],
        _ => match together(db.clone(), Arc::clone(&group)).await {
            Ok(done) => done,
            Err(DbError::Unavailable(why)) => {
                let why = why.to_string();
                let told = |_| Err(DbError::Unavailable(why.clone().into()).into());
                return group.iter().map(told).collect();
            }
            Err(_) => group.iter().map(|_| None).collect(),
        },
    };
    let ended = done.into_iter().zip(&*group).map(|(done, item)| match done {
        Some(done) => ready(Ok(done)).left_future(),
        None => alone(db.clone(), item.clone()).right_future(),
    });
    join_all(ended).await
}

// === impl Batch ===

impl<I: Send + 'static, O: Send + 'static> Batch<I, O> {
    /// Works on groups of this many items at most, this many groups at once.
    pub fn new<F>(size_max: usize, groups_max: usize, work: F) -> Self
    where
        F: Fn(Vec<I>) -> BoxFuture<'static, Vec<O>> + Send + Sync + 'static,
    {
        let queue = Mutex::new(Queue { waiting: Vec::new(), workers: 0 });
        Self(Arc::new(Inner { size_max, groups_max, work: Box::new(work), queue }))
    }

    /// Waits until this was worked on; none when that panicked. It is finished even if the caller
    /// goes away.
    pub async fn try_add(&self, item: I) -> Option<O> {
        let (tell, told) = oneshot::channel();
        let needs_worker = {
            let mut queue = self.0.queue();
            queue.waiting.push((item, tell));
            let needs_worker = queue.workers < self.0.groups_max;
            queue.workers += usize::from(needs_worker);
            needs_worker
        };
        if needs_worker {
            // A task of its own: a caller that goes away takes nobody's work along.
            let inner = Arc::clone(&self.0);
            tokio::spawn(async move { inner.serve().await });
        }
        told.await.ok()
    }
}

impl<I, T, E> Batch<I, Result<T, E>>
where
    I: Clone + Send + Sync + 'static,
    T: Send + 'static,
    E: From<DbError> + Send + 'static,
{
    /// Groups that are each committed in one transaction: `together` does the work of a group in
    /// one, `alone` that of one item (see [`commit_together`]).
    pub fn of_commits(db: Db, together: Together<I, T>, alone: Alone<I, T, E>) -> Self {
        Self::new(COMMIT_MAX, COMMITS_AT_ONCE, move |group| {
            commit_together(db.clone(), group, together, alone).boxed()
        })
    }

    /// Waits until this was committed, or refused. Work that panicked leaves it unknown.
    pub async fn add(&self, item: I) -> Result<T, E> {
        let unknown = || Err(DbError::Unavailable("a group's work panicked".into()).into());
        self.try_add(item).await.unwrap_or_else(unknown)
    }
}

impl<I, O> Clone for Batch<I, O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

// === impl Inner ===

impl<I, O> Inner<I, O> {
    /// Works on what waits, until nothing does.
    async fn serve(&self) {
        let _working = Working(self);
        loop {
            let group = self.queue().next(self.size_max);
            if group.is_empty() {
                return;
            }
            let (items, callers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            for (done, caller) in (self.work)(items).await.into_iter().zip(callers) {
                // One that has gone away needs no word.
                let _ = caller.send(done);
            }
        }
    }

    /// It is not held while a group is worked on.
    fn queue(&self) -> MutexGuard<'_, Queue<I, O>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I, O> Drop for Working<'_, I, O> {
    fn drop(&mut self) {
        // Something may wait: anyone who comes next is its worker.
        if std::thread::panicking() {
            self.0.queue().workers -= 1;
        }
    }
}

// === impl Queue ===

impl<I, O> Queue<I, O> {
    /// When it is empty, anyone who asks works no longer.
    fn next(&mut self, size_max: usize) -> Vec<(I, oneshot::Sender<O>)> {
        self.workers -= usize::from(self.waiting.is_empty());
        let later = self.waiting.split_off(self.waiting.len().min(size_max));
        mem::replace(&mut self.waiting, later)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{FutureExt as _, future::join_all};
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn what_waits_is_worked_on_together_and_everybody_is_told_theirs() {
        let (groups, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (counted, passed) = (Arc::clone(&groups), Arc::clone(&gate));
        let batch = Batch::new(64, 1, move |items: Vec<u32>| {
            counted.fetch_add(1, Ordering::SeqCst);
            let gate = Arc::clone(&passed);
            async move {
                gate.acquire().await.unwrap().forget();
                items.into_iter().map(|item| item * 2).collect()
            }
            .boxed()
        });
        let asked = join_all((0..200).map(|n| batch.try_add(n)));
        let (told, ()) = tokio::join!(asked, async { gate.add_permits(100) });
        let wanted: Vec<_> = (0..200).map(|n| Some(n * 2)).collect();
        assert_eq!(told, wanted);
        assert_eq!(groups.load(Ordering::SeqCst), 200_usize.div_ceil(64));
    }

    #[tokio::test]
    async fn after_a_panic_it_goes_on() {
        let batch = Batch::new(64, 1, |items: Vec<u32>| {
            async move {
                assert!(!items.contains(&7), "seven");
                items
            }
            .boxed()
        });
        assert_eq!(batch.try_add(7).await, None);
        assert_eq!(batch.try_add(8).await, Some(8));
    }
}
