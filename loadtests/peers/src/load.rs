//! wrk, once: so many connections, each of which asks again as soon as it is answered.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use measure::{Memory, Used, tied};
use serde::{Deserialize, Serialize};

use crate::{proxy::Proxy, site::Site};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Point {
    pub(crate) connections: u32,
    /// The answer's body, by its name.
    pub(crate) body: &'static str,
    /// Each request has the next of so many tokens.
    pub(crate) many_tokens: bool,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    pub(crate) per_s: f64,
    /// Processor time of all the proxy's processes.
    pub(crate) cpu_us: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    /// After it, of all the proxy's processes.
    pub(crate) rss_mib: f64,
    /// Processors that others than the proxy kept busy: wrk, the upstream, whoever else is here.
    pub(crate) others_busy: f64,
}

/// As `conf/wrk.lua` tells it.
#[derive(Deserialize)]
struct Told {
    requests: u64,
    took_us: u64,
    failed: u64,
    refused: u64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
}

// === impl Point ===

impl Point {
    /// The comparison's: so small that only the proxy counts.
    pub(crate) const TINY: Self = Self { connections: 64, body: "tiny", many_tokens: false };

    /// Asks the proxy for so long.
    pub(crate) fn load(&self, proxy: &Proxy, site: &Site, time: Duration) -> anyhow::Result<Round> {
        let script = site.folder().join("wrk.lua");
        std::fs::write(&script, include_str!("../conf/wrk.lua"))?;
        let mut wrk = tied("wrk");
        wrk.args(["--threads", "1", "--timeout", "10s"]);
        wrk.args(["--connections", &self.connections.to_string()]);
        wrk.args(["--duration", &format!("{}s", time.as_secs())]);
        wrk.arg("--script").arg(script);
        wrk.args(["--header", &format!("Authorization: Bearer {}", site.signer.good()?)]);
        wrk.arg(proxy.url(self.body));
        if self.many_tokens {
            let tokens: PathBuf = site.tokens();
            wrk.arg("--").arg(tokens);
        }
        let members = [proxy.member()];
        let before = Used::now(&members)?;
        let output = wrk.output().context("install wrk by `make bench-peers`")?;
        let used = Used::now(&members)?.since(&before);
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = output.lines().find_map(|line| line.strip_prefix("report "));
        let told: Told = serde_json::from_str(told.with_context(|| format!("wrk: {output}"))?)?;
        ensure!(told.failed == 0 && told.refused == 0, "{}: {output}", proxy.kind);
        let (requests, took_s) = (told.requests as f64, told.took_us as f64 / 1e6);
        let ms = |us: u64| us as f64 / 1000.0;
        Ok(Round {
            per_s: requests / took_s,
            cpu_us: used.total() as f64 / requests,
            p50_ms: ms(told.p50_us),
            p99_ms: ms(told.p99_us),
            p999_ms: ms(told.p999_us),
            rss_mib: Memory::of(&members)?.iter().map(|memory| memory.mib).sum(),
            others_busy: used.machine.saturating_sub(used.total()) as f64 / 1e6 / took_s,
        })
    }
}
