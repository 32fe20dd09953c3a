//! Which machine it was, and what else went on there.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    process::Command,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use serde::Serialize;

use crate::spread::median;

const SYNCS: usize = 200;

/// Where it was measured, and when.
#[derive(Serialize)]
pub struct Machine {
    /// Its model.
    pub processor: String,
    /// How many.
    pub processors: usize,
    /// Of memory.
    pub memory_gib: f64,
    /// Kernel and release.
    pub system: String,
    /// The kind of file system that data was on, and what it is on.
    pub file_system: String,
    /// How long a write of 4 KiB to it takes until it is said to be on disk: the median.
    pub sync_ms: f64,
    /// In UTC.
    pub date: String,
    /// Of the code that was measured; `+` when it was changed since.
    pub commit: String,
}

// === impl Machine ===

impl Machine {
    /// This one, with data in that folder.
    ///
    /// # Errors
    /// When it does not tell, or nothing can be written there.
    pub fn look(folder: &Path) -> anyhow::Result<Self> {
        let about = fs::read_to_string("/proc/cpuinfo")?;
        let value = |line: &str| Some(line.split_once(':')?.1.trim().to_owned());
        let model = about.lines().find(|line| line.starts_with("model name")).and_then(value);
        let system = rustix::system::uname();
        let (name, release) = (system.sysname().to_string_lossy(), system.release());
        let info = rustix::system::sysinfo();
        let memory = info.totalram as f64 * f64::from(info.mem_unit);
        Ok(Self {
            processor: model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            processors: std::thread::available_parallelism()?.get(),
            memory_gib: memory / f64::from(1 << 30),
            system: format!("{name} {}", release.to_string_lossy()),
            file_system: file_system(folder)?,
            sync_ms: sync_ms(folder)?,
            date: today()?,
            commit: commit(),
        })
    }
}

/// Of the last minute, five and fifteen.
///
/// # Errors
/// When the system does not tell.
pub fn load_average() -> io::Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}

fn file_system(folder: &Path) -> anyhow::Result<String> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    // `device place kind options …`: the last one that is nearest counts.
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let holds = mounts.filter(|(_, place, _)| folder.starts_with(place));
    let (device, _, kind) = holds.max_by_key(|(_, place, _)| place.len()).context("no mount")?;
    Ok(format!("{kind} on {device}"))
}

/// What every commit waits for at least once.
fn sync_ms(folder: &Path) -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[1; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(took))
}

#[expect(clippy::disallowed_methods, reason = "the report says when it was")]
fn today() -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now = jiff::Timestamp::from_second(i64::try_from(now.as_secs())?)?;
    Ok(now.strftime("%F %H:%M UTC").to_string())
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let told = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        output.status.success().then_some(told)
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "?".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let mark = if changed.is_some_and(|changed| !changed.is_empty()) { "+" } else { "" };
    format!("{commit}{mark}")
}
