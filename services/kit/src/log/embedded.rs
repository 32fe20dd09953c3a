//! The embedded log: one table in one SQLite file, one partition a topic.
//!
//! Readers in this process are woken by the publisher. Several processes of one host may share the
//! file: a reader that hears nothing looks anyway, every [`LOOKED_AT_EVERY`].

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use shared_middleware::clock::Clock;
use tokio::sync::watch;

use super::{
    Batch, ConsumedRecord, EventLog, LogError, Positions, Progress, Record, Start, Subscription,
};
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
    clock: Clock,
    published: Arc<watch::Sender<()>>,
}

struct EmbeddedSubscription {
    db: Db,
    topic: String,
    next_offset: i64,
    published: watch::Receiver<()>,
}

// === impl EmbeddedLog ===

impl EmbeddedLog {
    /// Opens the log in this file, or makes it.
    pub async fn open(path: &Path, clock: Clock) -> Result<Self, DbError> {
        let config = DbConfig {
            pool_connections_max: 2,
            acquire: Duration::from_secs(5),
            ..DbConfig::new("events", DbUrl::Sqlite(path.to_owned()))
        };
        let migrations =
            Migrations { sqlite: migrations::migrations::runner(), ..Migrations::none() };
        let db = Db::open(&config, migrations).await?;
        Ok(Self { db, clock, published: Arc::new(watch::Sender::new(())) })
    }

    fn reader(&self, topic: &str, next_offset: i64) -> Box<dyn Subscription> {
        Box::new(EmbeddedSubscription {
            db: self.db.clone(),
            topic: topic.to_owned(),
            next_offset,
            published: self.published.subscribe(),
        })
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn publish(&self, topic: &str, records: Vec<Record>) -> Result<(), LogError> {
        let (topic, now_ms) = (topic.to_owned(), self.clock.now().as_millisecond());
        let appended = self.db.write(move |tx| Box::pin(append(tx, topic, records, now_ms)));
        appended.await.map_err(LogError::new)?;
        self.published.send_replace(());
        Ok(())
    }

    async fn read(&self, topic: &str, start: Start) -> Result<Box<dyn Subscription>, LogError> {
        let name = topic.to_owned();
        let found = self.db.read(move |tx| Box::pin(first_offset(tx, name, start)));
        Ok(self.reader(topic, found.await.map_err(LogError::new)?))
    }

    async fn check(&self) -> Result<(), LogError> {
        self.db.check().await.map_err(LogError::new)
    }

    async fn subscribe(
        &self,
        _group: &'static str,
        topic: &'static str,
        positions: Arc<dyn Positions>,
    ) -> Result<Box<dyn Subscription>, LogError> {
        let next = positions.next_offset(topic, PARTITION).await?;
        let ends = self.db.read(move |tx| Box::pin(end(tx, topic))).await.map_err(LogError::new)?;
        if next > ends {
            return Err(LogError::behind(topic, PARTITION, next, ends));
        }
        Ok(self.reader(topic, next))
    }
}

// === impl EmbeddedSubscription ===

impl EmbeddedSubscription {
    async fn read(&self, records_max: u32) -> Result<Batch, DbError> {
        let (topic, from) = (self.topic.clone(), self.next_offset);
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

async fn append(
    tx: &mut Tx<'_>,
    topic: String,
    records: Vec<Record>,
    now_ms: i64,
) -> Result<(), DbError> {
    for record in records {
        // Without one, every record is another.
        let identity = Some(record.identity()).filter(|identity| !identity.is_empty());
        let headers = headers_json(&record.headers);
        tx.execute(
            "insert into log_record
             (topic, record_key, identity, headers, payload, published_at_ms)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (topic, identity) do nothing",
            params![&topic, record.key, identity, headers, record.payload, now_ms],
        )
        .await?;
    }
    Ok(())
}

/// The offset to begin with.
async fn first_offset(tx: &mut Tx<'_>, topic: String, start: Start) -> Result<i64, DbError> {
    match start {
        Start::Beginning => Ok(0),
        Start::At { partition: PARTITION, offset } => Ok(offset),
        Start::At { .. } | Start::End => end(tx, &topic).await,
        Start::Time(from) => {
            let found = tx
                .query_one(
                    "select min(position) from log_record
                     where topic = $1 and published_at_ms >= $2",
                    params![&topic, from.as_millisecond()],
                )
                .await?;
            match found.get::<Option<i64>>(0)? {
                Some(first) => Ok(first),
                None => end(tx, &topic).await,
            }
        }
    }
}

async fn end(tx: &mut Tx<'_>, topic: &str) -> Result<i64, DbError> {
    let sql = "select max(position) from log_record where topic = $1";
    let last = tx.query_one(sql, params![topic]).await?.get::<Option<i64>>(0)?;
    Ok(last.map_or(0, |last| last + 1))
}

async fn read(
    tx: &mut Tx<'_>,
    topic: String,
    from: i64,
    records_max: u32,
) -> Result<Batch, DbError> {
    let rows = tx
        .query(
            "select position, record_key, headers, payload, published_at_ms from log_record
             where topic = $1 and position >= $2 order by position limit $3",
            params![&topic, from, records_max],
        )
        .await?;
    let end = end(tx, &topic).await?;
    let (mut next, mut records) = (from, Vec::with_capacity(rows.len()));
    for row in rows {
        let offset = row.get(0)?;
        let record = Record {
            key: row.get(1)?,
            headers: parse_headers(&row.get::<String>(2)?)?,
            payload: row.get(3)?,
        };
        // Those of before it was kept have none.
        let published_at_ms: i64 = row.get(4)?;
        let published_at =
            Timestamp::from_millisecond(published_at_ms).ok().filter(|_| published_at_ms > 0);
        let partition = PARTITION;
        records.push(ConsumedRecord { partition, position: next, offset, published_at, record });
        next = offset + 1;
    }
    // Positions are shared by all topics: what is between belongs to others.
    Ok(Batch { records, progress: vec![Progress { partition: PARTITION, next, end }] })
}

/// Headers as a table keeps them.
pub(crate) fn headers_json(headers: &[(String, String)]) -> String {
    serde_json::to_string(headers).expect("pairs of texts are JSON")
}

/// Headers as a table kept them.
pub(crate) fn parse_headers(json: &str) -> Result<Vec<(String, String)>, DbError> {
    serde_json::from_str(json).map_err(|_| DbError::Corrupt("headers that are no JSON"))
}
