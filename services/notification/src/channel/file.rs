//! Messages as files: `<event-id>.eml`, one for each event.
//!
//! A file appears whole or not at all: it is written under a temporary name, synced, and renamed. A
//! message that is delivered again, after a crash that forgot the first time, replaces the file by
//! the same bytes. Files hold personal data: the folder and they are the owner's alone.
//!
//! A few files are synced one by one; many by one sync of their file system (`syncfs`, which tells
//! of failed writes since Linux 5.8): cheaper, but it waits for what others wrote there, too.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use kit::files::{create, make_folder, sync_folder};
use rustix::fs::syncfs;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::{domain::Refusal, message::Rendered};

const FOLDER_MODE: u32 = 0o700;
/// This many files are many: only then is it worth to wait for what others wrote there.
const SYNCED_TOGETHER_MIN: usize = 8;

/// A folder for messages.
#[derive(Clone, Debug)]
pub(crate) struct FileChannel {
    folder: PathBuf,
}

// === impl FileChannel ===

impl FileChannel {
    /// This many files share one sync at most.
    pub(crate) const BATCH_MAX: u32 = 64;
    /// Writing them takes no longer: a disk that does is as good as gone.
    pub(crate) const BATCH_S_MAX: u64 = 30;

    /// Makes the folder if need be, and removes what a crash left half written.
    pub(crate) async fn open(folder: PathBuf) -> io::Result<Self> {
        let channel = Self { folder };
        let prepared = channel.clone();
        blocking(move || prepared.prepare()).await?;
        Ok(channel)
    }

    fn prepare(&self) -> io::Result<()> {
        make_folder(&self.folder)?;
        if fs::metadata(&self.folder)?.permissions().mode() & 0o777 != FOLDER_MODE {
            fs::set_permissions(&self.folder, Permissions::from_mode(FOLDER_MODE))?;
        }
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_temporary) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) async fn deliver(&self, messages: Vec<Rendered>) -> Vec<Result<(), Refusal>> {
        let count = messages.len();
        let channel = self.clone();
        let written = blocking(move || channel.write_all(&messages)).await;
        written.unwrap_or_else(|error| (0..count).map(|_| Err(passing(&error))).collect())
    }

    fn write_all(&self, messages: &[Rendered]) -> io::Result<Vec<Result<(), Refusal>>> {
        let together = messages.len() >= SYNCED_TOGETHER_MIN;
        let write = |message| {
            let file = self.write(message)?;
            if together { Ok(()) } else { file.sync_all() }
        };
        let written: Vec<_> = messages.iter().map(write).collect();
        if together {
            syncfs(File::open(&self.folder)?)?;
        }
        let named = messages
            .iter()
            .zip(written)
            .map(|(message, written)| written.and_then(|()| self.name(message.event_id)))
            .map(|named| named.map_err(|error| passing(&error)))
            .collect();
        // Only now is it sure that the new names outlive a crash.
        sync_folder(&self.folder)?;
        Ok(named)
    }

    /// Under a temporary name.
    fn write(&self, message: &Rendered) -> io::Result<File> {
        let mut file = create(&self.folder.join(temporary_name(message.event_id)))?;
        file.write_all(&message.bytes)?;
        Ok(file)
    }

    fn name(&self, event_id: Uuid) -> io::Result<()> {
        let temporary = self.folder.join(temporary_name(event_id));
        fs::rename(temporary, self.folder.join(format!("{event_id}.eml")))
    }
}

/// Another process on this folder may be writing it just now: then it has its own name already, or
/// that process cannot give it one and delivers again.
fn remove(temporary: &Path) -> io::Result<()> {
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn temporary_name(event_id: Uuid) -> String {
    format!(".{event_id}.tmp")
}

/// Whether a file is one of ours, half written.
fn is_temporary(name: &str) -> bool {
    let id = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
    id.is_some_and(|id| Uuid::try_parse(id).is_ok())
}

fn passing(error: &io::Error) -> Refusal {
    Refusal::Passing(format!("cannot write the file: {error}"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use lettre::address::Envelope;

    use super::*;

    fn message(id: u128, text: &str) -> Rendered {
        let to = vec!["grace@example.com".parse().unwrap()];
        Rendered {
            event_id: Uuid::from_u128(id),
            envelope: Envelope::new(None, to).unwrap(),
            bytes: text.as_bytes().to_vec(),
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_folder_and_its_files_are_the_owners_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/outbox");
        let channel = FileChannel::open(folder.clone()).await.unwrap();
        assert_eq!(channel.deliver(vec![message(1, "x")]).await, [Ok(())]);
        let file = folder.join(format!("{}.eml", Uuid::from_u128(1)));
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));

        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        FileChannel::open(folder.clone()).await.unwrap();
        assert_eq!(mode(&folder), 0o700);
    }

    #[tokio::test]
    async fn what_a_crash_left_half_written_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let kept = ["a.eml", ".tmp", ".notes.tmp"];
        for name in kept {
            fs::write(root.path().join(name), "x").unwrap();
        }
        fs::write(root.path().join(temporary_name(Uuid::from_u128(1))), "half").unwrap();
        FileChannel::open(root.path().to_owned()).await.unwrap();
        assert_eq!(names(root.path()), [".notes.tmp", ".tmp", "a.eml"]);
    }

    #[tokio::test]
    async fn a_message_delivered_twice_is_one_file() {
        let root = tempfile::tempdir().unwrap();
        let channel = FileChannel::open(root.path().to_owned()).await.unwrap();
        for _ in 0..2 {
            let batch = vec![message(1, "one"), message(2, "two")];
            assert_eq!(channel.deliver(batch).await, [Ok(()), Ok(())]);
        }
        let files = [1, 2].map(|id| format!("{}.eml", Uuid::from_u128(id)));
        assert_eq!(names(root.path()), files);
        assert_eq!(fs::read(root.path().join(&files[1])).unwrap(), b"two");
    }

    #[tokio::test]
    async fn of_many_messages_each_is_told_what_became_of_it() {
        let root = tempfile::tempdir().unwrap();
        let channel = FileChannel::open(root.path().to_owned()).await.unwrap();
        // Where a folder stands, no file can be put.
        let taken = root.path().join(format!("{}.eml", Uuid::from_u128(3)));
        fs::create_dir(&taken).unwrap();
        let batch: Vec<_> = (0..SYNCED_TOGETHER_MIN as u128).map(|id| message(id, "x")).collect();
        let told = channel.deliver(batch).await;
        let refused: Vec<_> = (0..told.len()).filter(|&at| told[at].is_err()).collect();
        assert_eq!((told.len(), refused), (SYNCED_TOGETHER_MIN, vec![3]), "{told:?}");
        assert!(matches!(told[3], Err(Refusal::Passing(_))));
        assert_eq!(
            fs::read(root.path().join(format!("{}.eml", Uuid::from_u128(7)))).unwrap(),
            b"x"
        );
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("outbox");
        let channel = FileChannel::open(folder.clone()).await.unwrap();
        fs::remove_dir(&folder).unwrap();
        let refused = channel.deliver(vec![message(1, "x")]).await;
        assert!(matches!(&refused[..], [Err(Refusal::Passing(_))]), "{refused:?}");
    }
}
