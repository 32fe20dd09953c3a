//! One of several replicas does a thing at a time, and is woken by the others.
//!
//! A lease is an advisory lock of a session of its own: the server gives it to the next one as soon
//! as that session ends, however it does. The same session listens for notifications. Those are
//! sent after the commit and not in it, since a server lets transactions that notify commit one by
//! one only.

use std::{future::poll_fn, sync::Arc};

use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client};

use super::{connect::Connections, error::failed};
use crate::db::DbError;

/// The server finds out within a minute that a process which holds a lease cannot be reached.
const SESSION: &str = "set statement_timeout = 0; set tcp_keepalives_idle = 15;
                       set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3";

/// A lease, while it lasts.
pub(in crate::db) struct PostgresLease {
    client: Client,
    woken: Arc<Notify>,
}

/// Wakes whoever holds the lease of this name.
pub(super) async fn notify(client: &Client, name: &str) -> Result<(), DbError> {
    // Schemas of one database are stores of their own.
    let sql = "select pg_notify(current_schema() || '.' || $1, '')";
    client.execute(sql, &[&name]).await.map(drop).map_err(failed)
}

// === impl PostgresLease ===

impl PostgresLease {
    pub(super) async fn take(connections: &Connections, name: &str) -> Result<Self, DbError> {
        let connected = connections.config.connect(connections.tls.clone()).await;
        let (client, mut connection) = connected.map_err(failed)?;
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
        client.batch_execute(SESSION).await.map_err(failed)?;
        let sql = "select pg_advisory_lock(hashtextextended(current_schema() || '.' || $1, 0)),
                          quote_ident(current_schema() || '.' || $1)";
        let row = client.query_one(sql, &[&name]).await.map_err(failed)?;
        let channel: String = row.try_get(1).map_err(failed)?;
        client.batch_execute(&format!("listen {channel}")).await.map_err(failed)?;
        Ok(Self { client, woken })
    }

    /// Whether it is still ours, as far as is known.
    pub(in crate::db) fn is_held(&self) -> bool {
        !self.client.is_closed()
    }

    /// Waits for a notification, or the lease's end.
    pub(in crate::db) async fn woken(&self) {
        self.woken.notified().await;
    }
}
