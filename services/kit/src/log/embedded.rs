//! The embedded log: one table in one SQLite file, one partition a topic.
//!
//! Readers in this process are woken by the publisher. Several processes of one host may share the
//! file: a reader that hears nothing looks anyway, every [`LOOKED_AT_EVERY`].

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Batch, Delivered, EventLog, LogError, Positions, Record, Subscription};
use crate::{
    db::{Db, DbConfig, DbError, DbUrl, Migrations, Tx},
    params,
};

mod migrations {
    refinery::embed_migrations!("migrations/log");
}

/// How long a reader that hears nothing waits before it looks anyway.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);

/// One partition: what a single file in order is.
const PARTITION: i64 = 0;

/// A log in a file.
#[derive(Clone)]
pub struct EmbeddedLog {
    db: Db,
    published: Arc<watch::Sender<()>>,
}

struct EmbeddedSubscription {
    db: Db,
    topic: &'static str,
    next_offset: i64,
    published: watch::Receiver<()>,
}

// === impl EmbeddedLog ===

impl EmbeddedLog {
    /// Opens the log in this file, or makes it.
    pub async fn open(path: &Path) -> Result<Self, DbError> {
        let config = DbConfig {
            url: DbUrl::Sqlite(path.to_owned()),
            pool_connections_max: 2,
            acquire: Duration::from_secs(5),
        };
        let migrations =
            Migrations { sqlite: migrations::migrations::runner(), ..Migrations::none() };
        let db = Db::open(&config, migrations).await?;
        Ok(Self { db, published: Arc::new(watch::Sender::new(())) })
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn publish(&self, topic: &str, records: Vec<Record>) -> Result<(), LogError> {
        let topic = topic.to_owned();
        let appended = self.db.write(move |tx| Box::pin(append(tx, topic, records)));
        appended.await.map_err(LogError::new)?;
        self.published.send_replace(());
        Ok(())
    }

    async fn subscribe(
        &self,
        _group: &'static str,
        topic: &'static str,
        positions: Arc<dyn Positions>,
    ) -> Result<Box<dyn Subscription>, LogError> {
        Ok(Box::new(EmbeddedSubscription {
            db: self.db.clone(),
            topic,
            next_offset: positions.next_offset(topic, PARTITION).await?,
            published: self.published.subscribe(),
        }))
    }
}

// === impl EmbeddedSubscription ===

impl EmbeddedSubscription {
    async fn read(&self, records_max: u32) -> Result<Batch, DbError> {
        let (topic, from) = (self.topic, self.next_offset);
        self.db.read(move |tx| Box::pin(read(tx, topic, from, records_max))).await
    }
}

#[async_trait]
impl Subscription for EmbeddedSubscription {
    async fn next(&mut self, records_max: u32) -> Result<Batch, LogError> {
        self.published.mark_unchanged();
        let mut batch = self.read(records_max).await.map_err(LogError::new)?;
        if batch.records.is_empty() {
            let _ = tokio::time::timeout(LOOKED_AT_EVERY, self.published.changed()).await;
            batch = self.read(records_max).await.map_err(LogError::new)?;
        }
        if let Some(last) = batch.records.last() {
            self.next_offset = last.offset + 1;
        }
        Ok(batch)
    }
}

async fn append(tx: &mut Tx<'_>, topic: String, records: Vec<Record>) -> Result<(), DbError> {
    for record in records {
        // Without one, every record is another.
        let identity = Some(record.identity()).filter(|identity| !identity.is_empty());
        let headers = headers_json(&record.headers);
        tx.execute(
            "insert into log_record (topic, record_key, identity, headers, payload)
             values ($1, $2, $3, $4, $5)
             on conflict (topic, identity) do nothing",
            params![&topic, record.key, identity, headers, record.payload],
        )
        .await?;
    }
    Ok(())
}

async fn read(
    tx: &mut Tx<'_>,
    topic: &'static str,
    from: i64,
    records_max: u32,
) -> Result<Batch, DbError> {
    let rows = tx
        .query(
            "select position, record_key, headers, payload from log_record
             where topic = $1 and position >= $2 order by position limit $3",
            params![topic, from, records_max],
        )
        .await?;
    let end = tx
        .query_one("select max(position) from log_record where topic = $1", params![topic])
        .await?
        .get::<Option<i64>>(0)?;
    let delivered = |row: crate::db::Row| {
        Ok(Delivered {
            partition: PARTITION,
            offset: row.get(0)?,
            record: Record {
                key: row.get(1)?,
                headers: parse_headers(&row.get::<String>(2)?)?,
                payload: row.get(3)?,
            },
        })
    };
    let records = rows.into_iter().map(delivered).collect::<Result<_, DbError>>()?;
    Ok(Batch { records, ends: vec![(PARTITION, end.map_or(0, |last| last + 1))] })
}

/// Headers as a table keeps them.
pub(crate) fn headers_json(headers: &[(String, String)]) -> String {
    serde_json::to_string(headers).expect("pairs of texts are JSON")
}

/// Headers as a table kept them.
pub(crate) fn parse_headers(json: &str) -> Result<Vec<(String, String)>, DbError> {
    serde_json::from_str(json).map_err(|_| DbError::Corrupt("headers that are no JSON"))
}
