//! The last quarter of an hour of this process, as curves: kept by the process itself, so that
//! anyone who opens the page sees what has led to now.
//!
//! A point is what `medisync status` says of the time since the point before. This many points of
//! this many lines are kept and no more: some hundred kilobytes at most.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use crate::ops::status::{Process, Scrape};

/// A point is added so often.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// This many are kept of each line: a quarter of an hour.
const POINTS_MAX: usize = 180;
/// Lines are named by parts and consumer groups, which are few; more than these are not kept.
const LINES_MAX: usize = 32;

/// What is drawn together, by the name of the line: each has as many points as any other.
type Lines = BTreeMap<String, VecDeque<Option<f32>>>;

/// What a moment adds: values by plot and line.
type Point = BTreeMap<&'static str, BTreeMap<String, f64>>;

/// All that is kept.
#[derive(Default)]
pub(crate) struct Curves(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    before: Option<(Instant, Scrape)>,
    points: usize,
    plots: BTreeMap<&'static str, Lines>,
    state: State,
}

/// How the process was when it was looked at last.
#[derive(Clone, Default, Serialize)]
struct State {
    version: String,
    ready: bool,
    away: Vec<String>,
}

// === impl Curves ===

impl Curves {
    /// Adds a point: what the metrics say now, against what they said the last time.
    pub(super) fn add(&self, at: Instant, metrics: &str) {
        let now = Scrape::parse(metrics);
        let mut kept = self.kept();
        let earlier = kept.before.take();
        let (since, before) = earlier.as_ref().map_or((at, &now), |(since, it)| (*since, it));
        let seconds = at.duration_since(since).as_secs_f64().max(f64::MIN_POSITIVE);
        let process = Process::of(before, &now, seconds);
        if earlier.is_some() {
            kept.push(point(&process, before, &now, seconds));
        }
        let Process { version, ready, away, .. } = process;
        kept.state = State { version, ready, away };
        kept.before = Some((at, now));
    }

    /// All of them, as the page reads them.
    pub(super) fn answer(&self) -> Response {
        let kept = self.kept();
        Json(json!({
            "everyS": EVERY.as_secs(),
            "pointsMax": POINTS_MAX,
            "points": kept.points,
            "state": kept.state,
            "plots": kept.plots,
        }))
        .into_response()
    }

    /// Anyone who panicked with them left a point half added at worst: a gap in a curve.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Kept ===

impl Kept {
    fn push(&mut self, point: Point) {
        for (plot, values) in point {
            let lines = self.plots.entry(plot).or_default();
            for name in values.keys() {
                if lines.len() < LINES_MAX && !lines.contains_key(name) {
                    // What came later was not there before.
                    lines.insert(name.clone(), VecDeque::from(vec![None; self.points]));
                }
            }
            for (name, points) in lines {
                points.push_back(values.get(name).map(|value| *value as f32));
                if points.len() > POINTS_MAX {
                    points.pop_front();
                }
            }
        }
        self.points = (self.points + 1).min(POINTS_MAX);
    }
}

fn point(process: &Process, before: &Scrape, now: &Scrape, seconds: f64) -> Point {
    const GRPC: &str = "rpc_server_duration_seconds_count";
    let of_parts = |value: fn(&crate::ops::status::Part) -> Option<f64>| -> BTreeMap<String, f64> {
        let parts = process.parts.iter();
        parts.filter_map(|it| Some((it.part.clone(), value(it)?))).collect()
    };
    let mut requests = of_parts(|it| Some(it.requests_per_s));
    let earlier = before.by(GRPC, "service");
    for (service, count) in now.by(GRPC, "service") {
        let since = count - earlier.get(&service).copied().unwrap_or_default();
        requests.insert(format!("{service} (gRPC)"), since.max(0.0) / seconds);
    }
    let mut waiting: BTreeMap<_, _> =
        process.groups.iter().map(|it| (format!("{} lag", it.group), it.lag)).collect();
    if let Some(outbox) = &process.outbox {
        waiting.insert("outbox".to_owned(), outbox.pending);
    }
    waiting.insert("dead letters".to_owned(), now.sum("dead_letters", &[]));
    let one = |name: &str, value| BTreeMap::from([(name.to_owned(), value)]);
    BTreeMap::from([
        ("requests", requests),
        ("errors", of_parts(|it| Some(it.errors_per_s))),
        ("p99", of_parts(|it| it.p99_ms)),
        ("waiting", waiting),
        ("cores", one("cores", process.cpu_cores)),
        ("memory", one("resident", process.memory_mib)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(requests: u32, cpu: f64) -> String {
        format!(
            "gateway_requests_total{{route=\"r\",status=\"200\"}} {requests}\n\
             process_cpu_seconds_total {cpu}\nready 1\nbuild_info{{version=\"1.2\"}} 1\n"
        )
    }

    #[test]
    fn a_point_is_what_happened_since_the_one_before() {
        let (curves, start) = (Curves::default(), Instant::now());
        curves.add(start, &metrics(10, 1.0));
        assert!(curves.kept().points == 0 && curves.kept().state.ready);
        curves.add(start + EVERY, &metrics(60, 2.25));
        let kept = curves.kept();
        assert_eq!(kept.plots["requests"]["gateway"], [Some(10.0)]);
        assert_eq!(kept.plots["cores"]["cores"], [Some(0.25)]);
        assert!(kept.state.ready && kept.state.version == "1.2");
    }

    #[test]
    fn a_quarter_of_an_hour_is_kept_and_lines_that_come_later_begin_with_a_gap() {
        let (curves, start) = (Curves::default(), Instant::now());
        let mut at = start;
        for n in 0..3 {
            curves.add(at, &metrics(n, 0.0));
            at += EVERY;
        }
        for n in 0..400 {
            let late = "http_server_request_duration_seconds_count{service=\"auth\"} 1\n";
            curves.add(at, &format!("{}{late}", metrics(n, 0.0)));
            if n == 0 {
                let auth = &curves.kept().plots["requests"]["auth"];
                assert_eq!(
                    auth.iter().map(Option::is_some).collect::<Vec<_>>(),
                    [false, false, true]
                );
            }
            at += EVERY;
        }
        let kept = curves.kept();
        assert_eq!(kept.points, POINTS_MAX);
        let all = kept.plots.values().flat_map(BTreeMap::values);
        assert!(all.into_iter().all(|line| line.len() == POINTS_MAX));
    }

    #[test]
    fn names_that_never_end_take_no_more_memory() {
        let (curves, mut at) = (Curves::default(), Instant::now());
        for n in 0..100 {
            let line =
                format!("http_server_request_duration_seconds_count{{service=\"s{n}\"}} 1\n");
            curves.add(at, &line);
            at += EVERY;
        }
        assert_eq!(curves.kept().plots["requests"].len(), LINES_MAX);
    }
}
