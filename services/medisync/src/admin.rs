//! The admin listener: metrics and health of this process, for operators and containers.
//!
//! It has no business with clients: it listens on loopback unless told otherwise, and says nothing
//! of any person.

use std::{
    net::SocketAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use kit::db::Db;
use prometheus::{
    Encoder as _, IntGauge, IntGaugeVec, TextEncoder, opts, register_int_gauge,
    register_int_gauge_vec,
};
use serde_json::{Map, Value, json};
use shared_middleware::{identity::Part, token::Verifier};
use tokio::{net::TcpListener, time::timeout};

/// A store that does not answer so soon is not ready.
const CHECK_WITHIN: Duration = Duration::from_secs(2);
/// Auth answers every few seconds, if only that nothing happened.
const FEED_SILENT_S_MAX: i64 = 30;

static CONNECTIONS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("db_pool_connections", "Connections to a service's store.");
    register_int_gauge_vec!(options, &["service", "state"]).expect("the name is registered once")
});
static FEED_AGE: LazyLock<IntGauge> = LazyLock::new(|| {
    let help = "Seconds since auth's feed of keys and sign-outs answered.";
    register_int_gauge!("auth_feed_age_seconds", help).expect("the name is registered once")
});
static BUILD_INFO: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let options = opts!("build_info", "1; the label tells which version runs.");
    register_int_gauge_vec!(options, &["version"]).expect("the name is registered once")
});

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    Starting = 0,
    Serving = 1,
    Draining = 2,
}

/// What health is asked of.
pub(crate) struct Health {
    stage: AtomicU8,
    verifier: Arc<Verifier>,
    stores: Vec<(Part, Db)>,
    /// What is not wrong, but should be known.
    warnings: Vec<&'static str>,
}

// === impl Stage ===

impl Stage {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }
}

// === impl Health ===

impl Health {
    pub(crate) fn new(
        verifier: Arc<Verifier>,
        stores: Vec<(Part, Db)>,
        warnings: Vec<&'static str>,
    ) -> Self {
        Self { stage: AtomicU8::new(Stage::Starting as u8), verifier, stores, warnings }
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::SeqCst);
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::SeqCst) {
            0 => Stage::Starting,
            1 => Stage::Serving,
            _ => Stage::Draining,
        }
    }

    /// What is not wrong, but should be known now.
    fn warnings(&self) -> Vec<&'static str> {
        let silent = self.verifier.feed_age_s() > FEED_SILENT_S_MAX;
        let silent = silent.then_some("auth's feed is silent: sign-outs are not heard of");
        self.warnings.iter().copied().chain(silent).collect()
    }

    /// Whether the store of a service of this process answers.
    pub(crate) async fn store_answers(&self, service: Part) -> bool {
        let Some((_, db)) = self.stores.iter().find(|(part, _)| *part == service) else {
            return false;
        };
        matches!(timeout(CHECK_WITHIN, db.check()).await, Ok(Ok(())))
    }

    /// Every check by name: whether it passed.
    async fn checks(&self) -> Map<String, Value> {
        let mut checks = Map::new();
        checks.insert("stage".to_owned(), verdict(self.stage() == Stage::Serving));
        checks.insert("signing keys".to_owned(), verdict(self.verifier.is_ready()));
        for (part, db) in &self.stores {
            let answered = timeout(CHECK_WITHIN, db.check()).await;
            checks.insert(format!("{part} store"), verdict(matches!(answered, Ok(Ok(())))));
        }
        checks
    }
}

fn verdict(passed: bool) -> Value {
    Value::from(if passed { "ok" } else { "failed" })
}

/// Serves for ever; the caller drops the future to stop.
pub(crate) async fn serve(listener: TcpListener, health: Arc<Health>) {
    BUILD_INFO.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/healthz", get(readyz))
        .with_state(health);
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!(error = %error, "the admin listener failed");
    }
}

/// Opens the admin listener.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    for (part, db) in &health.stores {
        let (used, idle) = db.connections();
        for (state, count) in [("used", used), ("idle", idle)] {
            CONNECTIONS.with_label_values(&[part.as_str(), state]).set(count.into());
        }
    }
    FEED_AGE.set(health.verifier.feed_age_s());
    let mut text = Vec::new();
    match TextEncoder::new().encode(&prometheus::gather(), &mut text) {
        Ok(()) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "cannot write metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn readyz(State(health): State<Arc<Health>>, RawQuery(query): RawQuery) -> Response {
    let checks = health.checks().await;
    let ready = checks.values().all(|check| check == "ok");
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose = query.is_some_and(|query| query.split('&').any(|p| p.starts_with("verbose")));
    if !verbose {
        return (status, if ready { "ok\n" } else { "not ready\n" }).into_response();
    }
    let body = json!({
        "ready": ready,
        "stage": health.stage().as_str(),
        "checks": checks,
        "warnings": health.warnings(),
    });
    (status, Json(body)).into_response()
}
