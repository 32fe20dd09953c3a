//! Makes notifications of events.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use kit::{
    consumer::{Handler, HandlerError},
    db::Tx,
    log::ConsumedRecord,
};
use proto::{
    demo,
    patient_events::{PATIENT_CREATED, PATIENT_DELETED, PATIENT_UPDATED},
};
use shared_middleware::clock::{Clock, Ids};
use tokio::sync::Notify;

use crate::{domain::Medium, events, store};

/// The consumer group.
pub const GROUP: &str = "notification-service";

/// Writes a pending notification for every event; the sender is woken when it is committed.
pub(crate) struct Notifications {
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) medium: Medium,
    pub(crate) wake: Arc<Notify>,
    /// Whether the demo's patients are sent anything.
    pub(crate) demo: bool,
}

// === impl Notifications ===

impl Notifications {
    fn notification<'d>(
        &self,
        delivered: &'d ConsumedRecord,
    ) -> Result<store::New<'d>, HandlerError> {
        Ok(store::New {
            id: self.ids.next(),
            event: events::decode(&delivered.record)?,
            medium: self.medium,
            at: self.clock.now(),
            delivered,
        })
    }
}

impl Handler for Notifications {
    fn apply<'t>(
        &'t self,
        tx: &'t mut Tx<'_>,
        delivered: &'t ConsumedRecord,
    ) -> BoxFuture<'t, Result<(), HandlerError>> {
        Box::pin(async move { self.apply_all(tx, &[delivered]).await })
    }

    fn apply_all<'t>(
        &'t self,
        tx: &'t mut Tx<'_>,
        delivered: &'t [&'t ConsumedRecord],
    ) -> BoxFuture<'t, Result<(), HandlerError>> {
        Box::pin(async move {
            let new = delivered.iter().map(|one| self.notification(one));
            let mut new: Vec<_> = new.collect::<Result<_, _>>()?;
            new.retain(|new| self.demo || !demo::is_patient(new.event.patient.as_u128()));
            Ok(store::insert(tx, &new).await?)
        })
    }

    /// What was given up is due again; what was sent, or waits, stays as it is.
    fn retry<'t>(
        &'t self,
        tx: &'t mut Tx<'_>,
        delivered: &'t ConsumedRecord,
    ) -> BoxFuture<'t, Result<(), HandlerError>> {
        Box::pin(async move {
            let new = self.notification(delivered)?;
            if store::revive(tx, &new).await? {
                return Ok(());
            }
            Ok(store::insert(tx, &[new]).await?)
        })
    }

    fn committed(&self) {
        self.wake.notify_one();
    }

    fn types(&self) -> &'static [&'static str] {
        &[PATIENT_CREATED, PATIENT_UPDATED, PATIENT_DELETED]
    }
}
