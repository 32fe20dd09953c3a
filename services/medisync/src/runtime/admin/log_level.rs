//! `/log-level`: shows and changes the log level while the process runs.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Extension,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use shared_middleware::audit::{AuditContext, Outcome, denials::LOG_LEVEL_CHANGE};

use super::AdminState;
use crate::{config::log_filter, runtime::telemetry};

/// Where a request came from.
#[derive(Clone, Copy)]
pub(super) struct Source(pub(super) IpAddr);

/// A filter is a line; more is none.
const FILTER_BYTES_MAX: usize = 4096;

/// What is logged now.
pub(super) async fn get() -> Response {
    format!("{}\n", telemetry::log_level()).into_response()
}

/// Logs this from now on, until the process ends or the level is changed again. What cannot be
/// recorded in the audit log is not done.
pub(super) async fn put(
    State(told): State<Arc<AdminState>>,
    Extension(Source(source)): Extension<Source>,
    filter: String,
) -> Response {
    let filter = filter.trim();
    if filter.is_empty() || filter.len() > FILTER_BYTES_MAX {
        return (StatusCode::BAD_REQUEST, "a filter such as debug, or info,kit=debug\n")
            .into_response();
    }
    if let Err(error) = log_filter(filter) {
        return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response();
    }
    // Anyone who reaches this listener is an operator: nobody shows here who they are.
    let asked = AuditContext::new(LOG_LEVEL_CHANGE, None, Some(source), None);
    let entry = asked.entry(told.clock.now(), Outcome::Allowed, None, Vec::new());
    if told.audit.record(entry).await.is_err() {
        let why = "the change cannot be recorded in the audit log\n";
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    }
    match telemetry::set_log_level(filter) {
        Ok(()) => get().await,
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}
