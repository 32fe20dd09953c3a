//! The life of a process that serves parts.
//!
//! - `start` starts them in order, `supervisor` keeps what runs and stops it in order;
//! - `build_services` makes services from the configuration, `demo_data` their demo data;
//! - `health` knows whether the process is ready, `readiness_cache` answers gateways;
//! - `admin` is the operators' listener;
//! - `announce` prints what `up` and `run` say when they are ready;
//! - `signals` and `reload` react to signals;
//! - `telemetry` writes the log, `otlp` exports spans;
//! - `process_metrics` and `tokio_metrics` measure.

pub(crate) mod admin;
mod announce;
pub(crate) mod build_services;
mod demo_data;
mod health;
mod otlp;
mod process_metrics;
mod readiness_cache;
mod reload;
mod signals;
pub(crate) mod start;
mod supervisor;
pub(crate) mod telemetry;
mod tokio_metrics;
