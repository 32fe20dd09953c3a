//! wrk, or h2load where HTTP/2 is spoken, once: this many connections, each of which asks again as
//! soon as it is answered.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail, ensure};
use measure::{Memory, Used, tell, tied};
use serde::{Deserialize, Serialize};

use crate::{proxy::Proxy, site::Site};

/// For each this many connections, warming up takes a second more.
const CONNECTIONS_A_SECOND: u32 = 256;
/// With more connections than this a few requests may be refused, up to this many.
const ALL_ANSWERED_CONNECTIONS_MAX: u32 = 256;
const REFUSED_PER_1000_MAX: f64 = 50.0;
/// So often a proxy may refuse somebody while it warms up.
const WARM_UPS_MAX: u32 = 5;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Spoken {
    Http1,
    /// HTTP/1 over TLS.
    Https1,
    /// HTTP/2 over TLS, a request at a time on each connection.
    Http2,
    /// The same, with this many at a time that eight connections do as the others' 64.
    Http2Many,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Point {
    pub(crate) spoken: Spoken,
    pub(crate) connections: u32,
    /// The answer's body, by its name.
    pub(crate) body: &'static str,
    /// Each request has the next of this many tokens.
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
    /// Of a thousand requests this many were refused.
    pub(crate) refused_per_1000: f64,
    /// Processors that others than the proxy kept busy: wrk, the upstream, anyone else who is here.
    pub(crate) others_busy: f64,
}

/// What the load generator tells, wrk by `conf/wrk.lua`.
#[derive(Debug, Deserialize)]
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
    pub(crate) const TINY: Self =
        Self { spoken: Spoken::Http1, connections: 64, body: "tiny", many_tokens: false };

    /// Asks the proxy until its connections and caches are there: a thousand handshakes at once
    /// take seconds, and meanwhile it may refuse. That is reported; in the end it must not.
    pub(crate) fn warm_up(&self, proxy: &Proxy, site: &Site) -> anyhow::Result<()> {
        let seconds = 1 + self.connections / CONNECTIONS_A_SECOND;
        let time = Duration::from_secs(seconds.into());
        for _ in 0..WARM_UPS_MAX {
            let Told { refused, failed, .. } = self.ask(proxy, site, time)?;
            if refused + failed == 0 {
                return Ok(());
            }
            let failed = format!("{refused} refused, {failed} failed");
            tell(&format!("{self}: {}: {failed} while it warmed up", proxy.kind));
        }
        bail!("{}: it did not come to answer every request", proxy.kind)
    }

    /// Asks the proxy for so long.
    pub(crate) fn load(&self, proxy: &Proxy, site: &Site, time: Duration) -> anyhow::Result<Round> {
        let members = [proxy.member()];
        let before = Used::now(&members)?;
        let told = self.ask(proxy, site, time)?;
        let used = Used::now(&members)?.since(&before);
        let (requests, took_s) = (told.requests as f64, told.took_us as f64 / 1e6);
        let refused_per_1000 = told.refused as f64 / requests * 1000.0;
        let answered = told.failed == 0 && refused_per_1000 <= self.refused_per_1000_max();
        ensure!(answered, "{}: {told:?}", proxy.kind);
        let ms = |us: u64| us as f64 / 1000.0;
        Ok(Round {
            per_s: requests / took_s,
            cpu_us: used.total() as f64 / requests,
            p50_ms: ms(told.p50_us),
            p99_ms: ms(told.p99_us),
            p999_ms: ms(told.p999_us),
            refused_per_1000,
            rss_mib: Memory::of(&members)?.iter().map(|memory| memory.mib).sum(),
            others_busy: used.machine.saturating_sub(used.total()) as f64 / 1e6 / took_s,
        })
    }

    /// A thousand clients who come at once can want more handshakes with the upstream, one nginx
    /// beside them on the same processors, than it ends in the time that one may take: a few are
    /// refused then, which is reported.
    const fn refused_per_1000_max(&self) -> f64 {
        if self.connections > ALL_ANSWERED_CONNECTIONS_MAX { REFUSED_PER_1000_MAX } else { 0.0 }
    }

    fn ask(&self, proxy: &Proxy, site: &Site, time: Duration) -> anyhow::Result<Told> {
        match self.spoken {
            Spoken::Http1 | Spoken::Https1 => self.wrk(proxy, site, time),
            Spoken::Http2 => self.h2load(proxy, site, time, 1),
            Spoken::Http2Many => self.h2load(proxy, site, time, 8),
        }
    }

    fn wrk(&self, proxy: &Proxy, site: &Site, time: Duration) -> anyhow::Result<Told> {
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
        let output = wrk.output().context("install wrk by `make bench-peers`")?;
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = output.lines().find_map(|line| line.strip_prefix("report "));
        Ok(serde_json::from_str(told.with_context(|| format!("wrk: {output}"))?)?)
    }

    /// It tells no percentiles, but writes a line for every request: when it began, its status, how
    /// long it took, in µs.
    fn h2load(
        &self,
        proxy: &Proxy,
        site: &Site,
        time: Duration,
        at_once: u32,
    ) -> anyhow::Result<Told> {
        let log = site.folder().join("h2load.log");
        let _ = std::fs::remove_file(&log);
        let mut h2load = tied("h2load");
        h2load.args(["--threads", "1", "--npn-list", "h2"]);
        h2load.args(["--clients", &(self.connections / at_once).max(1).to_string()]);
        h2load.args(["--max-concurrent-streams", &at_once.to_string()]);
        h2load.args(["--duration", &time.as_secs().to_string()]);
        h2load.args(["--header", &format!("authorization: Bearer {}", site.signer.good()?)]);
        h2load.arg("--log-file").arg(&log).arg(proxy.url(self.body));
        let output = h2load.output().context("install h2load by `make bench-peers`")?;
        ensure!(output.status.success(), "h2load: {}", String::from_utf8_lossy(&output.stdout));
        let (mut times, mut refused) = (Vec::new(), 0);
        for line in std::fs::read_to_string(&log)?.lines() {
            let mut words = line.split('\t').skip(1);
            match (words.next(), words.next().map(str::parse::<u64>)) {
                (Some("200"), Some(Ok(took_us))) => times.push(took_us),
                // Those that the end of the time cut short.
                (Some("-1"), _) => {}
                _ => refused += 1,
            }
        }
        ensure!(!times.is_empty(), "h2load: {}", String::from_utf8_lossy(&output.stdout));
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        Ok(Told {
            requests: times.len() as u64,
            took_us: u64::try_from(time.as_micros())?,
            failed: 0,
            refused,
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
        })
    }
}

impl Spoken {
    /// Whether it needs TLS.
    pub(crate) const fn is_secure(self) -> bool {
        !matches!(self, Self::Http1)
    }
}
