//! `/log-level`: what is logged, told and changed while the process runs.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::telemetry;

/// A filter is a line; more is none.
const FILTER_BYTES_MAX: usize = 4096;

/// What is logged now.
pub(super) async fn get() -> Response {
    format!("{}\n", telemetry::log_level()).into_response()
}

/// Logs this from now on, until the process ends or is told otherwise.
pub(super) async fn put(filter: String) -> Response {
    let filter = filter.trim();
    if filter.is_empty() || filter.len() > FILTER_BYTES_MAX {
        return (StatusCode::BAD_REQUEST, "a filter such as debug, or info,kit=debug\n")
            .into_response();
    }
    match telemetry::set_log_level(filter) {
        Ok(()) => get().await,
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}
