//! Tests that take all of the machine that they can get, or measure how much is left of it: one of
//! them at a time.

use tokio::sync::{Mutex, MutexGuard};

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Waits for the others; the next one's turn is when this is dropped.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().await
}
