//! Two replicas of every part, each a process of its own: all of them are restarted, one after the
//! other, and no request is lost; and how one of them leaves.
//!
//! Replicas share the embedded stores, as processes of one host may. Each has an address of its own
//! in 127.0.0.0/8 and so the usual ports: what is restarted is found where it was.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    background_load::Meanwhile,
    environment::{PATIENCE, owned},
    heavy,
    test_mesh::{ADMIN, Answer, Caller, a_patient, medisync, until},
};

/// In the order in which they are started: each needs those before it.
const PARTS: [(&str, u16); 6] = [
    ("auth", 4005),
    ("billing", 4001),
    ("patient", 4000),
    ("analytics", 4002),
    ("notification", 4003),
    ("gateway", 4004),
];
const REPLICAS: [usize; 2] = [1, 2];
const DEMO_PATIENTS: u32 = 15;
/// Somebody who gets no answer by then has lost the request.
const WITHIN: Duration = Duration::from_secs(30);

/// One process of a part.
struct Replica {
    part: &'static str,
    /// The address that only it has.
    host: String,
    child: Child,
}

/// A mesh of replicas.
struct Replicas {
    number: usize,
    all: Vec<Replica>,
    environment: Vec<(String, String)>,
    folder: TempDir,
}

/// A client of both gateways, who asks the other one if there is nobody at the first.
#[derive(Clone)]
struct Either {
    callers: Vec<Caller>,
    asked: Arc<AtomicU32>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_part_is_restarted_and_no_request_is_lost() {
    let _turn = heavy::turn().await;
    let mut mesh = Replicas::start(&PARTS.map(|(part, _)| part), &[1, 2], &[]);
    let clerk = mesh.gateways().sign_in().await;
    let registered = Arc::new(AtomicU32::new(0));
    let requests: Vec<_> = (0..3).map(|_| go_on(clerk.clone(), Arc::clone(&registered))).collect();
    for at in 0..mesh.all.len() {
        for requests in &requests {
            requests.goes_on(1).await;
        }
        tokio::task::block_in_place(|| mesh.restart(at));
    }
    for requests in requests {
        requests.goes_on(3).await;
        requests.ends_well().await;
    }
    // Nothing was done twice, either.
    let all = DEMO_PATIENTS + registered.load(Ordering::SeqCst);
    until("every registration is counted once", || async {
        let summary = clerk.get("/api/analytics/summary").await;
        assert!(summary["created"].as_u64().unwrap() <= all.into(), "{summary} of {all}");
        summary["created"] == all
    })
    .await;
}

#[tokio::test]
async fn a_part_that_was_told_to_stop_says_so_and_serves_on() {
    let long = [
        ("MEDISYNC_MESH__MTLS", "permissive"),
        ("MEDISYNC_DRAIN_SECONDS", "600"),
        ("MEDISYNC_MESH__LEAVE_MS", "600000"),
    ];
    let mut mesh = Replicas::start(&["auth"], &[1], &long);
    let base = format!("http://{}:4005", mesh.all[0].host);
    let auth = Caller { client: client(), base, token: None };
    auth.get("/readyz").await.expect(StatusCode::OK);
    mesh.all[0].signal("TERM");
    until("it is not ready any more", || async { auth.get("/readyz").await.status == 503 }).await;
    let keys = auth.get("/.well-known/jwks.json").await.expect(StatusCode::OK);
    assert_eq!(keys.header("connection"), "close");
    // Anyone who asks twice does not want to wait.
    mesh.all[0].signal("INT");
    assert_eq!(mesh.all[0].child.wait().unwrap().code(), Some(0));
}

/// Registers patients and asks every part about them, over and over.
fn go_on(clerk: Either, registered: Arc<AtomicU32>) -> Meanwhile {
    Meanwhile::repeat(move || {
        let (clerk, registered) = (clerk.clone(), Arc::clone(&registered));
        async move {
            let answer = clerk.send(Method::POST, "/api/patients", Some(&a_patient())).await;
            let patient = answer.expect(StatusCode::CREATED).json();
            registered.fetch_add(1, Ordering::SeqCst);
            assert_eq!(patient["billing"]["status"], "ACTIVE", "billing was not reached");
            let id = patient["id"].as_str().unwrap();
            clerk.get(&format!("/api/patients/{id}")).await;
            let accounts = clerk.get(&format!("/api/billing/accounts?patientId={id}")).await;
            assert_eq!(accounts["accounts"].as_array().unwrap().len(), 1);
            clerk.get("/api/analytics/summary").await;
            clerk.get("/api/notifications").await;
            clerk.sign_in().await.get("/auth/me").await;
        }
    })
}

// === impl Replica ===

impl Replica {
    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

// === impl Replicas ===

impl Replicas {
    fn start(parts: &[&'static str], replicas: &[usize], given: &[(&str, &str)]) -> Self {
        shared_middleware::token::install_crypto();
        let (number, folder) = (next_mesh(), tempfile::tempdir().unwrap());
        let pki = |args: &[&str]| {
            let mut command = medisync();
            command.arg("pki").args(args).arg("--data-dir").arg(folder.path());
            assert!(command.stdout(Stdio::null()).status().unwrap().success());
        };
        pki(&["init"]);
        parts.iter().for_each(|part| pki(&["issue", part]));
        let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let environment = environment(number).into_iter().chain(given).collect();
        let mut mesh = Self { number, all: Vec::new(), environment, folder };
        for &part in parts {
            for &replica in replicas {
                let host = host(number, part, replica);
                let child = mesh.spawn(part, &host);
                mesh.all.push(Replica { part, host, child });
            }
        }
        mesh
    }

    /// Starts a process and waits until it is ready.
    fn spawn(&self, part: &str, host: &str) -> Child {
        let log = self.folder.path().join("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = medisync();
        command.args(["run", part, "--data-dir"]).arg(self.folder.path());
        command.envs(self.environment.iter().cloned());
        for (part, port) in PARTS {
            let listen = format!("MEDISYNC_{}__LISTEN", part.to_uppercase());
            command.env(listen, format!("{host}:{port}"));
        }
        command.env("MEDISYNC_BILLING__GRPC_LISTEN", format!("{host}:9001"));
        command.env("MEDISYNC_ADMIN__LISTEN", format!("{host}:4090"));
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = said.any(|line| line.unwrap().starts_with("ready "));
        assert!(ready, "{part} ended before it was ready");
        std::thread::spawn(move || said.for_each(drop));
        child
    }

    /// Asks a process to end, waits until it has, and starts it again.
    fn restart(&mut self, at: usize) {
        self.all[at].signal("TERM");
        let Replica { part, host, child } = &mut self.all[at];
        assert_eq!(child.wait().unwrap().code(), Some(0), "{part}");
        let (part, host) = (*part, host.clone());
        self.all[at].child = self.spawn(part, &host);
    }

    fn gateways(&self) -> Either {
        let client = client();
        let base = |replica| format!("http://{}:4004", host(self.number, "gateway", replica));
        let caller = |replica| Caller { client: client.clone(), base: base(replica), token: None };
        Either { callers: REPLICAS.map(caller).into(), asked: Arc::default() }
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        for Replica { child, .. } in &mut self.all {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().filter(|line| !line.contains("status=20")).collect();
            eprintln!("--- the last of the log ---");
            lines.iter().rev().take(60).rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

// === impl Either ===

impl Either {
    async fn sign_in(&self) -> Self {
        let body = json!({"email": ADMIN, "password": "password123"});
        let answer = self.send(Method::POST, "/auth/login", Some(&body)).await;
        let token = answer.expect(StatusCode::OK).json()["token"].as_str().unwrap().to_owned();
        let callers = self.callers.iter().map(|caller| caller.with(&token)).collect();
        Self { callers, asked: Arc::clone(&self.asked) }
    }

    async fn get(&self, path: &str) -> Value {
        let text = self.send(Method::GET, path, None).await.expect(StatusCode::OK);
        text.json()
    }

    /// Only where nobody listens was nothing sent: anything else is not tried again.
    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let turn = self.asked.fetch_add(1, Ordering::Relaxed) as usize;
        for at in 0..self.callers.len() {
            let caller = &self.callers[(turn + at) % self.callers.len()];
            match caller.try_send(method.clone(), path, &[], body).await {
                Ok(answer) => return answer,
                Err(error) if error.is_connect() => {}
                Err(error) => panic!("{method} {path}: {error:?}"),
            }
        }
        panic!("{method} {path}: there is no gateway")
    }
}

fn client() -> Client {
    Client::builder().timeout(WITHIN).tls_certs_only([]).build().unwrap()
}

/// A number for each mesh of a test run.
fn next_mesh() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::SeqCst)
}

/// An address of this test run's own, as if each replica had a machine for itself.
fn host(mesh: usize, part: &str, replica: usize) -> String {
    let [.., high, low] = std::process::id().to_be_bytes();
    let part = PARTS.iter().position(|(name, _)| *name == part).unwrap();
    format!("127.{}.{low}.{}", 1 + high % 250, 100 * mesh + 10 * part + replica)
}

/// What all processes are told: above all where the others are.
fn environment(mesh: usize) -> Vec<(String, String)> {
    let urls = |part: &str, port: u16| {
        REPLICAS.map(|replica| format!("https://{}:{port}", host(mesh, part, replica))).join(",")
    };
    let services = PARTS.iter().filter(|(part, _)| *part != "gateway");
    let places =
        services.map(|(part, port)| (format!("{}__URL", part.to_uppercase()), urls(part, *port)));
    let others = [
        ("BILLING__GRPC_URL", &*urls("billing", 9001)),
        ("GATEWAY__RATE_LIMIT__USER", "off"),
        ("GATEWAY__RATE_LIMIT__CLIENT", "off"),
        ("GATEWAY__RATE_LIMIT__LOGIN", "off"),
        ("AUTH__RATE_LIMIT__ACCOUNT", "off"),
        // Quicker than usual, in the usual proportion.
        ("GATEWAY__HEALTH_EVERY_MS", "400"),
        ("MESH__LEAVE_MS", "1000"),
        ("MESH__MTLS", "strict"),
        ("DEMO", "true"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let all = places.chain(others).map(|(key, value)| (format!("MEDISYNC_{key}"), value));
    all.chain(PATIENCE.map(owned)).collect()
}
