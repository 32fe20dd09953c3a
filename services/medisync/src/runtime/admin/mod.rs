//! The admin listener: metrics and health of this process, for operators and containers; a page
//! with curves for those without Grafana; what is logged.
//!
//! It has no business with clients: it listens on loopback by default, and says nothing
//! of any person.

mod curves;
mod guard;
mod listener;
mod log_level;
mod page;

use std::sync::{Arc, LazyLock};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, RawQuery, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{
    IntGauge, IntGaugeVec, TextEncoder, opts, register_int_gauge, register_int_gauge_vec,
};
use shared_middleware::{audit::AuditSink, clock::Clock};
use tokio::time::{Instant, MissedTickBehavior, interval};

pub(crate) use self::{curves::Curves, listener::AdminListener};
use crate::runtime::{health::Health, process_metrics::ProcessMetrics, tokio_metrics::Runtimes};

/// What is sent here is a log filter.
const BODY_BYTES_MAX: usize = 8 << 10;

/// What the listener shows.
pub(crate) struct AdminState {
    pub(crate) health: Arc<Health>,
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) process: ProcessMetrics,
    /// What it was a while ago.
    pub(crate) curves: Curves,
    /// Where a change of what is logged is recorded.
    pub(crate) audit: Arc<dyn AuditSink>,
    pub(crate) clock: Clock,
}

static CONNECTIONS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("db_pool_connections", "Connections to a service's store.");
    register_int_gauge_vec!(options, &["service", "state"]).expect("the name is registered once")
});
static CONNECTIONS_MAX: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("db_pool_connections_max", "Connections that a service's store may have.");
    register_int_gauge_vec!(options, &["service"]).expect("the name is registered once")
});
static DEPENDENCY_UP: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "1 when a store or the event log answered last, 0 when it did not.";
    register_int_gauge_vec!(opts!("dependency_up", help), &["dependency"])
        .expect("the name is registered once")
});
static READY: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("ready", "1 when requests should come to this process.")
        .expect("the name is registered once")
});
static FEED_AGE: LazyLock<IntGauge> = LazyLock::new(|| {
    let help = "Seconds since auth's feed of keys and sign-outs answered.";
    register_int_gauge!("auth_feed_age_seconds", help).expect("the name is registered once")
});
static BUILD_INFO: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("build_info", "1; the label is the version.");
    register_int_gauge_vec!(options, &["version"]).expect("the name is registered once")
});

// === impl AdminState ===

impl AdminState {
    /// All metrics, brought up to now, in Prometheus' text format.
    fn metrics(&self) -> prometheus::Result<String> {
        let health = &self.health;
        self.runtimes.show();
        self.process.show();
        for (part, db) in health.stores() {
            let (used, idle) = db.connections();
            for (state, count) in [("used", used), ("idle", idle)] {
                CONNECTIONS.with_label_values(&[part.as_str(), state]).set(count.into());
            }
            CONNECTIONS_MAX.with_label_values(&[part.as_str()]).set(db.connections_max().into());
        }
        for (dependency, is_up) in health.known() {
            DEPENDENCY_UP.with_label_values(&[dependency]).set(is_up.into());
        }
        READY.set(health.was_ready().into());
        FEED_AGE.set(health.feed_age_s());
        TextEncoder::new().encode_to_string(&prometheus::gather())
    }

    /// Keeps what the metrics say, for ever; the caller drops the future to stop.
    async fn remember(&self) {
        let mut looks = interval(curves::EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Ok(metrics) = self.metrics() {
                self.curves.add(Instant::now(), &metrics);
            }
        }
    }
}

/// Serves for ever; the caller drops the future to stop.
#[expect(clippy::disallowed_methods, reason = "this listener is no part of the mesh")]
pub(crate) async fn serve(listener: AdminListener, told: AdminState, hosts: Arc<[String]>) {
    BUILD_INFO.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    let told = Arc::new(told);
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/healthz", get(readyz))
        .route("/log-level", get(log_level::get).put(log_level::put))
        .route("/curves", get(async |State(told): State<Arc<AdminState>>| told.curves.answer()))
        .merge(page::routes())
        .with_state(Arc::clone(&told))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(hosts, guard::admit));
    tokio::select! {
        () = listener.serve(routes) => {}
        () = told.remember() => {}
    }
}

async fn metrics(State(told): State<Arc<AdminState>>) -> Response {
    match told.metrics() {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "cannot write metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn readyz(State(told): State<Arc<AdminState>>, RawQuery(query): RawQuery) -> Response {
    let report = told.health.report().await;
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose = query.is_some_and(|query| query.split('&').any(|p| p.starts_with("verbose")));
    if verbose {
        return (status, Json(report)).into_response();
    }
    (status, if report.ready { "ok\n" } else { "not ready\n" }).into_response()
}
