//! What a request costs our gateway in instructions and allocations, counted by valgrind: the same
//! each time, whatever else the machine does, so that a change which makes it dearer is seen.
//!
//! Each tool counts twice, with many requests and with few: the difference is that of the requests.
//! Both runs last equally long, so that what the process does by the clock is no difference.
//! Instructions are those of the `dist` build; allocations can only be counted in a build without
//! an allocator of its own, which makes the same ones.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use measure::{Process, free_port, tell, tied};
use serde::{Deserialize, Serialize};

use crate::site::{OPEN_PATH, Site, without_limits};

/// Caches, connections and lazily made things are there by then.
const FEW: u64 = 500;
const MANY: u64 = 2500;
/// Whose pages may call the API.
const ORIGIN: &str = "https://app.example";
/// A figure that is so much above the recorded one is a warning.
const MARGIN: f64 = 0.03;

/// What is asked of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policies {
    /// A token, its role, the user's limit and the address's; an origin that is on the list.
    All,
    /// Nothing: a route that is open, without limits.
    None,
}

/// Of one request.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
    pub(crate) allocated_bytes: f64,
}

/// Counts, and compares with what is recorded in `file`; with `record` it is recorded instead.
pub(crate) fn count(
    site: &Site,
    file: &Path,
    record: bool,
    profile: Option<&Path>,
    plain: &Path,
) -> anyhow::Result<()> {
    let now = Cost::count(site, profile, plain)?;
    let open = instructions(site, Policies::None, None)?;
    tell(&format!(
        "a request at the gateway takes {:.0} instructions with every policy, {open:.0} without \
         any: {:+.1} %",
        now.instructions,
        (now.instructions / open - 1.0) * 100.0
    ));
    let recorded = fs::read_to_string(file);
    if record || recorded.is_err() {
        fs::write(file, serde_json::to_string_pretty(&now)? + "\n")?;
        tell(&format!("a request at the gateway: {now:?}; recorded in {}", file.display()));
        return Ok(());
    }
    let before: Cost = serde_json::from_str(&recorded?).context("what is recorded")?;
    for (what, now, before) in [
        ("instructions", now.instructions, before.instructions),
        ("allocations", now.allocations, before.allocations),
        ("bytes allocated", now.allocated_bytes, before.allocated_bytes),
    ] {
        let change = now / before - 1.0;
        let mark = if change > MARGIN { "warning: " } else { "" };
        let change = change * 100.0;
        tell(&format!(
            "{mark}a request at the gateway takes {now:.0} {what} (recorded: {before:.0}, \
             {change:+.1} %)"
        ));
    }
    Ok(())
}

// === impl Cost ===

impl Cost {
    fn count(site: &Site, profile: Option<&Path>, plain: &Path) -> anyhow::Result<Self> {
        let instructions = instructions(site, Policies::All, profile)?;
        let none = Path::new("/dev/null");
        let counted = Run { site, binary: plain, tool: "dhat", policies: Policies::All };
        let (few, many) = counted.few_and_many(none)?;
        let bytes = |log: &str| number_after(log, "Total:");
        let blocks = |log: &str| {
            let line = log.lines().find(|line| line.contains("Total:")).context("no total")?;
            number_after(line, "bytes in")
        };
        Ok(Self {
            instructions: instructions.round(),
            allocations: per_request(blocks(&few)?, blocks(&many)?),
            allocated_bytes: per_request(bytes(&few)?, bytes(&many)?).round(),
        })
    }
}

fn per_request(few: f64, many: f64) -> f64 {
    (many - few) / (MANY - FEW) as f64
}

/// Of one request, by the `dist` build.
fn instructions(site: &Site, policies: Policies, profile: Option<&Path>) -> anyhow::Result<f64> {
    let counted = Run { site, binary: site.binary(), tool: "callgrind", policies };
    let (few, many) = counted.few_and_many(profile.unwrap_or(Path::new("/dev/null")))?;
    let count = |log: &str| number_after(log, "Collected :");
    Ok(per_request(count(&few)?, count(&many)?))
}

/// The gateway under a tool.
struct Run<'s> {
    site: &'s Site,
    binary: &'s Path,
    tool: &'static str,
    policies: Policies,
}

// === impl Run ===

impl Run<'_> {
    /// What the tool said in the end, after few requests and after many.
    fn few_and_many(&self, profile: &Path) -> anyhow::Result<(String, String)> {
        let (many, took) = self.ask(MANY, Duration::ZERO, profile)?;
        let (few, _) = self.ask(FEW, took, Path::new("/dev/null"))?;
        Ok((few, many))
    }

    /// Asks so often, and lets it run for so long at least; what the tool said, and how long it
    /// ran.
    fn ask(
        &self,
        requests: u64,
        at_least: Duration,
        profile: &Path,
    ) -> anyhow::Result<(String, Duration)> {
        let Self { site, binary, tool, policies } = self;
        let port = free_port()?;
        let gateway = site.gateway(port, &format!("http://127.0.0.1:{}", site.upstream), false);
        let mut command = tied("valgrind");
        command.arg(format!("--tool={tool}"));
        command.arg(format!("--{tool}-out-file={}", profile.display())).arg(binary);
        // The gateway's own command is `setpriv ... -- PROGRAM ARGUMENTS`.
        let arguments = gateway.get_args().skip_while(|argument| *argument != "--").skip(2);
        command.args(arguments);
        for (name, value) in gateway.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        match policies {
            Policies::All => {
                command.env("MEDISYNC_GATEWAY__CORS_ORIGINS", ORIGIN);
            }
            Policies::None => without_limits(&mut command),
        }
        // Else the time that it takes would count as well.
        command.env("MEDISYNC_GATEWAY__HEALTH_EVERY_MS", "600000");
        let log = site.folder().join(format!("{tool}-{policies:?}-{requests}.log"));
        let (process, _) = Process::start(command, tool, &log)?;
        // The same head in both, so that reading it is no difference.
        let path = match policies {
            Policies::All => "/api/patients/tiny",
            Policies::None => OPEN_PATH,
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {ORIGIN}\r\n\
             Authorization: Bearer {}\r\n\r\n",
            site.signer.good()?
        );
        let began = Instant::now();
        ask(port, &request, requests)?;
        sleep(at_least.saturating_sub(began.elapsed()));
        let took = began.elapsed();
        process.stop()?;
        Ok((fs::read_to_string(&log)?, took))
    }
}

/// One request after the other on one connection.
fn ask(port: u16, request: &str, requests: u64) -> anyhow::Result<()> {
    let mut gateway = TcpStream::connect(("127.0.0.1", port))?;
    gateway.set_nodelay(true)?;
    let mut answer = [0; 4096];
    for _ in 0..requests {
        gateway.write_all(request.as_bytes())?;
        let mut read = 0;
        // The body is the end of it.
        while !answer[..read].ends_with(b"}") {
            let more = gateway.read(&mut answer[read..])?;
            ensure!(more > 0, "the gateway broke off");
            read += more;
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "a request failed");
    }
    Ok(())
}

/// The first number after that text, with or without commas.
fn number_after(log: &str, text: &str) -> anyhow::Result<f64> {
    let (_, rest) = log.split_once(text).with_context(|| format!("{text} is not in: {log}"))?;
    let digits = rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == ',');
    let digits: String = digits.filter(char::is_ascii_digit).collect();
    digits.parse().with_context(|| format!("no number after {text}"))
}
