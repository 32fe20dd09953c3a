//! What a process that serves reads again when it is asked to (SIGHUP): certificates, which it
//! looks at every second anyway, and what is logged. What is wrong with either changes nothing.

use std::{collections::HashMap, sync::Arc};

use gateway::PublicTls;
use shared_middleware::{identity::Part, tls::MeshTls};

use crate::{context::Context, runtime::telemetry};

/// What was read at the start.
pub(crate) struct Reload {
    pub(crate) tls: HashMap<Part, Arc<MeshTls>>,
    pub(crate) public_tls: Option<Arc<PublicTls>>,
}

// === impl Reload ===

impl Reload {
    /// Reads it again. Each says in the log what came of it.
    pub(crate) fn now(&self, context: &Context) {
        for tls in self.tls.values() {
            tls.read_again();
        }
        if let Some(tls) = &self.public_tls {
            tls.read_again();
        }
        let sources = context.sources();
        let level = sources.value("log_level").map(|(level, _)| level).unwrap_or_default();
        match telemetry::set_asked(&level, context.log_level_by_flag()) {
            Ok(()) => tracing::info!(filter = telemetry::log_level(), "log level read again"),
            Err(error) => tracing::warn!(error, "log level kept"),
        }
    }
}
