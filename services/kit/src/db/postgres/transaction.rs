//! A transaction that is begun with its first statement, in one flight: to begin by itself would be
//! a round trip more.

use std::future::Future;

use futures_util::{
    FutureExt as _,
    future::{try_join, try_join3},
};
use tokio_postgres::{Client, Error};

/// How a transaction is begun: for what it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Begin {
    /// It writes, and each statement sees what was committed before it.
    Write,
    /// It reads: every statement sees what the first one saw.
    Read,
    /// The same, and statements are planned anew for the values that they are given.
    Search,
}

/// When a commit is answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Commit {
    /// When it is on disk.
    Durable,
    /// Before: should the server crash within moments, it never was.
    Soon,
}

/// A transaction. It is rolled back when it is dropped, for which nobody waits.
pub(super) struct Transaction<'c> {
    client: &'c Client,
    /// What begins it, while it is not begun.
    begin: Option<&'static str>,
}

// === impl Begin ===

impl Begin {
    const fn sql(self) -> &'static str {
        match self {
            Self::Write => "start transaction isolation level read committed",
            Self::Read => "start transaction isolation level repeatable read, read only",
            Self::Search => {
                "start transaction isolation level repeatable read, read only;
                 set local plan_cache_mode = force_custom_plan; set local enable_seqscan = on;
                 set local enable_hashjoin = on; set local enable_mergejoin = on"
            }
        }
    }
}

// === impl Transaction ===

impl<'c> Transaction<'c> {
    pub(super) const fn new(client: &'c Client, begin: Begin) -> Self {
        Self { client, begin: Some(begin.sql()) }
    }

    pub(super) const fn client(&self) -> &'c Client {
        self.client
    }

    /// Waits for a statement; what begins the transaction is sent before it, if it was not yet.
    pub(super) async fn run<T>(
        &mut self,
        statement: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match self.begin.take() {
            None => statement.await,
            // Both are sent in this order before the first answer is waited for.
            Some(begin) => {
                let begun = self.client.batch_execute(begin);
                try_join(begun, statement).await.map(|((), answer)| answer)
            }
        }
    }

    /// Whether anything was sent.
    pub(super) const fn is_begun(&self) -> bool {
        self.begin.is_none()
    }

    /// Commits, after the last statements, which are sent with it: where one of them fails, what
    /// follows is a rollback to the server.
    pub(super) async fn commit<T>(
        mut self,
        when: Commit,
        last: impl Future<Output = Result<T, Error>>,
    ) -> Result<(), Error> {
        let commit = match when {
            Commit::Durable => "commit",
            Commit::Soon => "set local synchronous_commit = off; commit",
        };
        // From here on there is nothing to roll back: what fails to commit is not committed.
        let commit = self.client.batch_execute(commit);
        match self.begin.replace("") {
            None => try_join(last, commit).await.map(drop),
            Some(begin) => {
                try_join3(self.client.batch_execute(begin), last, commit).await.map(drop)
            }
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.begin.is_none() {
            // It is sent when it is polled first, before the connection's next statement.
            let _ = self.client.batch_execute("rollback").now_or_never();
        }
    }
}
