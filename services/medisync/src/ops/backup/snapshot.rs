//! One consistent state of several SQLite files that others are writing.
//!
//! For a moment nobody may write any of them: then a read transaction is opened on each. The locks
//! go, writers go on, and the copies are made from the read transactions at leisure.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use shared_middleware::clock::Clock;

/// One store's lock is waited for so long while the others' are held; then all are let go.
const LOCK_WITHIN: Duration = Duration::from_millis(200);
/// All of them together are tried for so long.
const CUT_WITHIN: Duration = Duration::from_secs(15);
/// Pages that are copied at once.
const PAGES: i32 = 256;

/// The stores as they were at one moment.
pub(super) struct StoresSnapshot {
    pub(super) at: Timestamp,
    pub(super) snapshots: Vec<Snapshot>,
    /// Names of the messages that were there then.
    pub(super) messages: Vec<String>,
}

/// One store as it was.
pub(super) struct Snapshot {
    /// Its name in the backup.
    pub(super) name: String,
    /// In a read transaction.
    connection: Connection,
    bytes: u64,
}

// === impl StoresSnapshot ===

impl StoresSnapshot {
    /// Takes it. Messages are listed in the same moment: each is of a row in a store.
    pub(super) fn take<P: AsRef<Path>>(
        stores: &[(String, P)],
        outbox: &Path,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        let open = |(name, path): &(String, P)| {
            let path = path.as_ref();
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let opened = Connection::open_with_flags(path, flags);
            let connection = opened.with_context(|| format!("cannot open {}", path.display()))?;
            connection.busy_timeout(LOCK_WITHIN)?;
            Ok::<_, anyhow::Error>((name.clone(), connection))
        };
        let locks = stores.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let readers = stores.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let began = Instant::now();
        while let Err((name, error)) = lock(&locks) {
            if !is_busy(&error) || began.elapsed() > CUT_WITHIN {
                return Err(error).with_context(|| format!("cannot lock {name}"));
            }
        }
        let snapshots = readers.into_iter().map(|(name, connection)| {
            let begun = begin_reading(&connection);
            let bytes = begun.with_context(|| format!("cannot read {name}"))?;
            Ok(Snapshot { name, connection, bytes })
        });
        let snapshots = snapshots.collect::<anyhow::Result<_>>()?;
        let (messages, at) = (messages(outbox)?, clock.now());
        // Writers go on from here.
        drop(locks);
        Ok(Self { at, snapshots, messages })
    }

    /// How much there is to copy.
    pub(super) fn bytes(&self) -> u64 {
        self.snapshots.iter().map(|snapshot| snapshot.bytes).sum()
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Copies it into a new file, and looks whether the copy is whole. `watch` gets the bytes
    /// that are done.
    pub(super) fn copy(&self, path: &Path, watch: impl FnMut(u64)) -> anyhow::Result<()> {
        let copied = self.copy_pages(path, watch).and_then(|()| check(path));
        match copied.with_context(|| format!("cannot copy {}", self.name))?.as_str() {
            "ok" => {}
            wrong => bail!("{} is damaged: {wrong}", self.name),
        }
        let synced = std::fs::File::open(path).and_then(|file| file.sync_all());
        synced.with_context(|| format!("cannot write {}", path.display()))
    }

    fn copy_pages(&self, path: &Path, mut watch: impl FnMut(u64)) -> rusqlite::Result<()> {
        let mut target = Connection::open(path)?;
        let backup = Backup::new(&self.connection, &mut target)?;
        loop {
            let step = backup.step(PAGES)?;
            let progress = backup.progress();
            let left = u64::try_from(progress.remaining).unwrap_or(0);
            let all = u64::try_from(progress.pagecount).unwrap_or(0).max(1);
            watch(self.bytes - self.bytes * left.min(all) / all);
            match step {
                StepResult::Done => return Ok(()),
                // Nobody else has the target, and the source is in a transaction of ours.
                _ => continue,
            }
        }
    }
}

/// All or none.
fn lock(stores: &[(String, Connection)]) -> Result<(), (String, rusqlite::Error)> {
    for (place, (name, connection)) in stores.iter().enumerate() {
        if let Err(error) = connection.execute_batch("begin immediate") {
            for (_, locked) in &stores[..place] {
                let _ = locked.execute_batch("rollback");
            }
            return Err((name.clone(), error));
        }
    }
    Ok(())
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}

/// Its size. A transaction begins with its first read, not before.
fn begin_reading(connection: &Connection) -> rusqlite::Result<u64> {
    connection.execute_batch("begin")?;
    connection.query_row("select count(*) from sqlite_schema", [], |_| Ok(()))?;
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let bytes = number("pragma page_count")? * number("pragma page_size")?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// A single file, without a write-ahead log beside it; then what SQLite says of it.
fn check(path: &Path) -> rusqlite::Result<String> {
    let copy = Connection::open(path)?;
    copy.query_row("pragma journal_mode = delete", [], |_| Ok(()))?;
    copy.query_row("pragma integrity_check(1)", [], |row| row.get(0))
}

fn messages(outbox: &Path) -> anyhow::Result<Vec<String>> {
    if !outbox.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    let entries = std::fs::read_dir(outbox);
    for entry in entries.with_context(|| format!("cannot read {}", outbox.display()))? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        names.extend((name.ends_with(".eml") && !name.starts_with('.')).then_some(name));
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::{
        path::PathBuf,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use super::*;

    fn store(folder: &Path, name: &str) -> (String, PathBuf) {
        let path = folder.join(name);
        let connection = Connection::open(&path).unwrap();
        let sql = "pragma journal_mode = wal; create table t (n integer primary key, fill blob);";
        connection.execute_batch(sql).unwrap();
        (name.to_owned(), path)
    }

    fn insert(connection: &Connection, rows: u32) {
        connection.execute_batch("begin immediate").unwrap();
        for _ in 0..rows {
            connection.execute("insert into t (fill) values (randomblob(500))", []).unwrap();
        }
        connection.execute_batch("commit").unwrap();
    }

    fn count(path: &Path) -> i64 {
        let connection = Connection::open(path).unwrap();
        connection.query_row("select count(*) from t", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_copy_is_of_the_moment_of_the_cut_whatever_is_written_during_it() {
        let folder = tempfile::tempdir().unwrap();
        let stores = [store(folder.path(), "a.db")];
        let writer = Connection::open(&stores[0].1).unwrap();
        writer.busy_timeout(Duration::from_secs(5)).unwrap();
        insert(&writer, 5000);
        let cut = StoresSnapshot::take(&stores, folder.path(), &Clock::system()).unwrap();
        let copy = folder.path().join("copy.db");
        let mut steps = 0;
        cut.snapshots[0]
            .copy(&copy, |_| {
                steps += 1;
                insert(&writer, 100);
                writer.execute("update t set fill = randomblob(400) where n < 500", []).unwrap();
                // The log's pages go into the file as far as the reader lets them.
                let sql = "pragma wal_checkpoint(passive)";
                writer.query_row(sql, [], |_| Ok(())).unwrap();
            })
            .unwrap();
        assert!(steps > 2, "{steps} steps");
        assert_eq!(count(&copy), 5000);
        assert_eq!(count(&stores[0].1), 5000 + 100 * steps);
        assert!(!folder.path().join("copy.db-wal").exists());
    }

    #[test]
    fn the_stores_are_cut_at_one_moment() {
        let folder = tempfile::tempdir().unwrap();
        // Many, so that a cut that took one after the other would be seen to.
        let names = ["a.db", "b.db", "c.db", "d.db", "e.db", "f.db"];
        let stores = names.map(|name| store(folder.path(), name));
        let stop = Arc::new(AtomicBool::new(false));
        let writing = std::thread::spawn({
            let (stop, ends) =
                (Arc::clone(&stop), [0, 5].map(|place: usize| stores[place].clone()));
            move || {
                let writers = ends.map(|(_, path)| Connection::open(path).unwrap());
                writers.iter().for_each(|w| w.busy_timeout(Duration::from_secs(5)).unwrap());
                // The first, then the last: never is the last ahead.
                while !stop.load(Ordering::SeqCst) {
                    writers.iter().for_each(|writer| insert(writer, 1));
                }
            }
        });
        for _ in 0..300 {
            let cut = StoresSnapshot::take(&stores, folder.path(), &Clock::system()).unwrap();
            let count = |place: usize| {
                let sql = "select count(*) from t";
                let of = &cut.snapshots[place].connection;
                of.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
            };
            let ahead = count(0) - count(5);
            assert!([0, 1].contains(&ahead), "{ahead}");
        }
        stop.store(true, Ordering::SeqCst);
        writing.join().unwrap();
    }
}
