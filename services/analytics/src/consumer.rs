//! Takes events into the counters.

use futures_util::future::BoxFuture;
use kit::{
    consumer::{Handler, HandlerError},
    db::Tx,
    log::ConsumedRecord,
};
use proto::patient_events::{PATIENT_CREATED, PATIENT_DELETED, PATIENT_UPDATED};
use shared_middleware::clock::Clock;

use crate::{events, store};

/// The consumer group.
pub const GROUP: &str = "analytics-service";

/// Counts every event once, in the transaction that it is given, under the day that it was where
/// the clinic is.
pub(crate) struct Projection(pub(crate) Clock);

// === impl Projection ===

impl Handler for Projection {
    fn apply<'t>(
        &'t self,
        tx: &'t mut Tx<'_>,
        delivered: &'t ConsumedRecord,
    ) -> BoxFuture<'t, Result<(), HandlerError>> {
        Box::pin(async move {
            let event = events::decode(&delivered.record, &self.0)?;
            Ok(store::count(tx, &[event]).await?)
        })
    }

    fn apply_all<'t>(
        &'t self,
        tx: &'t mut Tx<'_>,
        delivered: &'t [&'t ConsumedRecord],
    ) -> BoxFuture<'t, Result<(), HandlerError>> {
        Box::pin(async move {
            let decoded = delivered.iter().map(|one| events::decode(&one.record, &self.0));
            let events: Vec<_> = decoded.collect::<Result<_, _>>()?;
            Ok(store::count(tx, &events).await?)
        })
    }

    fn types(&self) -> &'static [&'static str] {
        &[PATIENT_CREATED, PATIENT_UPDATED, PATIENT_DELETED]
    }
}
