//! `medisync status`: what a running mesh does, from the admin listeners of its processes.
//!
//! - `scrape`: the metrics of a process, read and added up.
//! - `view`: what they say, for people.

mod scrape;
mod view;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, bail};
use futures_util::future::join_all;
use http::Uri;
use jiff::Timestamp;
use serde::Serialize;
use shared_middleware::{client, clock::Clock};
use tokio::time::{Instant, sleep, timeout};

pub(crate) use self::scrape::Scrape;
use crate::{
    context::Context,
    out::{self, Output},
};
use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Admin listeners of its processes, HOST:PORT [default: this configuration's]
    #[arg(value_name = "ADMIN")]
    pub(crate) admins: Vec<String>,
    /// Again and again, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
    /// Seconds over which rates are taken, and between the looks of --watch
    #[arg(long, value_name = "SECONDS", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) interval: u64,
    /// How to print: text, or json, one object a line
    #[arg(long, value_enum, hide_possible_values = true, default_value = "text")]
    pub(crate) output: Output,
}

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The state of the mesh at one moment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    at: Timestamp,
    processes: Vec<Process>,
}

/// One process. Times are in the unit that their name says; rates are per second.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    admin: String,
    /// Why nothing is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable: Option<String>,
    pub(crate) version: String,
    pub(crate) ready: bool,
    /// Stores and logs that do not answer.
    pub(crate) away: Vec<String>,
    uptime_s: f64,
    pub(crate) cpu_cores: f64,
    pub(crate) memory_mib: f64,
    pub(crate) parts: Vec<Part>,
    pub(crate) groups: Vec<Group>,
    pub(crate) outbox: Option<Outbox>,
    billing: Option<Billing>,
    /// Seconds until each certificate ends.
    certificates_end_s: BTreeMap<String, f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Part {
    pub(crate) part: String,
    pub(crate) requests_per_s: f64,
    pub(crate) errors_per_s: f64,
    /// None when nothing was asked meanwhile.
    pub(crate) p99_ms: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Group {
    pub(crate) group: String,
    pub(crate) lag: f64,
    consumed_per_s: f64,
    dead_letters: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outbox {
    pub(crate) pending: f64,
    oldest_s: f64,
    published_per_s: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Billing {
    breaker: &'static str,
    accounts_pending: f64,
}

pub(crate) fn command(context: &Context, args: &StatusArgs) -> anyhow::Result<()> {
    let admins = match &args.admins[..] {
        [] => vec![context.configuration(&[], false)?.admin_listen.to_string()],
        given => given.to_vec(),
    };
    let admins = admins.iter().map(|admin| admin_url(admin)).collect::<anyhow::Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(watch(&admins, args))
}

fn admin_url(admin: &str) -> anyhow::Result<Uri> {
    let host = admin.trim_start_matches("http://").trim_end_matches('/');
    let url: Uri = format!("http://{host}")
        .parse()
        .with_context(|| format!("{admin} is not of the form HOST:PORT"))?;
    if url.port().is_none() || url.path() != "/" {
        bail!("{admin} is not of the form HOST:PORT");
    }
    Ok(url)
}

async fn watch(admins: &[Uri], args: &StatusArgs) -> anyhow::Result<()> {
    let interval = Duration::from_secs(args.interval);
    let mut before = scrapes(admins).await;
    loop {
        sleep(interval).await;
        let now = scrapes(admins).await;
        let status = Status::between(admins, &before, &now);
        print(&status, args)?;
        if !args.watch {
            let silent = status.processes.iter().filter(|it| it.unreachable.is_some()).count();
            return if silent == 0 { Ok(()) } else { bail!("{silent} of them did not answer") };
        }
        if out::reader_is_gone() {
            return Ok(());
        }
        before = now;
    }
}

fn print(status: &Status, args: &StatusArgs) -> anyhow::Result<()> {
    match args.output {
        Output::Json => say!("{}", serde_json::to_string(status)?)?,
        Output::Text => {
            let on_screen = args.watch && std::io::IsTerminal::is_terminal(&std::io::stdout());
            // Back to the first line, and nothing of what was there before.
            let begin = if on_screen { "\x1b[H\x1b[2J" } else { "" };
            say!("{begin}{}", view::text(status))?;
        }
    }
    Ok(())
}

/// Of each process, when it was asked; or why it did not answer.
type Asked = Vec<Result<(Instant, Scrape), String>>;

async fn scrapes(admins: &[Uri]) -> Asked {
    join_all(admins.iter().map(async |admin| {
        let answer = timeout(ANSWER_WITHIN, client::get_plain(admin, "/metrics")).await;
        let text = match answer {
            Ok(answer) => answer.map_err(|error| shared_middleware::error::causes(&error))?,
            Err(_) => return Err(format!("no answer in {} s", ANSWER_WITHIN.as_secs())),
        };
        Ok((Instant::now(), Scrape::parse(&String::from_utf8_lossy(&text))))
    }))
    .await
}

// === impl Status ===

impl Status {
    fn between(admins: &[Uri], before: &Asked, now: &Asked) -> Self {
        let at = Clock::system().now();
        let process = |((admin, before), now)| Process::between(admin, before, now, at);
        let processes = admins.iter().zip(before).zip(now).map(process).collect();
        Self { at, processes }
    }
}

// === impl Process ===

impl Process {
    fn between(
        admin: &Uri,
        before: &Result<(Instant, Scrape), String>,
        now: &Result<(Instant, Scrape), String>,
        at: Timestamp,
    ) -> Self {
        let admin = admin.authority().map_or_else(String::new, ToString::to_string);
        let ((since, before), (until, now)) = match (before, now) {
            (Ok(before), Ok(now)) => (before, now),
            (Err(why), _) | (_, Err(why)) => {
                return Self { admin, unreachable: Some(why.clone()), ..Self::default() };
            }
        };
        let seconds = until.duration_since(*since).as_secs_f64().max(f64::MIN_POSITIVE);
        let started_s = now.sum("process_start_time_seconds", &[]);
        let uptime_s = (at.as_millisecond() as f64 / 1000.0 - started_s).max(0.0);
        Self { admin, uptime_s, ..Self::of(before, now, seconds) }
    }

    /// What two looks at its metrics, this many seconds apart, say of it.
    pub(crate) fn of(before: &Scrape, now: &Scrape, seconds: f64) -> Self {
        let rate = |name: &str, only: &[(&str, &str)]| {
            (now.sum(name, only) - before.sum(name, only)).max(0.0) / seconds
        };
        let away = now.by("dependency_up", "dependency").into_iter();
        Self {
            version: now.labels("build_info", "version").join(" "),
            ready: now.sum("ready", &[]) > 0.0,
            away: away.filter(|(_, up)| *up == 0.0).map(|(name, _)| name).collect(),
            cpu_cores: rate("process_cpu_seconds_total", &[]),
            memory_mib: now.sum("process_resident_memory_bytes", &[]) / 1_048_576.0,
            parts: parts(before, now, seconds),
            groups: now
                .by("event_consumer_lag", "group")
                .into_iter()
                .map(|(group, lag)| Group {
                    lag,
                    consumed_per_s: rate("events_consumed_total", &[("group", &group)]),
                    dead_letters: now.sum("dead_letters", &[("group", &group)]),
                    group,
                })
                .collect(),
            outbox: now.has("outbox_pending").then(|| Outbox {
                pending: now.sum("outbox_pending", &[]),
                oldest_s: now.sum("outbox_oldest_age_seconds", &[]),
                published_per_s: rate("events_published_total", &[]),
            }),
            billing: now.has("billing_accounts_pending").then(|| Billing {
                breaker: match now.sum("circuit_breaker_state", &[]) {
                    state if state >= 2.0 => "open",
                    state if state >= 1.0 => "half open",
                    _ => "closed",
                },
                accounts_pending: now.sum("billing_accounts_pending", &[]),
            }),
            certificates_end_s: now.by("mesh_certificate_expiry_seconds", "part"),
            ..Self::default()
        }
    }
}

/// Parts that have been asked for something; the gateway first.
fn parts(before: &Scrape, now: &Scrape, seconds: f64) -> Vec<Part> {
    const GATEWAY: (&str, &str) = ("gateway_requests_total", "gateway_request_duration_seconds");
    const SERVICE: &str = "http_server_request_duration_seconds";
    let requests = format!("{SERVICE}_count");
    let part = |part: String, count: &str, times: &str, only: &[(&str, &str)]| {
        let since = |status: &str| {
            let of = |scrape: &Scrape| scrape.sum_where(count, only, "status", status);
            (of(now) - of(before)).max(0.0) / seconds
        };
        let p99 = now.quantile_since(before, times, only, 0.99);
        let p99_ms = p99.map(|seconds| seconds * 1000.0);
        Part { part, requests_per_s: since(""), errors_per_s: since("5"), p99_ms }
    };
    let gateway = now.has(GATEWAY.0).then(|| part("gateway".to_owned(), GATEWAY.0, GATEWAY.1, &[]));
    let services = now.by(&requests, "service").into_keys();
    let services = services.map(|it| part(it.clone(), &requests, SERVICE, &[("service", &it)]));
    gateway.into_iter().chain(services).collect()
}
