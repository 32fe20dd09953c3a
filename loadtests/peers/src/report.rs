//! The figures as Markdown. Each is the median of its rounds; the JSON has every round.

use std::fmt::{self, Write as _};

use measure::{Machine, median};
use serde::Serialize;

use crate::{
    load::{Point, Round, Spoken},
    plan::Figure,
    proxy::Kind,
    site::TOKENS,
};

/// A whole run.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) versions: Vec<String>,
    pub(crate) round_s: u64,
    pub(crate) took_s: f64,
    pub(crate) figures: Vec<Figure>,
}

/// Its Markdown.
pub(crate) fn markdown(report: &Report) -> anyhow::Result<String> {
    let mut text = "# The gateway beside others, measured\n\n".to_owned();
    head(report, &mut text)?;
    comparison(report, &mut text)?;
    let mut points: Vec<&Point> = report.figures.iter().map(|figure| &figure.point).collect();
    points.dedup();
    if points.len() > 1 {
        table(report, &points, "Processor time per request, µs", |round| round.cpu_us, &mut text)?;
        table(report, &points, "p99, ms", |round| round.p99_ms, &mut text)?;
        table(report, &points, "Requests/s", |round| round.per_s, &mut text)?;
        table(report, &points, "Memory afterwards, MiB", |round| round.rss_mib, &mut text)?;
        let refused = |round: &Round| round.refused_per_1000;
        table(report, &points, "Refused, of a thousand requests", refused, &mut text)?;
    }
    Ok(text)
}

fn head(report: &Report, text: &mut String) -> fmt::Result {
    let Machine { processor, processors, memory_gib, system, date, commit, .. } = &report.machine;
    writeln!(text, "By `make bench-peers`; `loadtests/README.md` says what each figure tells.\n")?;
    writeln!(text, "- {date}, commit {commit}, in {:.0} s", report.took_s)?;
    writeln!(text, "- {processors} processors ({processor}), {memory_gib:.0} GiB, {system}")?;
    writeln!(text, "- {}", report.versions.join(", "))?;
    let rounds = report.figures.first().map_or(0, |figure| figure.rounds.len());
    writeln!(
        text,
        "- {rounds} rounds of {} s of each, in turn, medians; two threads or processes for each \
         proxy; wrk and the upstream run on the same processors",
        report.round_s,
    )
}

fn comparison(report: &Report, text: &mut String) -> fmt::Result {
    writeln!(text, "\n## {}\n", Point::TINY)?;
    writeln!(
        text,
        "| proxy | does | requests/s | µs/request | p50 ms | p99 ms | p99.9 ms | peak MiB | \
         µs × nginx's | µs × Envoy's | p99 × Envoy's |"
    )?;
    writeln!(text, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    let of = |kind, value: fn(&Round) -> f64| report.of(kind, &Point::TINY, value);
    for Figure { kind, rounds, .. } in report.figures.iter().filter(|it| it.point == Point::TINY) {
        let figure = |value: fn(&Round) -> f64| median(rounds.iter().map(value));
        let times = |value: fn(&Round) -> f64, other| match of(other, value) {
            Some(theirs) => format!("{:.2}", figure(value) / theirs),
            None => "–".to_owned(),
        };
        let own = report.figures.iter().filter(|it| it.kind == *kind);
        let peak = own.flat_map(|it| &it.rounds);
        let peak_mib = peak.map(|round| round.rss_mib).fold(0.0, f64::max);
        writeln!(
            text,
            "| {kind} | {} | {:.0} | {:.1} | {:.2} | {:.2} | {:.2} | {peak_mib:.0} | {} | {} | \
             {} |",
            kind.does(),
            figure(|it| it.per_s),
            figure(|it| it.cpu_us),
            figure(|it| it.p50_ms),
            figure(|it| it.p99_ms),
            figure(|it| it.p999_ms),
            times(|it| it.cpu_us, Kind::Nginx),
            times(|it| it.cpu_us, Kind::Envoy),
            times(|it| it.p99_ms, Kind::Envoy),
        )?;
    }
    let all = of(Kind::Medisync, |it| it.cpu_us);
    if let (Some(all), Some(open)) = (all, of(Kind::MedisyncOpen, |it| it.cpu_us)) {
        let more = (all / open - 1.0) * 100.0;
        writeln!(text, "\nToken, role and limits cost our gateway {more:+.1} %.")?;
    }
    writeln!(
        text,
        "\nBefore that, each but nginx was seen to refuse a forged token, an unsigned one, one \
         that has ended, one of another issuer, one for another audience, and none at all."
    )
}

fn table(
    report: &Report,
    points: &[&Point],
    title: &str,
    value: fn(&Round) -> f64,
    text: &mut String,
) -> fmt::Result {
    let mut kinds: Vec<Kind> = Vec::new();
    for Figure { kind, .. } in &report.figures {
        if !kinds.contains(kind) {
            kinds.push(*kind);
        }
    }
    writeln!(text, "\n## {title}\n")?;
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    writeln!(text, "| | {} |", names.join(" | "))?;
    writeln!(text, "|---|{}", "--:|".repeat(kinds.len()))?;
    for point in points {
        write!(text, "| {point} |")?;
        for kind in &kinds {
            match report.of(*kind, point, value) {
                Some(figure) if figure >= 1000.0 => write!(text, " {figure:.0} |")?,
                Some(figure) => write!(text, " {figure:.1} |")?,
                None => write!(text, " – |")?,
            }
        }
        writeln!(text)?;
    }
    Ok(())
}

// === impl Report ===

impl Report {
    fn of(&self, kind: Kind, point: &Point, value: fn(&Round) -> f64) -> Option<f64> {
        let figure = self.figures.iter().find(|it| it.kind == kind && it.point == *point)?;
        Some(median(figure.rounds.iter().map(value)))
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections, {} answer", self.connections, self.body)?;
        f.write_str(match self.spoken {
            Spoken::Http1 => "",
            Spoken::Https1 => ", TLS",
            Spoken::Http2 => ", TLS, HTTP/2",
            Spoken::Http2Many => " by eight, TLS, HTTP/2",
        })?;
        if self.many_tokens { write!(f, ", {TOKENS} tokens in turn") } else { Ok(()) }
    }
}
