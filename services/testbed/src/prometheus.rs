//! The real Prometheus, with the project's own configuration, looking at processes of a test.
//!
//! What the configuration says in minutes would be minutes of a test: it looks every second, and
//! whatever must last before an alert fires is divided by [`HASTE`]. Nothing else is changed, and
//! what is changed must be there.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    folder::Folder,
    free_port,
    installed::missing,
    process::{Process, dying_with_us},
    until,
};

/// How much sooner alerts fire.
pub const HASTE: u32 = 60;

/// A Prometheus that runs.
pub struct Prometheus {
    // Dropped in this order.
    _process: Process,
    _folder: Folder,
    port: u16,
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts it on the configuration in this folder, looking at these (`host:port`). Of the rules
    /// also `thresholds`, pairs of texts, are replaced.
    pub fn start(
        configuration: &Path,
        targets: &[String],
        thresholds: &[(&str, &str)],
    ) -> io::Result<Self> {
        let (folder, port) = (Folder::new()?, free_port()?);
        let place = folder.path().join("configuration");
        fs::create_dir_all(place.join("rules"))?;
        fs::create_dir_all(place.join("targets"))?;
        let main = fs::read_to_string(configuration.join("prometheus.yml"))?;
        let main = main.replace("_interval: 15s", "_interval: 1s");
        let main = changed("scrape_timeout: 10s", "scrape_timeout: 1s", main)?;
        fs::write(place.join("prometheus.yml"), main)?;
        let mut missing_yet: Vec<_> = thresholds.to_vec();
        for rules in fs::read_dir(configuration.join("rules"))? {
            let rules = rules?;
            let mut text = hastened(&fs::read_to_string(rules.path())?);
            missing_yet.retain(|(from, _)| !text.contains(from));
            for (from, to) in thresholds {
                text = text.replace(from, to);
            }
            fs::write(place.join("rules").join(rules.file_name()), text)?;
        }
        if let Some((from, _)) = missing_yet.first() {
            return Err(io::Error::other(format!("no rule has {from:?}")));
        }
        let targets: Vec<_> = targets.iter().map(|target| format!("{target:?}")).collect();
        let targets = format!("- targets: [{}]\n", targets.join(", "));
        fs::write(place.join("targets/test.yml"), targets)?;

        let mut command = dying_with_us(program("prometheus")?, &[]);
        command.arg(format!("--config.file={}", place.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let log = fs::File::create(folder.path().join("log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        let process = Process::spawn(command)?;
        until("Prometheus answers", || match process.ended() {
            Some(_) => {
                let log = fs::read_to_string(folder.path().join("log"))?;
                Err(io::Error::other(format!("Prometheus ended:\n{log}")))
            }
            None => Ok(is_ready(port).then_some(())),
        })?;
        Ok(Self { _process: process, _folder: folder, port })
    }

    /// Where its API is: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// promtool with these arguments; what it said, or that it found fault.
pub fn promtool(arguments: &[&str], folder: &Path) -> io::Result<String> {
    let done = Command::new(program("promtool")?).args(arguments).current_dir(folder).output()?;
    let told = [done.stdout, done.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    if done.status.success() { Ok(told) } else { Err(io::Error::other(told)) }
}

fn is_ready(port: u16) -> bool {
    let ask = || -> io::Result<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.0 200"))
}

fn program(name: &str) -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = std::env::split_paths(&path).map(|bin| bin.join(name));
    all.find(|program| program.exists()).ok_or_else(|| missing(name))
}

fn changed(from: &str, to: &str, text: String) -> io::Result<String> {
    if text.contains(from) {
        return Ok(text.replace(from, to));
    }
    Err(io::Error::other(format!("the configuration does not say {from:?}")))
}

/// With every `for: Nm` of minutes in seconds, [`HASTE`] times sooner.
fn hastened(rules: &str) -> String {
    let hasten = |line: &str| {
        let (before, minutes) = line.split_once("for: ")?;
        let minutes: u32 = minutes.strip_suffix('m')?.parse().ok()?;
        before.trim().is_empty().then(|| format!("{before}for: {}s", minutes * 60 / HASTE))
    };
    rules.lines().map(|line| hasten(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}
