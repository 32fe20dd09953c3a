//! The mesh that is broken and mended.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Instant,
};

use tempfile::TempDir;
use testbed::{Kafka, Listener, Postgres, Proxy, Version};
use tokio::task::spawn_blocking;

use crate::{
    client::Client,
    processes::{PARTS, Process, SERVICES, free_port, issue_certificates},
    topic::{self, Topic},
};

const REPLICAS: usize = 2;
/// The embedded stores' disk.
const DISK_MIB: u32 = 256;

/// What the mesh runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Embedded,
    Servers,
}

/// A process, and how it is started.
pub(crate) struct Node {
    pub(crate) part: &'static str,
    arguments: Vec<&'static str>,
    environment: Vec<(String, String)>,
    process: Option<Process>,
}

/// The mesh.
pub(crate) struct Stack {
    pub(crate) nodes: Vec<Node>,
    /// PostgreSQL and Kafka, if it runs on them.
    pub(crate) servers: Option<Arc<Servers>>,
    client: Client,
    folder: TempDir,
    disk: Option<Disk>,
}

/// What is broken apart from processes.
pub(crate) struct Servers {
    pub(crate) postgres: Postgres,
    /// Between the parts and PostgreSQL.
    pub(crate) to_postgres: Proxy,
    pub(crate) kafka: Kafka,
    /// Between patient and each replica of billing.
    pub(crate) to_billing: Vec<Proxy>,
}

/// A file system of its own, which can be full.
pub(crate) struct Disk(PathBuf);

// === impl Kind ===

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Servers => "servers",
        })
    }
}

// === impl Node ===

impl Node {
    fn new(arguments: &[&'static str], environment: Vec<(String, String)>) -> Self {
        let part = arguments.last().copied().unwrap_or_default();
        Self { part, arguments: arguments.to_vec(), environment, process: None }
    }

    fn launch(&mut self, folder: &Path) {
        let data = folder.join("data");
        self.process = Some(Process::start(&self.arguments, &data, &self.environment, folder));
    }

    fn await_ready(&mut self, folder: &Path) {
        if let Some(process) = &mut self.process {
            process.ready(folder);
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM, and its end, which is a good one.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate();
            let ended = process.ended();
            assert!(ended.success(), "{} ended with {ended}", self.part);
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        if let Some(process) = &self.process {
            process.signal(name);
        }
    }
}

// === impl Stack ===

impl Stack {
    pub(crate) async fn start(kind: Kind, seed: u64) -> Self {
        let begun = Instant::now();
        let stack = spawn_blocking(move || match kind {
            Kind::Embedded => Self::embedded(),
            Kind::Servers => Self::on_servers(seed),
        });
        let mut stack = stack.await.unwrap();
        stack.mend().await;
        stack.client.sign_in().await;
        println!("started in {:.1?}", begun.elapsed());
        stack
    }

    fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::mount(&folder.path().join("data"));
        let gateway = format!("127.0.0.1:{}", free_port());
        let mut environment = common();
        environment.push(("MEDISYNC_GATEWAY__LISTEN".to_owned(), gateway.clone()));
        let nodes = vec![Node::new(&["up"], environment)];
        let client = Client::new(vec![gateway]);
        Self { nodes, servers: None, client, folder, disk: Some(disk) }
    }

    fn on_servers(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let addresses: Vec<_> =
            (0..REPLICAS).map(|_| PARTS.map(|_| format!("127.0.0.1:{}", free_port()))).collect();
        let grpc: Vec<_> = (0..REPLICAS).map(|_| free_port()).collect();
        let servers = Servers::start(seed, &grpc);
        issue_certificates(&folder.path().join("data"));
        let mut shared = common();
        shared.extend(servers.environment());
        shared.push(("MEDISYNC_MESH__MTLS".to_owned(), "strict".to_owned()));
        for (place, part) in PARTS.iter().enumerate().skip(1) {
            let urls: Vec<_> =
                addresses.iter().map(|of| format!("https://{}", of[place])).collect();
            shared.push((format!("MEDISYNC_{}__URL", part.to_uppercase()), urls.join(",")));
        }
        let mut nodes = Vec::new();
        for (replica, addresses) in addresses.iter().enumerate() {
            for (place, part) in PARTS.iter().enumerate() {
                let mut environment = shared.clone();
                let listen = format!("MEDISYNC_{}__LISTEN", part.to_uppercase());
                environment.push((listen, addresses[place].clone()));
                let at = format!("127.0.0.1:{}", grpc[replica]);
                environment.push(("MEDISYNC_BILLING__GRPC_LISTEN".to_owned(), at));
                nodes.push(Node::new(&["run", part], environment));
            }
        }
        let client = Client::new(addresses.iter().map(|of| of[0].clone()).collect());
        Self { nodes, servers: Some(Arc::new(servers)), client, folder, disk: None }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("the embedded stores have a disk of their own")
    }

    pub(crate) fn servers(&self) -> Arc<Servers> {
        Arc::clone(self.servers.as_ref().expect("this fault is one of servers"))
    }

    /// The nodes of a part.
    pub(crate) fn of<'s>(&'s mut self, part: &'s str) -> impl Iterator<Item = &'s mut Node> {
        self.nodes.iter_mut().filter(move |node| node.part == part)
    }

    /// Starts whatever does not run, all at the same time, and waits until it is ready.
    pub(crate) async fn mend(&mut self) {
        let (mut nodes, folder) = (std::mem::take(&mut self.nodes), self.folder.path().to_owned());
        self.nodes = spawn_blocking(move || {
            let down = |node: &&mut Node| node.process.is_none();
            let mut down: Vec<_> = nodes.iter_mut().filter(down).collect();
            down.iter_mut().for_each(|node| node.launch(&folder));
            down.iter_mut().for_each(|node| node.await_ready(&folder));
            nodes
        })
        .await
        .unwrap();
    }

    /// Stops each node in turn (SIGTERM) and starts it again.
    pub(crate) async fn roll(&mut self) {
        for place in 0..self.nodes.len() {
            tokio::task::block_in_place(|| self.nodes[place].stop());
            self.mend().await;
        }
    }

    pub(crate) async fn topic(&self) -> Topic {
        let (events, bootstrap) = self.log();
        let read =
            move || bootstrap.map_or_else(|| Topic::embedded(&events), |at| Topic::kafka(&at));
        spawn_blocking(read).await.unwrap()
    }

    pub(crate) async fn dead_letters(&self) -> u64 {
        let (events, bootstrap) = self.log();
        let read = move || match bootstrap {
            None => topic::dead_letters_embedded(&events),
            Some(at) => topic::dead_letters_kafka(&at),
        };
        spawn_blocking(read).await.unwrap()
    }

    pub(crate) async fn poison(&self, key: String) {
        let (events, bootstrap) = self.log();
        let write = move || match bootstrap {
            None => topic::poison_embedded(&events, &key),
            Some(at) => topic::poison_kafka(&at, &key),
        };
        spawn_blocking(write).await.unwrap();
    }

    /// The embedded log's file, or where Kafka is: without a proxy.
    fn log(&self) -> (PathBuf, Option<String>) {
        let events = self.folder.path().join("data/events.db");
        (events, self.servers.as_ref().map(|servers| servers.kafka.bootstrap()))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(Node::kill);
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let of_note = |line: &&str| line.contains(" WARN ") || line.contains("ERROR");
            let last: Vec<_> = log.lines().rev().filter(of_note).take(60).collect();
            eprintln!("--- the last warnings of the log ---");
            last.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

// === impl Servers ===

impl Servers {
    fn start(seed: u64, grpc: &[u16]) -> Self {
        let postgres = Postgres::start(Version::Newest).unwrap();
        for part in SERVICES {
            postgres.ask(&format!("create database {part}")).unwrap();
        }
        let proxy = |port: u16| Proxy::start(("127.0.0.1", port), seed).unwrap();
        let to_postgres = proxy(postgres.port());
        let kafka = Kafka::start_behind_proxies(1, seed).unwrap();
        let to_billing = grpc.iter().map(|port| proxy(*port)).collect();
        Self { postgres, to_postgres, kafka, to_billing }
    }

    fn environment(&self) -> Vec<(String, String)> {
        let log = format!("kafka://{}", self.kafka.bootstrap_of(Listener::Proxied));
        let billing: Vec<_> =
            self.to_billing.iter().map(|proxy| format!("https://{}", proxy.address())).collect();
        let mut all = vec![
            ("MEDISYNC_EVENTS__LOG".to_owned(), log),
            ("MEDISYNC_EVENTS__PARTITIONS".to_owned(), "4".to_owned()),
            ("MEDISYNC_BILLING__GRPC_URL".to_owned(), billing.join(",")),
        ];
        let server = self.postgres.url_at(self.to_postgres.port());
        let server = server.rsplit_once('/').unwrap().0;
        let ca = self.postgres.ca_pem();
        for part in SERVICES {
            let url = format!("{server}/{part}?sslmode=verify-full&sslrootcert={}", ca.display());
            all.push((format!("MEDISYNC_{}__DATABASE", part.to_uppercase()), url));
        }
        all
    }
}

// === impl Disk ===

impl Disk {
    fn mount(at: &Path) -> Self {
        fs::create_dir(at).unwrap();
        let options = format!("size={DISK_MIB}m,mode=0700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).status();
        assert!(mounted.unwrap().success(), "a disk that can be full is mounted by root only");
        Self(at.to_owned())
    }

    /// Leaves no room.
    pub(crate) fn fill(&self) {
        use std::io::Write as _;
        let mut filler = fs::File::create(self.0.join("filler")).unwrap();
        for piece in [vec![0; 1 << 20], vec![0; 1 << 10]] {
            while filler.write_all(&piece).is_ok() {}
        }
    }

    pub(crate) fn clear(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Demo users, no limits that writers would run into, and a message for each event.
fn common() -> Vec<(String, String)> {
    let settings = [
        ("GATEWAY__RATE_LIMIT__USER", "off"),
        ("GATEWAY__RATE_LIMIT__CLIENT", "off"),
        ("GATEWAY__RATE_LIMIT__LOGIN", "off"),
        ("AUTH__RATE_LIMIT__ACCOUNT", "off"),
        ("NOTIFICATION__RATE_LIMIT__ADDRESS", "off"),
        ("NOTIFICATION__UPDATE_INTERVAL_SECONDS", "0"),
        ("DEMO", "true"),
    ];
    settings.map(|(key, value)| (format!("MEDISYNC_{key}"), value.to_owned())).to_vec()
}
