//! One of several replicas does a thing at a time, and is woken by the others.
//!
//! A lease is an advisory lock of a session of its own. The server gives it to the next one as soon
//! as that session ends, however it does; and it ends a session that says nothing for
//! [`KEPT_FOR`]. The holder says something every second, and knows since when it was not answered:
//! it stops to believe in its lease before the server gives it away.
//!
//! The session listens for notifications, too. Those are sent after the commit and not in it, since
//! a server lets transactions that notify commit one by one only.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::task::AbortOnDropHandle;

use super::{connect::Connections, error::failed};
use crate::db::DbError;

/// A holder that says nothing for so long is not one any more. (PostgreSQL 14; with an older
/// server, when TCP has found that it cannot be reached, within a minute.)
const KEPT_FOR: Duration = Duration::from_secs(5);
/// The holder says something so often, and who waits asks so often whether the lease is free.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// What is not answered by then was lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// So long the holder believes in its lease after it last said something that was answered.
const BELIEVED_FOR: Duration = Duration::from_secs(4);

fn session() -> String {
    format!(
        "set statement_timeout = {statement_ms}; set tcp_keepalives_idle = 15;
         set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3;
         select set_config(name, '{kept_s}s', false) from pg_settings
         where name = 'idle_session_timeout'",
        statement_ms = ANSWER_WITHIN.as_millis(),
        kept_s = KEPT_FOR.as_secs(),
    )
}

/// The lock of a lease, and the channels of its holder and of who waits. Schemas of one database
/// are stores of their own.
const NAMES: &str = "select hashtextextended(current_schema() || '.' || $1, 0),
                            quote_ident(current_schema() || '.' || $1),
                            quote_ident(current_schema() || '.' || $1 || '.free')";

/// A lease, while it lasts.
pub(in crate::db) struct PostgresLease {
    client: Arc<Client>,
    woken: Arc<Notify>,
    /// When it last said something that was answered.
    confirmed: Arc<Mutex<Instant>>,
    lock: i64,
    free: String,
    _asking: AbortOnDropHandle<()>,
}

/// Wakes anyone who holds the lease of this name.
pub(super) async fn notify(client: &Client, name: &str) -> Result<(), DbError> {
    let sql = "select pg_notify(current_schema() || '.' || $1, '')";
    client.execute(sql, &[&name]).await.map(drop).map_err(failed)
}

// === impl PostgresLease ===

impl PostgresLease {
    pub(super) async fn take(connections: &Connections, name: &str) -> Result<Self, DbError> {
        let (client, mut connection) = connections.alone(ANSWER_WITHIN).await.map_err(failed)?;
        let woken = Arc::new(Notify::new());
        let its = Arc::clone(&woken);
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if matches!(message, AsyncMessage::Notification(_)) {
                    its.notify_one();
                }
            }
            // The end of the session is news, too.
            its.notify_one();
        });
        client.batch_execute(&session()).await.map_err(failed)?;
        let row = client.query_one(NAMES, &[&name]).await.map_err(failed)?;
        let lock: i64 = row.try_get(0).map_err(failed)?;
        let (channel, free): (String, String) =
            (row.try_get(1).map_err(failed)?, row.try_get(2).map_err(failed)?);
        client.batch_execute(&format!("listen {free}")).await.map_err(failed)?;
        let confirmed = wait_for(&client, lock, &woken).await?;
        client.batch_execute(&format!("unlisten *; listen {channel}")).await.map_err(failed)?;
        let (client, confirmed) = (Arc::new(client), Arc::new(Mutex::new(confirmed)));
        let asking = tokio::spawn(keep(Arc::clone(&client), Arc::clone(&confirmed)));
        let _asking = AbortOnDropHandle::new(asking);
        Ok(Self { client, woken, confirmed, lock, free, _asking })
    }

    /// Whether it is still ours.
    pub(in crate::db) fn is_held(&self) -> bool {
        let confirmed = *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        !self.client.is_closed() && confirmed.elapsed() < BELIEVED_FOR
    }

    /// Waits for a notification, or the lease's end.
    pub(in crate::db) async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Gives it back, and returns who waits for it.
    pub(in crate::db) async fn release(self) -> Result<(), DbError> {
        let sql = format!("select pg_advisory_unlock({}); notify {}", self.lock, self.free);
        self.client.batch_execute(&sql).await.map_err(failed)
    }
}

/// Waits until this session has the lock; returns when it asked for it.
async fn wait_for(client: &Client, lock: i64, woken: &Notify) -> Result<Instant, DbError> {
    loop {
        let asked = Instant::now();
        let row = client.query_one("select pg_try_advisory_lock($1)", &[&lock]).await;
        if row.and_then(|row| row.try_get(0)).map_err(failed)? {
            return Ok(asked);
        }
        tokio::select! {
            () = sleep(ASKED_EVERY) => {}
            () = woken.notified() => {}
        }
    }
}

/// Says something every second, until it is not answered.
async fn keep(client: Arc<Client>, confirmed: Arc<Mutex<Instant>>) {
    loop {
        sleep(ASKED_EVERY).await;
        let asked = Instant::now();
        if client.batch_execute("select 1").await.is_err() {
            return;
        }
        *confirmed.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }
}
