//! What the stores say, looked up beside the mesh: by SQL of our own, on connections of our own.

use anyhow::{Context as _, ensure};
use prost::Message as _;
use proto::patient_events::{PATIENT_CREATED, PatientEvent, TOPIC};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
};
use std::time::Duration;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::{
    mesh::{Mesh, Servers},
    people::Person,
};

/// A store is busy for no longer, and Kafka answers so soon.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// This many events are written at once.
const WRITTEN_AT_ONCE: u64 = 5000;

/// A part's store.
pub(crate) enum Store {
    Sqlite(rusqlite::Connection),
    Postgres(tokio_postgres::Client),
}

/// Rows for the outbox.
#[derive(Default)]
struct Events {
    keys: Vec<String>,
    headers: Vec<String>,
    payloads: Vec<Vec<u8>>,
}

// === impl Store ===

impl Store {
    /// Where that of a part is.
    pub(crate) fn url(mesh: &Mesh, part: &str) -> anyhow::Result<String> {
        match &mesh.servers {
            Some(servers) => servers.database(part),
            None => Ok(format!("sqlite:{}", mesh.data().join(format!("{part}.db")).display())),
        }
    }

    /// Opens that of a part.
    pub(crate) async fn open(mesh: &Mesh, part: &str) -> anyhow::Result<Self> {
        let Some(servers) = &mesh.servers else {
            let path = mesh.data().join(format!("{part}.db"));
            let connection = rusqlite::Connection::open(path)?;
            connection.busy_timeout(ANSWERS_WITHIN)?;
            return Ok(Self::Sqlite(connection));
        };
        let (client, connection) = tokio_postgres::connect(&servers.database(part)?, NoTls).await?;
        // What breaks it fails the statement that waits for it.
        tokio::spawn(connection);
        Ok(Self::Postgres(client))
    }

    /// A number, which both engines find by the same SQL.
    pub(crate) async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let found: Option<i64> = match self {
            Self::Sqlite(connection) => {
                connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?
            }
            Self::Postgres(client) => client.query_one(sql, &[]).await?.try_get(0)?,
        };
        Ok(found.unwrap_or_default())
    }

    /// What it takes on disk.
    pub(crate) async fn bytes(&self) -> anyhow::Result<i64> {
        match self {
            Self::Sqlite(_) => {
                let pages = self.number("select page_count from pragma_page_count").await?;
                Ok(pages * self.number("select page_size from pragma_page_size").await?)
            }
            Self::Postgres(_) => self.number("select pg_database_size(current_database())").await,
        }
    }

    /// Which of these patients analytics has counted.
    pub(crate) async fn counted(&self, patients: &[Uuid]) -> anyhow::Result<Vec<Uuid>> {
        match self {
            Self::Sqlite(connection) => {
                let mut find = connection.prepare_cached("select 1 from patient where id = $1")?;
                let mut found = Vec::new();
                for id in patients {
                    if find.exists([id.to_string()])? {
                        found.push(*id);
                    }
                }
                Ok(found)
            }
            Self::Postgres(client) => {
                let sql = "select id from patient where id = any($1)";
                let rows = client.query(sql, &[&patients]).await?;
                Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
            }
        }
    }

    /// Writes this many events into patient's outbox, as patient would.
    pub(crate) async fn fill_outbox(&mut self, count: u64) -> anyhow::Result<()> {
        for first in (0..count).step_by(usize::try_from(WRITTEN_AT_ONCE)?) {
            let events = Events::new(first..count.min(first + WRITTEN_AT_ONCE));
            match self {
                Self::Sqlite(connection) => events.write_sqlite(connection)?,
                Self::Postgres(client) => {
                    let sql = "insert into outbox (topic, record_key, headers, payload, created_at)
                               select $1, record_key, headers, payload, now()
                               from unnest($2::text[], $3::text[], $4::bytea[])
                                    as event (record_key, headers, payload)";
                    let Events { keys, headers, payloads } = &events;
                    client.execute(sql, &[&TOPIC, keys, headers, payloads]).await?;
                }
            }
        }
        Ok(())
    }
}

// === impl Events ===

impl Events {
    fn new(numbers: std::ops::Range<u64>) -> Self {
        let mut events = Self::default();
        for number in numbers {
            let (patient, event) = (id_of(1, number), id_of(2, number));
            let Person { name, email, birth_year } = Person::next();
            let message = PatientEvent {
                patient_id: patient.clone(),
                name,
                email,
                event_type: PATIENT_CREATED.to_owned(),
                event_id: event.clone(),
                version: 1,
                occurred_at: "2026-01-01T00:00:00Z".to_owned(),
                birth_year: i32::try_from(birth_year).unwrap_or_default(),
            };
            let headers = [
                ["event-id", &event],
                ["event-type", PATIENT_CREATED],
                ["content-type", "application/x-protobuf"],
                ["traceparent", &format!("00-{:032x}-{:016x}-01", number + 1, number + 1)],
            ];
            events.keys.push(patient);
            events.headers.push(serde_json::json!(headers).to_string());
            events.payloads.push(message.encode_to_vec());
        }
        events
    }

    fn write_sqlite(self, connection: &mut rusqlite::Connection) -> anyhow::Result<()> {
        let writing = connection.transaction()?;
        let mut write = writing.prepare(
            "insert into outbox (topic, record_key, headers, payload, created_at)
             values ($1, $2, $3, $4, cast(unixepoch('subsec') * 1000000 as integer))",
        )?;
        let Self { keys, headers, payloads } = self;
        for ((key, headers), payload) in keys.into_iter().zip(headers).zip(payloads) {
            write.execute((TOPIC, key, headers, payload))?;
        }
        drop(write);
        Ok(writing.commit()?)
    }
}

fn id_of(kind: u128, number: u64) -> String {
    Uuid::from_u128(kind << 64 | u128::from(number)).to_string()
}

/// How many events the log has.
pub(crate) async fn events_in_log(mesh: &Mesh) -> anyhow::Result<i64> {
    let Some(Servers { kafka, .. }) = &mesh.servers else {
        let log = Store::open(mesh, "events").await?;
        return log.number("select count(*) from log_record where topic = 'patient'").await;
    };
    let mut client = ClientConfig::new();
    let consumer: BaseConsumer = client.set("bootstrap.servers", kafka.bootstrap()).create()?;
    let metadata = consumer.fetch_metadata(Some(TOPIC), ANSWERS_WITHIN)?;
    let topic = metadata.topics().first().context("an answer without the topic")?;
    ensure!(!topic.partitions().is_empty(), "the topic has no partitions");
    let ends = topic.partitions().iter().map(|partition| {
        let (first, end) = consumer.fetch_watermarks(TOPIC, partition.id(), ANSWERS_WITHIN)?;
        Ok(end - first)
    });
    ends.sum()
}
