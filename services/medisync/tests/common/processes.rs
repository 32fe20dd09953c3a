//! Processes of the binary: started on ports of their own, ended in every way there is.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use crate::containers;

/// In the order in which requests and events reach them.
pub(crate) const PARTS: [&str; 6] =
    ["gateway", "auth", "patient", "billing", "analytics", "notification"];
/// Those with a store.
pub(crate) const SERVICES: [&str; 5] = ["auth", "patient", "billing", "analytics", "notification"];

/// A process of the binary.
pub(crate) struct Process {
    /// Its part; `up` when it is all of them.
    pub(crate) name: String,
    child: Child,
    /// Its container's name, if it runs in one.
    container: Option<String>,
    output: Option<BufReader<ChildStdout>>,
}

/// The binary under test.
pub(crate) fn medisync() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medisync"));
    command.env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MEDISYNC_")) {
        command.env_remove(name);
    }
    command
}

/// The same, where `ulimit` was called with these before.
pub(crate) fn medisync_under(limits: &[&str]) -> Command {
    let binary = medisync();
    let limits: String = limits.iter().map(|limit| format!("ulimit {limit} && ")).collect();
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{limits}exec \"$0\" \"$@\"")).arg(binary.get_program());
    for (name, value) in binary.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null());
    command
}

fn on(mut command: Command, args: &[&str], data: &Path, all: Vec<(String, String)>) -> Command {
    command.args(args).arg("--data-dir").arg(data).envs(all);
    command
}

/// Every listener on a free port, and what the environment says.
fn listeners(environment: &[(String, String)]) -> Vec<(String, String)> {
    let free = "127.0.0.1:0".to_owned();
    let listen = PARTS.iter().chain(&["admin"]);
    let mut all: BTreeMap<String, String> = listen
        .map(|part| (format!("MEDISYNC_{}__LISTEN", part.to_uppercase()), free.clone()))
        .chain([("MEDISYNC_BILLING__GRPC_LISTEN".to_owned(), free.clone())])
        .collect();
    all.extend(environment.iter().cloned());
    all.into_iter().collect()
}

/// A port of 127.0.0.1 that nobody listens on, given out once.
pub(crate) fn free_port() -> u16 {
    testbed::free_port().unwrap()
}

/// As an operator would, before the parts start.
pub(crate) fn issue_certificates(data: &Path) {
    let pki = |arguments: &[&str]| {
        let done = medisync().arg("--data-dir").arg(data).arg("pki").args(arguments).output();
        assert!(done.unwrap().status.success(), "{arguments:?}");
    };
    pki(&["init"]);
    PARTS.iter().for_each(|part| pki(&["issue", part]));
}

// === impl Process ===

impl Process {
    /// Starts it on free ports, but for what the environment says.
    pub(crate) fn start(
        args: &[&str],
        data: &Path,
        environment: &[(String, String)],
        folder: &Path,
    ) -> Self {
        let all = listeners(environment);
        let (command, container) = match args {
            ["run", part] if containers::are_asked_for() => {
                let (command, name) = containers::run(part, data, &all);
                (command, Some(name))
            }
            _ => (on(medisync(), args, data, all), None),
        };
        Self::spawn(command, container, args, folder)
    }

    /// The same by a command that was prepared, on free ports.
    pub(crate) fn start_by(command: Command, args: &[&str], data: &Path, folder: &Path) -> Self {
        Self::spawn(on(command, args, data, listeners(&[])), None, args, folder)
    }

    fn spawn(
        mut command: Command,
        container: Option<String>,
        args: &[&str],
        folder: &Path,
    ) -> Self {
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log"));
        let mut child = command.stdout(Stdio::piped()).stderr(log.unwrap()).spawn().unwrap();
        let output = child.stdout.take().map(BufReader::new);
        Self { name: args.last().unwrap().to_string(), child, container, output }
    }

    /// Waits for its `ready` line: addresses by name.
    pub(crate) fn ready(&mut self, folder: &Path) -> HashMap<String, String> {
        let mut lines = self.output.take().unwrap().lines();
        let printed = fs::OpenOptions::new().create(true).append(true).open(folder.join("out"));
        let mut printed = printed.unwrap();
        let ready = loop {
            match lines.next() {
                Some(Ok(line)) if line.starts_with("ready ") => break line,
                Some(Ok(line)) => keep(&mut printed, &line),
                _ => {
                    let log = fs::read_to_string(folder.join("log")).unwrap();
                    // Others may write to the same log: what ended a process is a line of its own.
                    let why = log.lines().filter(|line| line.starts_with("medisync: "));
                    let why = why.collect::<Vec<_>>().join("\n");
                    panic!("{} ended before it was ready:\n{log}\n{why}", self.name);
                }
            }
        };
        // Read on, so that the process never waits for us to take its output.
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| keep(&mut printed, &line));
        });
        urls(&ready)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(name) = &self.container {
            containers::remove(name);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// A signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        if let Some(container) = &self.container {
            return containers::signal(container, name);
        }
        let pid = self.id();
        let told = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(told.unwrap().success());
    }

    /// Waits for the end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    /// A story that failed leaves nothing behind.
    fn drop(&mut self) {
        self.kill();
    }
}

/// Keeps a line that was printed; what is printed after the story has ended is missed by nobody.
fn keep(printed: &mut fs::File, line: &str) {
    let _ = writeln!(printed, "{line}");
}

/// `ready URL (name) URL (name) …`
fn urls(ready: &str) -> HashMap<String, String> {
    let pairs = ready.strip_prefix("ready ").unwrap().split(") ");
    let pair = |pair: &str| {
        let (url, name) = pair.split_once(" (").unwrap();
        (name.trim_end_matches(')').to_owned(), url.to_owned())
    };
    pairs.map(pair).collect()
}
