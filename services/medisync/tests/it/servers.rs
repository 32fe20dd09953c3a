//! PostgreSQL and Kafka, as far as one mesh has to do with them: databases and topics of its own on
//! servers that all tests share.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    consumer::{BaseConsumer, Consumer as _},
};
use shared_middleware::clock::Ids;
use testbed::with_servers::{KAFKA, POSTGRES, POSTGRES_CA};

use crate::processes::SERVICES;

/// What the stories run on: `embedded`, `servers`, or `containers`, which are on servers as well.
const STACK: &str = "MEDISYNC_TEST_STACK";
const GROUPS: [&str; 2] = ["analytics-service", "notification-service"];
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A mesh's databases and topics.
pub(crate) struct Servers {
    /// Before the names of all that is its own.
    name: String,
    postgres: String,
    kafka: String,
    /// One for each group, made once: it costs a connection.
    watchers: Arc<Vec<BaseConsumer>>,
}

/// Whether stories run on servers, as the environment asks.
pub(crate) fn are_asked_for() -> bool {
    match told(STACK).as_deref() {
        None | Some("embedded") => false,
        Some("servers" | "containers") => true,
        Some(other) => panic!("{STACK} is embedded, servers or containers, and not {other}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no settings")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn server(name: &str) -> String {
    told(name).unwrap_or_else(|| {
        panic!("{name} does not say which server: `make test` starts one, and says so")
    })
}

// === impl Servers ===

impl Servers {
    /// Makes databases; the topics are made by the mesh.
    pub(crate) async fn prepare() -> Self {
        let (postgres, kafka) = (server(POSTGRES), server(KAFKA));
        let name = format!("w_{}", Ids::system().next().simple());
        for part in SERVICES {
            ask(&postgres, &format!("create database {name}_{part}")).await;
        }
        let watcher = |group: &&str| {
            let mut client = ClientConfig::new();
            client.set("bootstrap.servers", &kafka).set("group.id", format!("{name}.{group}"));
            client.set("enable.auto.commit", "false").create().unwrap()
        };
        let watchers = Arc::new(GROUPS.iter().map(watcher).collect());
        Self { name, postgres, kafka, watchers }
    }

    /// What a mesh is told.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mut all = vec![
            ("MEDISYNC_EVENTS__LOG".to_owned(), format!("kafka://{}", self.kafka)),
            ("MEDISYNC_EVENTS__PREFIX".to_owned(), format!("{}.", self.name)),
            ("MEDISYNC_EVENTS__PARTITIONS".to_owned(), "3".to_owned()),
        ];
        let secured = told(POSTGRES_CA);
        let secured = secured.map(|ca| format!("?sslmode=verify-full&sslrootcert={ca}"));
        let server = self.postgres.rsplit_once('/').unwrap().0;
        for part in SERVICES {
            let url = format!("{server}/{}_{part}", self.name);
            let url = url + secured.as_deref().unwrap_or_default();
            all.push((format!("MEDISYNC_{}__DATABASE", part.to_uppercase()), url));
        }
        all
    }

    /// The same, of stores only.
    pub(crate) fn databases(&self) -> Vec<(String, String)> {
        let mut all = self.environment();
        all.retain(|(name, _)| name.ends_with("__DATABASE"));
        all
    }

    /// Does something to a part's database.
    pub(crate) async fn execute(&self, part: &str, sql: &str) {
        let server = self.postgres.rsplit_once('/').unwrap().0;
        ask(&format!("{server}/{}_{part}", self.name), sql).await;
    }

    /// Whether every group has read, and kept, all that its topic holds.
    pub(crate) async fn are_drained(&self) -> bool {
        let (topic, watchers) = (format!("{}.patient", self.name), Arc::clone(&self.watchers));
        tokio::task::spawn_blocking(move || {
            watchers.iter().all(|watcher| is_drained(watcher, &topic))
        })
        .await
        .unwrap()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let (server, name) = (self.postgres.clone(), self.name.clone());
        let mut client = ClientConfig::new();
        let kafka: Result<AdminClient<_>, _> =
            client.set("bootstrap.servers", &self.kafka).create();
        // A thread of its own: this one may be in the middle of a runtime.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let topics = [format!("{name}.patient"), format!("{name}.patient.dlq")];
                let topics = topics.each_ref().map(String::as_str);
                let _ = kafka.unwrap().delete_topics(&topics, &AdminOptions::new()).await;
                for part in SERVICES {
                    ask(&server, &format!("drop database if exists {name}_{part} with (force)"))
                        .await;
                }
            });
        });
        // One that is left over harms no other test.
        let _ = dropping.join();
    }
}

fn is_drained(watcher: &BaseConsumer, topic: &str) -> bool {
    let metadata = watcher.fetch_metadata(Some(topic), ANSWERS_WITHIN).unwrap();
    let mut asked = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        asked.add_partition(topic, partition.id());
    }
    let read = watcher.committed_offsets(asked, ANSWERS_WITHIN).unwrap();
    read.elements().iter().all(|of| {
        let (_, end) = watcher.fetch_watermarks(topic, of.partition(), ANSWERS_WITHIN).unwrap();
        end == 0 || of.offset() == Offset::Offset(end)
    })
}

async fn ask(server: &str, sql: &str) {
    let (client, connection) =
        tokio_postgres::connect(server, tokio_postgres::NoTls).await.unwrap();
    let talking = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    let _ = talking.await;
}
