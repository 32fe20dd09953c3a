//! The writer's thread: takes what waits, commits it together, and notifies the callers.

use rusqlite::{Connection, ErrorCode};
use tokio::sync::mpsc;

use super::{
    control,
    disk_reserve::DiskReserve,
    error::{failed, unavailable},
};
use crate::{
    audit::Appending,
    db::{DbError, Metrics, WriteClass},
};

/// This many share one commit at most.
const GROUP_MAX: usize = 64;
/// The log is written into the file when it has this many pages: as SQLite would; with little room.
const CHECKPOINT_PAGES: (u32, u32) = (1000, 64);
/// Work for the writer.
pub(super) struct Job {
    pub(super) purpose: WriteClass,
    /// Runs in the open transaction, and returns whom to notify of the commit.
    pub(super) work: Work,
}

type Work = Box<dyn FnOnce(&mut Connection, &mut Appending) -> Outcome + Send>;

/// Whether a job's own part is to be kept, and who waits for the commit.
pub(super) struct Outcome {
    pub(super) keep: bool,
    pub(super) tell: Tell,
}

/// Notifies the caller whether the commit worked.
type Tell = Box<dyn FnOnce(Result<(), DbError>) + Send>;

/// The thread's life.
pub(super) fn write_all(
    mut connection: Connection,
    mut jobs: mpsc::Receiver<Job>,
    mut reserve: DiskReserve,
    mut appending: Appending,
    metrics: &Metrics,
) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    while jobs.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
        if reserve.is_spent() {
            if reserve.renew() {
                tracing::info!("disk has space again, accepting writes");
                checkpoint_at(&connection, CHECKPOINT_PAGES.0);
            } else {
                // Anyone else who waits is told that the store is not available.
                group.retain(|job| job.purpose == WriteClass::AuditLog);
            }
        }
        let began = control(&connection, "begin immediate").map_err(failed);
        if let Err(error) = began {
            metrics.failed(&error);
            tracing::error!(error = %error, "cannot begin a transaction");
            // The jobs are dropped unrun: anyone who waits is told that the store is not available.
            group.clear();
            continue;
        }
        let waiting: Vec<_> =
            group.drain(..).map(|job| run_job(&mut connection, &mut appending, job)).collect();
        let committed = control(&connection, "commit");
        if let Err(error) = &committed {
            appending.end_chain();
            let _ = control(&connection, "rollback");
            if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                reserve.spend();
                checkpoint_at(&connection, CHECKPOINT_PAGES.1);
            }
        }
        appending.commit();
        let mut committed = committed.map_err(failed);
        for tell in waiting.into_iter().flatten() {
            let told = match &committed {
                Ok(()) => Ok(()),
                Err(error) => Err(unavailable(error.to_string())),
            };
            tell(told);
        }
        if let Err(error) = std::mem::replace(&mut committed, Ok(())) {
            metrics.failed(&error);
            tracing::error!(error = shared_middleware::error::causes(&error), "commit failed");
        }
    }
}

fn checkpoint_at(connection: &Connection, pages: u32) {
    let set = connection.execute_batch(&format!("pragma wal_autocheckpoint = {pages}"));
    if let Err(error) = set {
        tracing::warn!(error = %error, "cannot set wal_autocheckpoint");
    }
}

/// Runs a job in a savepoint of its own, so that its failure takes nothing else along.
fn run_job(connection: &mut Connection, appending: &mut Appending, job: Job) -> Option<Tell> {
    if connection.is_autocommit() {
        // SQLite has rolled back the whole group, as it does on a full disk: what follows would be
        // committed by itself.
        return None;
    }
    control(connection, "savepoint job").ok()?;
    let before = appending.uncommitted();
    let Outcome { keep, tell } = (job.work)(connection, appending);
    if !keep {
        appending.roll_back_to(before);
    }
    let undone = if keep { Ok(()) } else { control(connection, "rollback to job") };
    let ended = undone.and_then(|()| control(connection, "release job"));
    if ended.is_err() && !keep {
        // What failed may still be there: then nothing of the group is kept.
        let _ = control(connection, "rollback");
    }
    // A job whose part could not be kept drops its sender: the caller is told that the store is not
    // available.
    (ended.is_ok() || !keep).then_some(tell)
}
