//! Processes of the binary: started, and ended with anyone who started them.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

/// It takes less than a second, unless something is wrong.
const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOKS_EVERY: Duration = Duration::from_millis(20);
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// A process of the binary.
pub struct Process {
    name: String,
    child: Child,
}

/// A program that is asked to stop when the thread ends that starts it: our first one.
pub fn tied(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command.stdin(Stdio::null());
    command
}

/// The binary, [`tied`], without any setting of anyone who runs us.
pub fn command(binary: &Path, data: &Path) -> Command {
    let mut command = tied(binary);
    command.arg("--data-dir").arg(data);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MEDISYNC_") {
            command.env_remove(name);
        }
    }
    command
}

/// The binary of ours that is measured: the one that was named, else the one beside this program.
///
/// # Errors
/// When it is not there.
pub fn own_binary(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let binary = given.map_or_else(|| own.with_file_name("medisync"), Path::to_owned);
    binary.canonicalize().with_context(|| format!("{}: build it first", binary.display()))
}

/// A process and all that it has started.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut looked_at = 0;
    while let Some(pid) = all.get(looked_at) {
        let of = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        all.extend(
            of.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()),
        );
        looked_at += 1;
    }
    all
}

// === impl Process ===

impl Process {
    /// Starts a process that says `ready`; returns then, with its addresses by name.
    ///
    /// # Errors
    /// When it does not start, or is not ready in time: with the end of its log.
    pub fn start(
        mut command: Command,
        name: &str,
        log: &Path,
    ) -> anyhow::Result<(Self, HashMap<String, String>)> {
        command.stdout(Stdio::piped());
        let mut process = Self::spawn(command, name, log)?;
        let output = process.child.stdout.take().context("it has an output")?;
        let (tell, told) = mpsc::channel();
        // Read to its end, so that the process never waits for us to take its output.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.starts_with("ready ") {
                    let _ = tell.send(line);
                }
            }
        });
        let ready = told.recv_timeout(READY_WITHIN);
        let ready = ready.with_context(|| format!("{name} is not ready: {}", end_of(log)))?;
        Ok((process, urls(&ready)))
    }

    /// Starts a process that listens on this port of 127.0.0.1; returns when it does.
    ///
    /// # Errors
    /// When it does not start, or does not listen in time: with the end of its log.
    pub fn listening(
        mut command: Command,
        name: &str,
        log: &Path,
        port: u16,
    ) -> anyhow::Result<Self> {
        command.stdout(Stdio::null());
        let mut process = Self::spawn(command, name, log)?;
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = process.child.try_wait()?.is_some();
            ensure!(
                !ended && begun.elapsed() < READY_WITHIN,
                "{name} does not listen: {}",
                end_of(log)
            );
            process.ends_within(LOOKS_EVERY);
        }
        Ok(process)
    }

    fn spawn(mut command: Command, name: &str, log: &Path) -> anyhow::Result<Self> {
        let errors = fs::File::options().create(true).append(true).open(log)?;
        let child = command.stderr(errors).spawn();
        let child = child.with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child })
    }

    /// As it was called at its start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and its end.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.terminate();
        let ended = self.child.wait()?;
        ensure!(ended.success(), "{} ended with {ended}", self.name);
        Ok(())
    }

    fn terminate(&self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    /// Waits for its end, for so long at most.
    fn ends_within(&self, time: Duration) {
        if let Ok(end) = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())
            && let Ok(time) = Timespec::try_from(time)
        {
            let _ = poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&time));
        }
    }
}

impl Drop for Process {
    /// Those that have processes of their own end them when they are asked to stop, not when
    /// killed.
    fn drop(&mut self) {
        self.terminate();
        self.ends_within(STOPS_WITHIN);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn end_of(log: &Path) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// `ready URL (name) URL (name) …`
fn urls(ready: &str) -> HashMap<String, String> {
    let pairs = ready.trim_start_matches("ready ").split(") ");
    let pair = |pair: &str| {
        let (url, name) = pair.split_once(" (")?;
        Some((name.trim_end_matches(')').to_owned(), url.to_owned()))
    };
    pairs.filter_map(pair).collect()
}
