//! Processes of the binary: started, and ended with whoever started them.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU16, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};

/// Below those that the system gives to whoever asks for any.
const PORTS: std::ops::Range<u16> = 12_000..19_000;
/// It takes less than a second, unless something is wrong.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A process of the binary.
pub(crate) struct Process {
    name: String,
    child: Child,
}

/// The binary, without any setting of whoever runs us.
///
/// It is told to stop when the thread ends that starts it: our first one.
pub(crate) fn command(binary: &Path, data: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(binary).arg("--data-dir").arg(data);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MEDISYNC_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A port of 127.0.0.1 that nobody listens on, given out once.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mut free = PORTS.filter_map(|_| {
        let port = PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    });
    free.next().context("there is no free port")
}

// === impl Process ===

impl Process {
    /// Starts it; returns when it is ready, with its addresses by name.
    pub(crate) fn start(
        mut command: Command,
        name: &str,
        log: &Path,
    ) -> anyhow::Result<(Self, HashMap<String, String>)> {
        let errors = fs::File::options().create(true).append(true).open(log)?;
        command.stdout(Stdio::piped()).stderr(errors);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut process = Self { name: name.to_owned(), child };
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
        let ready = told.recv_timeout(READY_WITHIN).with_context(|| {
            let log = fs::read_to_string(log).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(10).collect();
            format!("{name} is not ready: {}", last.join("\n"))
        })?;
        Ok((process, urls(&ready)))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and its end, which is a good one.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.terminate();
        let ended = self.child.wait()?;
        ensure!(ended.success(), "{} ended with {ended}", self.name);
        Ok(())
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
