//! A mesh of one's own: started on free ports in a folder of its own, gone with the test.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use crate::caller::{Answer, Caller, fields};

/// What never happens by then, does not happen.
const WITHIN: Duration = Duration::from_secs(60);
const LOOKS_EVERY: Duration = Duration::from_millis(20);
const PASSWORD: &str = "password123";

/// Demo users, one of each role.
pub(crate) const ADMIN: &str = "testuser@test.com";
pub(crate) const CLINICIAN: &str = "clinician@test.com";
pub(crate) const RECEPTIONIST: &str = "receptionist@test.com";
pub(crate) const BILLING: &str = "billing@test.com";
pub(crate) const AUDITOR: &str = "auditor@test.com";

/// A running mesh: one process of the binary, or several.
pub(crate) struct World {
    child: Child,
    others: Vec<Child>,
    /// Addresses by name, as the `ready` line told them.
    urls: HashMap<String, String>,
    client: Client,
    pub(crate) folder: TempDir,
    environment: Vec<(String, String)>,
}

/// The binary under test.
pub(crate) fn medisync() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medisync"));
    command.env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MEDISYNC_")) {
        command.env_remove(name);
    }
    command
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

/// Waits until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let mut looks = tokio::time::interval(LOOKS_EVERY);
    let waited = async {
        while !is_so().await {
            looks.tick().await;
        }
    };
    assert!(tokio::time::timeout(WITHIN, waited).await.is_ok(), "it never came to be: {what}");
}

// === impl World ===

impl World {
    /// The whole mesh, with demo data and without rate limits, which stories would run into.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with these variables.
    pub(crate) async fn start_with(environment: &[(&str, &str)]) -> Self {
        let off = ["USER", "CLIENT", "LOGIN"]
            .map(|limit| (format!("MEDISYNC_GATEWAY__RATE_LIMIT__{limit}"), "off".to_owned()));
        let given = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let environment = off.into_iter().chain(given).collect();
        let folder = tempfile::tempdir().unwrap();
        Self::launch(folder, environment)
    }

    fn launch(folder: TempDir, environment: Vec<(String, String)>) -> Self {
        crypto();
        let data = folder.path().join("data");
        let (child, ready) = spawn(&["up"], &data, &environment, folder.path());
        let (urls, client, others) = (urls(&ready), http_client(), Vec::new());
        Self { child, others, urls, client, folder, environment }
    }

    /// Every part in a process of its own, on the data and certificates of one folder.
    pub(crate) fn of_processes(folder: TempDir) -> Self {
        crypto();
        let mut environment = vec![("MEDISYNC_DEMO".to_owned(), "true".to_owned())];
        let (mut all, mut others) = (HashMap::new(), Vec::new());
        // Each is told where those are that started before it.
        for part in ["auth", "billing", "patient", "analytics", "notification", "gateway"] {
            let (child, ready) = spawn(&["run", part], folder.path(), &environment, folder.path());
            others.push(child);
            for (name, url) in urls(&ready).into_iter().filter(|(name, _)| name != "admin") {
                let key = if name == "billing gRPC" { "BILLING__GRPC_URL" } else { "" };
                let own = format!("{}__URL", name.to_uppercase());
                let key = if key.is_empty() { own } else { key.to_owned() };
                environment.push((format!("MEDISYNC_{key}"), url.replace("http://", "https://")));
                all.insert(name, url);
            }
            environment.retain(|(name, _)| name != "MEDISYNC_GATEWAY__URL");
        }
        let child = others.pop().unwrap();
        Self { child, others, urls: all, client: http_client(), folder, environment }
    }

    /// Kills the process at once (SIGKILL) and starts it again on the same data.
    pub(crate) fn crash_and_restart(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Self::launch(folder, std::mem::take(&mut self.environment))
    }

    /// Asks the process to end (SIGTERM).
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let told = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().unwrap();
        assert!(told.success());
    }

    /// Waits for the end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Where a part is: `gateway`, `patient`, …, `billing gRPC`, `admin`.
    pub(crate) fn url(&self, name: &str) -> &str {
        &self.urls[name]
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// All that was logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The text of `/metrics`.
    pub(crate) async fn metrics(&self) -> String {
        self.at("admin").get("/metrics").await.text
    }

    /// Nobody, at the gateway.
    pub(crate) fn anybody(&self) -> Caller {
        self.at("gateway")
    }

    /// Nobody, at a part's own port.
    pub(crate) fn at(&self, part: &str) -> Caller {
        Caller { client: self.client.clone(), base: self.url(part).to_owned(), token: None }
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
        until("the outbox and every consumer are done", || async {
            let metrics = self.metrics().await;
            let all_zero = |name: &str| {
                let mut found = metrics.lines().filter(|line| line.starts_with(name)).peekable();
                found.peek().is_some() && found.all(|line| line.ends_with(" 0"))
            };
            all_zero("outbox_pending{") && all_zero("event_consumer_lag{")
        })
        .await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.others.iter_mut().chain([&mut self.child]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let mut log = String::new();
            let file = fs::File::open(self.folder.path().join("log"));
            let _ = file.map(|mut file| file.read_to_string(&mut log));
            let last: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("--- the last of the log ---");
            last.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Files of a folder that end so.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

/// Starts a process on free ports and waits for its `ready` line.
fn spawn(
    args: &[&str],
    data: &Path,
    environment: &[(String, String)],
    folder: &Path,
) -> (Child, String) {
    let mut command = medisync();
    command.args(args).arg("--data-dir").arg(data);
    for part in ["GATEWAY", "AUTH", "PATIENT", "BILLING", "ANALYTICS", "NOTIFICATION", "ADMIN"] {
        command.env(format!("MEDISYNC_{part}__LISTEN"), "127.0.0.1:0");
    }
    command.env("MEDISYNC_BILLING__GRPC_LISTEN", "127.0.0.1:0");
    command.envs(environment.iter().cloned());
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = loop {
        match lines.next() {
            Some(Ok(line)) if line.starts_with("ready ") => break line,
            Some(Ok(_)) => {}
            _ => {
                let log = fs::read_to_string(folder.join("log")).unwrap();
                panic!("it ended before it was ready:\n{log}");
            }
        }
    };
    // Read on, so that the process never waits for us to take its output.
    std::thread::spawn(move || lines.for_each(drop));
    (child, ready)
}

fn crypto() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(shared_middleware::token::install_crypto);
}

fn http_client() -> Client {
    let client = Client::builder().timeout(WITHIN).tls_certs_only([]);
    client.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// `ready URL (name) URL (name) …`
fn urls(ready: &str) -> HashMap<String, String> {
    let pairs = ready.strip_prefix("ready ").unwrap().split(") ");
    let pair = |pair: &str| {
        let (url, name) = pair.split_once(" (").unwrap();
        (name.trim_end_matches(')').to_owned(), url.to_owned())
    };
    pairs.map(pair).collect()
}
