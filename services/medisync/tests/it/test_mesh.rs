//! A mesh as a story sees it: whom it speaks to, as whom, and what it waits for.
//!
//! Most tests have one of their own; `shared` has those that several use at the same time.
//! Stories know nothing of how it runs. By default all parts are one process on the embedded
//! stores; with `MEDISYNC_TEST_STACK=servers` every part is a process of its own, on PostgreSQL and
//! Kafka, and no service speaks without mTLS; with `containers` each of these is a container.

use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use crate::{
    caller::{Answer, Caller, fields},
    processes::medisync,
    waiting::{by, until},
};
use crate::{
    certs::{self, Identity},
    environment::{MTLS, addresses, owned, variables},
    mesh::Mesh,
    processes::{Process, issue_certificates},
    servers::{self, Servers},
    shared::Meshes,
    waiting::WITHIN,
};

const PASSWORD: &str = "password123";
/// An idle connection is not used again after so long.
const IDLE_AT_MOST: Duration = Duration::from_secs(5);

/// Demo users, one of each role.
pub(crate) const ADMIN: &str = "testuser@test.com";
pub(crate) const CLINICIAN: &str = "clinician@test.com";
pub(crate) const RECEPTIONIST: &str = "receptionist@test.com";
pub(crate) const BILLING: &str = "billing@test.com";
pub(crate) const AUDITOR: &str = "auditor@test.com";

/// A running mesh, and who speaks to it: a test has clients of its own, since connections belong to
/// its runtime.
pub(crate) struct TestMesh {
    client: Client,
    /// The gateway, as services know it; where they speak to nobody else.
    gateway: Option<Client>,
    mesh: Arc<Mesh>,
    _shared: Arc<Meshes>,
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

// === impl TestMesh ===

impl TestMesh {
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

    /// The same, with these variables.
    pub(crate) fn embedded_on_with(folder: TempDir, ours: &[(String, String)]) -> Self {
        Self::launch(folder, variables(&[], ours), None)
    }

    /// Every part in a process of its own, on PostgreSQL and Kafka.
    async fn on_servers(environment: &[(&str, &str)]) -> Self {
        let servers = Servers::prepare().await;
        let folder = tempfile::tempdir().unwrap();
        let mut ours = servers.environment();
        ours.extend([(MTLS, "strict"), ("MEDISYNC_DEMO", "true")].map(owned));
        ours.extend(addresses());
        issue_certificates(&folder.path().join("data"));
        Self::launch(folder, variables(environment, &ours), Some(servers))
    }

    /// Every part in a process of its own, on the embedded stores of one folder.
    pub(crate) fn of_processes(folder: TempDir) -> Self {
        issue_certificates(&folder.path().join("data"));
        let mut ours = addresses();
        ours.push(owned(("MEDISYNC_DEMO", "true")));
        let mut mesh = Mesh::idle(folder, variables(&[], &ours), None);
        mesh.run_parts();
        Self::of(Arc::new(mesh))
    }

    fn launch(
        folder: TempDir,
        environment: Vec<(String, String)>,
        servers: Option<Servers>,
    ) -> Self {
        let mut mesh = Mesh::idle(folder, environment, servers);
        if mesh.servers.is_some() {
            mesh.run_parts();
        } else {
            mesh.run(&[&["up"]]);
        }
        Self::of(Arc::new(mesh))
    }

    /// This mesh, with clients of its own.
    pub(crate) fn of(mesh: Arc<Mesh>) -> Self {
        crypto();
        let mut world =
            Self { client: http_client(), gateway: None, mesh, _shared: Meshes::running() };
        if world.variable(MTLS) == Some("strict") {
            world.gateway = Some(certs::client(&world, Some(&Identity::of(&world, "gateway"))));
        }
        world
    }

    /// The mesh alone, for another test.
    pub(crate) fn mesh(&self) -> Arc<Mesh> {
        Arc::clone(&self.mesh)
    }

    /// The mesh, to do something to it.
    fn own(&mut self) -> &mut Mesh {
        Arc::get_mut(&mut self.mesh).expect("a mesh that others use is left as it is")
    }

    /// Kills every process at once (SIGKILL) and starts them again on the same data.
    pub(crate) fn crash_and_restart(mut self) -> Self {
        let mesh = self.own();
        mesh.processes.iter_mut().for_each(Process::kill);
        let folder = std::mem::replace(&mut mesh.folder, tempfile::tempdir().unwrap());
        Self::launch(folder, std::mem::take(&mut mesh.environment), mesh.servers.take())
    }

    /// The same, with another value of a variable.
    pub(crate) fn restart_with(mut self, name: &str, value: &str) -> Self {
        let environment = &mut self.own().environment;
        environment.retain(|(known, _)| known != name);
        environment.push(owned((name, value)));
        self.crash_and_restart()
    }

    /// Asks every process to end (SIGTERM).
    pub(crate) fn terminate(&mut self) {
        self.own().processes.iter().for_each(Process::terminate);
    }

    /// Waits for the end of all; of the first one that did not end well, if there is any.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let ended: Vec<_> = self.own().processes.iter_mut().map(Process::ended).collect();
        *ended.iter().find(|status| !status.success()).unwrap_or(&ended[0])
    }

    /// Where a part is: `gateway`, `patient`, …, `billing gRPC`, `admin`.
    pub(crate) fn url(&self, name: &str) -> &str {
        &self.mesh.urls[name]
    }

    pub(crate) fn folder(&self) -> &Path {
        self.mesh.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.mesh.data()
    }

    /// What the mesh was told by its environment.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.mesh.environment.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// All that was logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap()
    }

    /// What other users of the machine see of its processes.
    pub(crate) fn command_lines(&self) -> String {
        let ids = self.mesh.processes.iter().map(Process::id);
        ids.map(|id| fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap()).collect()
    }

    /// The text of `/metrics`, of every process.
    pub(crate) async fn metrics(&self) -> String {
        let mut all = String::new();
        for admin in self.admins().values() {
            let asked = self.client.get(format!("http://{admin}/metrics")).send().await;
            all += &asked.unwrap().text().await.unwrap();
        }
        all
    }

    /// The admin listeners of its processes, `host:port`, by their names.
    pub(crate) fn admins(&self) -> HashMap<&str, &str> {
        let admins = self.mesh.urls.iter().filter(|(name, _)| name.ends_with("admin"));
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
        self.own().process(part).kill();
    }

    /// Starts it again, as whatever watches over it would.
    pub(crate) fn start_again(&mut self, part: &str) {
        let mesh = self.own();
        let (data, folder) = (mesh.data(), mesh.folder.path().to_owned());
        let mut started = Process::start(&["run", part], &data, &mesh.environment, &folder);
        let urls = started.ready(&folder);
        mesh.urls.insert(format!("{part} admin"), urls["admin"].clone());
        *mesh.process(part) = started;
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
        let urls = &self.mesh.urls;
        let own = urls.get(&format!("{part} admin"));
        let base = own.unwrap_or_else(|| &urls["admin"]).clone();
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
        command.envs(self.mesh.environment.iter().cloned());
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
        match &self.mesh.servers {
            // Kafka itself knows better how far its groups are than what was told of it last.
            Some(servers) => until("every group is done", || servers.are_drained()).await,
            None => until("every group is done", || self.all_zero("event_consumer_lag{")).await,
        }
    }

    /// The same, and that every message of the first 200 is sent.
    pub(crate) async fn drain_and_send(&self) {
        self.drain().await;
        let admin = self.sign_in(ADMIN).await;
        until("every message is sent", || async {
            let messages = admin.get("/api/notifications?size=200").await.list("notifications");
            !messages.is_empty() && messages.iter().all(|message| message["status"] == "SENT")
        })
        .await;
    }

    async fn all_zero(&self, name: &str) -> bool {
        let metrics = self.metrics().await;
        let mut found = metrics.lines().filter(|line| line.starts_with(name)).peekable();
        found.peek().is_some() && found.all(|line| line.ends_with(" 0"))
    }
}

impl Drop for TestMesh {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let log = fs::read_to_string(self.folder().join("log")).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(40).collect();
        eprintln!("--- the last of the log ---");
        last.iter().rev().for_each(|line| eprintln!("{line}"));
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
    // Shorter than any listener keeps a connection on which nothing is asked.
    let client = Client::builder().timeout(WITHIN).pool_idle_timeout(IDLE_AT_MOST);
    let client = client.tls_certs_only([]);
    client.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}
