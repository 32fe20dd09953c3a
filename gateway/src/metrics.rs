//! The names of the gateway's metrics. Labels are closed sets: routes as they are declared, never
//! paths; parts, never addresses.

use std::{
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use http::StatusCode;
use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, opts,
    register_int_gauge, register_int_gauge_vec,
};
use shared_middleware::{
    identity::Part,
    metrics::{UNMATCHED, counter, histogram},
};

use crate::policy::route::{self, Route};

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Requests, by route and status (499: the client went away).";
    counter("gateway_requests_total", help, &["route", "status"])
});
static DURATIONS: LazyLock<HistogramVec> = LazyLock::new(|| {
    histogram("gateway_request_duration_seconds", "Time to the end of the answer.", &["route"])
});
static CONNECTIONS: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("gateway_connections", "Clients that are connected.")
        .expect("the name is registered once")
});
/// Connections for which there was no room.
pub(crate) static CONNECTIONS_REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Connections for which there was no room, by whose bound it was.";
    counter("gateway_connections_refused_total", help, &["bound"])
});
/// How handshakes at the public port ended.
pub(crate) static TLS_HANDSHAKES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "TLS handshakes at the public port, by how they ended.";
    counter("gateway_tls_handshakes_total", help, &["outcome"])
});
/// Attempts at a part that failed.
pub(crate) static UPSTREAM_ERRORS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Attempts at a part that failed.";
    counter("gateway_upstream_errors_total", help, &["upstream", "kind"])
});
static UPSTREAM_DURATIONS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let help = "Time from asking a part to the head of its answer.";
    histogram("gateway_upstream_duration_seconds", help, &["upstream"])
});
/// Each part's, found without a look-up by label.
static OF_UPSTREAM: [OnceLock<Histogram>; Part::ALL.len()] =
    [const { OnceLock::new() }; Part::ALL.len()];
static UPSTREAMS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("gateway_upstreams", "Places where a part is found, by what checks say.");
    register_int_gauge_vec!(options, &["upstream", "state"]).expect("the name is registered once")
});
static IN_FLIGHT: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("gateway_requests_in_flight", "Requests being worked on.")
        .expect("the name is registered once")
});
/// What became of users' tokens.
pub(crate) static AUTH: LazyLock<IntCounterVec> =
    LazyLock::new(|| counter("gateway_auth_total", "What became of users' tokens.", &["outcome"]));
/// Requests over a limit.
pub(crate) static RATE_LIMITED: LazyLock<IntCounterVec> =
    LazyLock::new(|| counter("gateway_rate_limited_total", "Requests over a limit.", &["limit"]));
/// Whether a token's signature had been checked before.
pub(crate) static TOKEN_CACHE: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Whether a token's signature had been checked before.";
    counter("gateway_token_cache_total", help, &["outcome"])
});

/// What nearly every request counts, without a look-up by label.
pub(crate) static AUTH_OK: LazyLock<IntCounter> = LazyLock::new(|| AUTH.with_label_values(&["ok"]));
/// See [`AUTH_OK`].
pub(crate) static TOKEN_CACHE_HIT: LazyLock<IntCounter> =
    LazyLock::new(|| TOKEN_CACHE.with_label_values(&["hit"]));

/// The statuses whose counters are looked up once; any other is looked up each time.
const STATUSES: [u16; 20] = [
    200, 201, 204, 302, 304, 400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 429, 499, 500, 503,
    504,
];

/// One route's counters, found without a look-up by label.
struct Handles {
    duration: Histogram,
    requests: [OnceLock<IntCounter>; STATUSES.len()],
}

/// By a route's index; the last is of requests without a route.
static HANDLES: LazyLock<Vec<Handles>> = LazyLock::new(|| {
    let labels = route::all().iter().map(|route| route.path).chain([UNMATCHED]);
    let handles = labels.map(|label| Handles {
        duration: DURATIONS.with_label_values(&[label]),
        requests: [const { OnceLock::new() }; STATUSES.len()],
    });
    handles.collect()
});

/// A request being worked on, for as long as this lives.
pub(crate) struct InFlight(());

impl InFlight {
    pub(crate) fn begin() -> Self {
        IN_FLIGHT.inc();
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        IN_FLIGHT.dec();
    }
}

/// A client that is connected, for as long as this lives.
pub(crate) struct OpenConnection(());

impl OpenConnection {
    pub(crate) fn begin() -> Self {
        CONNECTIONS.inc();
        Self(())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        CONNECTIONS.dec();
    }
}

/// The label of a route, or of none.
pub(crate) fn label(route: Option<&'static Route>) -> &'static str {
    route.map_or(UNMATCHED, |route| route.path)
}

/// Counts and times a request.
pub(crate) fn count(route: Option<&'static Route>, status: StatusCode, took: Duration) {
    let handles = &HANDLES[route.map_or(HANDLES.len() - 1, |route| route.index)];
    handles.duration.observe(took.as_secs_f64());
    let of_status = || REQUESTS.with_label_values(&[label(route), status.as_str()]);
    match STATUSES.iter().position(|&known| known == status.as_u16()) {
        Some(at) => handles.requests[at].get_or_init(of_status).inc(),
        None => of_status().inc(),
    }
}

/// Times a part's answer.
pub(crate) fn observe_upstream(part: Part, took: Duration) {
    let of_part = || UPSTREAM_DURATIONS.with_label_values(&[part.as_str()]);
    OF_UPSTREAM[part as usize].get_or_init(of_part).observe(took.as_secs_f64());
}

/// How many places a part has.
pub(crate) fn set_upstreams(part: Part, ready: usize, ejected: usize) {
    for (state, places) in [("ready", ready), ("ejected", ejected)] {
        let places = i64::try_from(places).unwrap_or(i64::MAX);
        UPSTREAMS.with_label_values(&[part.as_str(), state]).set(places);
    }
}

/// Makes every series that has no label yet to wait for, so that a dashboard finds them at once.
pub(crate) fn register() {
    LazyLock::force(&HANDLES);
    LazyLock::force(&IN_FLIGHT);
    LazyLock::force(&CONNECTIONS);
    for part in Part::ALL.into_iter().filter(|part| *part != Part::Gateway) {
        UPSTREAM_DURATIONS.with_label_values(&[part.as_str()]);
    }
    for outcome in
        ["ok", "missing", "malformed", "expired", "not_yet", "forged", "revoked", "forbidden"]
    {
        AUTH.with_label_values(&[outcome]);
    }
    for bound in ["total", "client", "descriptors"] {
        CONNECTIONS_REFUSED.with_label_values(&[bound]);
    }
    for limit in ["user", "client", "login"] {
        RATE_LIMITED.with_label_values(&[limit]);
    }
    for outcome in ["hit", "miss"] {
        TOKEN_CACHE.with_label_values(&[outcome]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::route::RouteMatch;

    #[test]
    fn a_request_is_counted_under_its_routes_pattern() {
        let RouteMatch::Row(route, _) = route::find("DELETE", "/api/users/42") else {
            panic!("there is no such route")
        };
        let of = |status: &str| REQUESTS.with_label_values(&["/api/users/{id}", status]).get();
        let before = (of("204"), of("418"));
        count(Some(route), StatusCode::NO_CONTENT, Duration::from_millis(1));
        count(Some(route), StatusCode::IM_A_TEAPOT, Duration::from_millis(1));
        assert_eq!((of("204"), of("418")), (before.0 + 1, before.1 + 1));
    }

    #[test]
    fn requests_without_a_route_are_counted_together() {
        let count_now = || REQUESTS.with_label_values(&[UNMATCHED, "418"]).get();
        let before = count_now();
        count(None, StatusCode::IM_A_TEAPOT, Duration::ZERO);
        assert_eq!(count_now(), before + 1);
    }
}
