//! The readiness of a service of this process, for gateways.
//!
//! The verdict is [`Health`]'s; here it is kept for a moment, so that many gateways that ask often
//! cost the store one check.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use shared_middleware::{identity::Part, ready::Readiness};
use tokio::{sync::Mutex, time::Instant};

use crate::runtime::health::{Health, Stage};

/// What the store answered is good for so long.
const GOOD_FOR: Duration = Duration::from_millis(500);

/// The readiness of every service of this process.
pub(crate) struct StoresReady {
    health: Arc<Health>,
    /// By service: when its store was checked last, and whether it answered.
    checked: HashMap<Part, Mutex<Option<(Instant, bool)>>>,
}

// === impl StoresReady ===

impl StoresReady {
    pub(crate) fn new(health: Arc<Health>) -> Self {
        let checked = Part::ALL.into_iter().map(|part| (part, Mutex::default())).collect();
        Self { health, checked }
    }

    /// Anyone who comes while the store is asked waits for that same answer.
    async fn store_answers(&self, service: Part) -> bool {
        let Some(checked) = self.checked.get(&service) else { return false };
        let mut last = checked.lock().await;
        match *last {
            Some((at, answered)) if at.elapsed() < GOOD_FOR => answered,
            _ => {
                let answered = self.health.store_answers(service).await;
                *last = Some((Instant::now(), answered));
                answered
            }
        }
    }
}

impl Readiness for StoresReady {
    fn is_ready(&self, service: Part) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            self.health.stage() == Stage::Serving && self.store_answers(service).await
        })
    }

    fn is_draining(&self) -> bool {
        self.health.stage() == Stage::Draining
    }
}
