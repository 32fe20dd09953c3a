//! A mesh of one's own: started in a folder of its own, gone with the test.
//!
//! Stories know nothing of how it runs. By default all parts are one process on the embedded
//! stores; with `MEDISYNC_TEST_STACK=servers` every part is a process of its own, on PostgreSQL and
//! Kafka, and no service speaks without mTLS; with `containers` each of these is a container.

use std::{
    collections::HashMap,
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use crate::{
    caller::{Answer, Caller, fields},
    processes::medisync,
    waiting::until,
};
use crate::{
    canary,
    certs::{self, Identity},
    environment::{MTLS, addresses, owned, variables},
    processes::{PARTS, Process, issue_certificates},
    servers::{self, Servers},
    waiting::WITHIN,
};

const PASSWORD: &str = "password123";

/// Demo users, one of each role.
pub(crate) const ADMIN: &str = "testuser@test.com";
pub(crate) const CLINICIAN: &str = "clinician@test.com";
pub(crate) const RECEPTIONIST: &str = "receptionist@test.com";
pub(crate) const BILLING: &str = "billing@test.com";
pub(crate) const AUDITOR: &str = "auditor@test.com";

/// A running mesh: one process of the binary, or one for each part.
pub(crate) struct World {
    processes: Vec<Process>,
    /// Addresses by name, as the `ready` lines told them.
    urls: HashMap<String, String>,
    client: Client,
    /// The gateway, as services know it; where they speak to nobody else.
    gateway: Option<Client>,
    pub(crate) folder: TempDir,
    environment: Vec<(String, String)>,
    servers: Option<Servers>,
}

/// A patient that nobody registered yet.
pub(crate) fn a_patient() -> Value {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let n = NEXT.fetch_add(1, Ordering::SeqCst);
    json!({
        "name": format!("Test Person {n}"),
        "email": format!("test.person.{n}@example.com"),
        "address": "1 Test Street",
        "dateOfBirth": "1990-02-28",
    })
}

// === impl World ===

impl World {
    /// The whole mesh, with demo data and without rate limits, which stories would run into.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with these variables.
    pub(crate) async fn start_with(environment: &[(&str, &str)]) -> Self {
        if servers::are_asked_for() {
            Self::on_servers(environment).await
        } else {
            Self::embedded_with(environment).await
        }
    }

    /// The same, where services answer callers without a certificate who have a token.
    pub(crate) async fn permissive() -> Self {
        Self::start_with(&[(MTLS, "permissive")]).await
    }

    /// One process on the embedded stores, whatever the others run on: for what is said of those.
    pub(crate) async fn embedded() -> Self {
        Self::embedded_with(&[]).await
    }

    /// The same, with these variables.
    pub(crate) async fn embedded_with(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::launch(folder, variables(environment, &[]), None)
    }

    /// One process on the embedded stores, on data that is there: `data` in this folder.
    pub(crate) fn embedded_on(folder: TempDir) -> Self {
        Self::launch(folder, variables(&[], &[]), None)
    }

    /// Every part in a process of its own, on PostgreSQL and Kafka.
    async fn on_servers(environment: &[(&str, &str)]) -> Self {
        let servers = Servers::prepare().await;
        let folder = tempfile::tempdir().unwrap();
        let mut ours = servers.environment();
        // Servers that all tests share may be slow to let somebody in.
        let patience = ("MEDISYNC_LIMITS__ACQUIRE_MS", "15000");
        ours.extend([(MTLS, "strict"), ("MEDISYNC_DEMO", "true"), patience].map(owned));
        ours.extend(addresses());
        issue_certificates(&folder.path().join("data"));
        Self::launch(folder, variables(environment, &ours), Some(servers))
    }

    /// Every part in a process of its own, on the embedded stores of one folder.
    pub(crate) fn of_processes(folder: TempDir) -> Self {
        issue_certificates(&folder.path().join("data"));
        let mut ours = addresses();
        ours.push(owned(("MEDISYNC_DEMO", "true")));
        let mut world = Self::idle(folder, variables(&[], &ours), None);
        world.run_parts();
        world
    }

    fn idle(folder: TempDir, environment: Vec<(String, String)>, servers: Option<Servers>) -> Self {
        crypto();
        let (client, urls) = (http_client(), HashMap::new());
        Self { processes: Vec::new(), urls, client, gateway: None, folder, environment, servers }
    }

    fn launch(
        folder: TempDir,
        environment: Vec<(String, String)>,
        servers: Option<Servers>,
    ) -> Self {
        let mut world = Self::idle(folder, environment, servers);
        if world.servers.is_some() {
            world.run_parts();
        } else {
            world.run(&[&["up"]]);
        }
        world
    }

    fn run_parts(&mut self) {
        self.run(&PARTS.map(|part| ["run", part]).each_ref().map(|args| &args[..]));
    }

    /// Starts these at the same time, each with an admin listener of its own, and waits until they
    /// are ready.
    fn run(&mut self, commands: &[&[&str]]) {
        let start = |args: &&[&str]| {
            Process::start(args, &self.data(), &self.environment, self.folder.path())
        };
        self.processes = commands.iter().map(start).collect();
        for process in &mut self.processes {
            for (name, url) in process.ready(self.folder.path()) {
                // The gateway's is the mesh's, as far as there is one.
                let name = match name.as_str() {
                    "admin" if process.name != "gateway" && process.name != "up" => {
                        format!("{} admin", process.name)
                    }
                    _ => name,
                };
                self.urls.insert(name, url);
            }
        }
        if self.environment.contains(&owned((MTLS, "strict"))) {
            self.gateway = Some(certs::client(self, Some(&Identity::of(self, "gateway"))));
        }
    }

    /// Kills every process at once (SIGKILL) and starts them again on the same data.
    pub(crate) fn crash_and_restart(mut self) -> Self {
        self.processes.iter_mut().for_each(Process::kill);
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Self::launch(folder, std::mem::take(&mut self.environment), self.servers.take())
    }

    /// Asks every process to end (SIGTERM).
    pub(crate) fn terminate(&self) {
        self.processes.iter().for_each(Process::terminate);
    }

    /// Waits for the end of all; of the first one that did not end well, if there is any.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let ended: Vec<_> = self.processes.iter_mut().map(Process::ended).collect();
        *ended.iter().find(|status| !status.success()).unwrap_or(&ended[0])
    }

    /// Where a part is: `gateway`, `patient`, …, `billing gRPC`, `admin`.
    pub(crate) fn url(&self, name: &str) -> &str {
        &self.urls[name]
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What the mesh was told by its environment.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// All that was logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// What other users of the machine see of its processes.
    pub(crate) fn command_lines(&self) -> String {
        let ids = self.processes.iter().map(Process::id);
        ids.map(|id| fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap()).collect()
    }

    /// The text of `/metrics`, of every process.
    pub(crate) async fn metrics(&self) -> String {
        let mut all = String::new();
        for url in self.urls.iter().filter(|(name, _)| name.ends_with("admin")).map(|(_, url)| url)
        {
            all += &self
                .client
                .get(format!("{url}/metrics"))
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
        }
        all
    }

    /// The admin listeners of its processes, `host:port`, by their names.
    pub(crate) fn admins(&self) -> HashMap<&str, &str> {
        let admins = self.urls.iter().filter(|(name, _)| name.ends_with("admin"));
        admins.map(|(name, url)| (&**name, url.trim_start_matches("http://"))).collect()
    }

    /// Every part in a process of its own, on whatever stores the stories run on.
    pub(crate) async fn of_parts() -> Self {
        if servers::are_asked_for() {
            Self::on_servers(&[]).await
        } else {
            Self::of_processes(tempfile::tempdir().unwrap())
        }
    }

    /// Kills a part's own process.
    pub(crate) fn kill(&mut self, part: &str) {
        self.process(part).kill();
    }

    /// Starts it again, as whatever watches over it would.
    pub(crate) fn start_again(&mut self, part: &str) {
        let (data, folder) = (self.data(), self.folder.path().to_owned());
        let mut started = Process::start(&["run", part], &data, &self.environment, &folder);
        let urls = started.ready(&folder);
        self.urls.insert(format!("{part} admin"), urls["admin"].clone());
        *self.process(part) = started;
    }

    fn process(&mut self, part: &str) -> &mut Process {
        self.processes.iter_mut().find(|process| process.name == part).unwrap()
    }

    /// Nobody, at the gateway.
    pub(crate) fn anybody(&self) -> Caller {
        self.at("gateway")
    }

    /// Nobody, at a part's own port: without a certificate, where that is allowed.
    pub(crate) fn at(&self, part: &str) -> Caller {
        match &self.gateway {
            Some(gateway) if part != "gateway" && !part.ends_with("admin") => {
                self.by(gateway, part)
            }
            _ => {
                let (client, base) = (self.client.clone(), self.url(part).to_owned());
                Caller { client, base, token: None }
            }
        }
    }

    /// Nobody, at the admin listener of the process that a part runs in.
    pub(crate) fn admin_of(&self, part: &str) -> Caller {
        let own = self.urls.get(&format!("{part} admin"));
        let base = own.unwrap_or_else(|| &self.urls["admin"]).clone();
        Caller { client: self.client.clone(), base, token: None }
    }

    /// Nobody, at a part's own port, by TLS with a client made for that.
    pub(crate) fn by(&self, client: &Client, part: &str) -> Caller {
        let base = self.url(part).replace("http://", "https://");
        Caller { client: client.clone(), base, token: None }
    }

    /// Runs a command on the mesh's data; what it printed.
    pub(crate) fn command(&self, arguments: &[&str], input: &str) -> String {
        let mut command = self.command_line(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    }

    /// A command on the mesh's data, to be run by the caller.
    pub(crate) fn command_line(&self, arguments: &[&str]) -> Command {
        let mut command = medisync();
        command.args(arguments).arg("--data-dir").arg(self.data());
        command.envs(self.environment.iter().cloned());
        command
    }

    /// A demo user, signed in at the gateway.
    pub(crate) async fn sign_in(&self, email: &str) -> Caller {
        let answer = self.anybody().log_in(email, PASSWORD).await.expect(StatusCode::OK);
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        Caller { token: Some(token), ..self.anybody() }
    }

    /// Posts a text to the patients, whatever it is.
    pub(crate) async fn raw(&self, caller: &Caller, content_type: &str, body: &str) -> Answer {
        let url = format!("{}/api/patients", self.url("gateway"));
        let request = self.client.post(url).header("content-type", content_type);
        let token = caller.token.clone().unwrap();
        let response = request.bearer_auth(token).body(body.to_owned()).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    /// Waits until all that was committed has taken effect everywhere.
    pub(crate) async fn drain(&self) {
        until("the outbox is empty", || self.all_zero("outbox_pending{")).await;
        match &self.servers {
            // Kafka itself knows better how far its groups are than what was told of it last.
            Some(servers) => until("every group is done", || servers.are_drained()).await,
            None => until("every group is done", || self.all_zero("event_consumer_lag{")).await,
        }
    }

    async fn all_zero(&self, name: &str) -> bool {
        let metrics = self.metrics().await;
        let mut found = metrics.lines().filter(|line| line.starts_with(name)).peekable();
        found.peek().is_some() && found.all(|line| line.ends_with(" 0"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.processes.iter_mut().for_each(Process::kill);
        if std::thread::panicking() {
            let mut log = String::new();
            let file = fs::File::open(self.folder.path().join("log"));
            let _ = file.map(|mut file| file.read_to_string(&mut log));
            let last: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("--- the last of the log ---");
            last.iter().rev().for_each(|line| eprintln!("{line}"));
            return;
        }
        let seen = canary::seen_in_folder(self.folder.path());
        assert!(seen.is_empty(), "people are named:\n{}", seen.join("\n"));
    }
}

/// Files of a folder that end so.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

fn crypto() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(shared_middleware::token::install_crypto);
}

fn http_client() -> Client {
    let client = Client::builder().timeout(WITHIN).tls_certs_only([]);
    client.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}
