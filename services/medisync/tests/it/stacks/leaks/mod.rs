//! Values that exist once go through every documented operation and every kind of refusal, while
//! all that can be logged is; then they are looked for wherever the mesh tells something.

mod operations;

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kit::log::{CONTENT_TYPE, EVENT_ID, EVENT_TYPE, Record, Start, TRACEPARENT};
use prost::Message as _;
use proto::patient_events::PatientEvent;
use reqwest::{Method, StatusCode, header::CONTENT_TYPE as TYPE};
use serde_json::{Map, Value, json};
use testbed::Postgres;
use tokio::net::TcpListener;

use crate::{
    heavy,
    pii_scan::Canaries,
    stacks::{events::log_of, traces::Collector},
    test_mesh::{ADMIN, AUDITOR, Caller, RECEPTIONIST, TestMesh, until},
    wire,
};

const NAME: &str = "Qorvexil Zandermund";
const EMAIL: &str = "qorvexil.zandermund@krelvost.example";
const ADDRESS: &str = "77 Vundelquist Passage";
const BORN: &str = "1907-11-23";
const PASSWORD: &str = "hyvantic lumbershade 4471";
const WRONG_PASSWORD: &str = "quonderbolt wrong 9913";
const FORGED_TOKEN: &str =
    "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJmcm9ubGV4In0.Zm9yZ2VkLXNpZ25hdHVyZS1mcm9ubGV4";
const SMTP_PASSWORD: &str = "smtpvandelkrist8812";
const KEY: &str = "idempotency-trovandlek-5520";
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// Headers of our events: none names anybody.
const HEADERS: [&str; 4] = [EVENT_ID, EVENT_TYPE, TRACEPARENT, CONTENT_TYPE];

/// All that was told, and what must not be in it.
struct Scan {
    canaries: Canaries,
    seen: Vec<String>,
    refusals: usize,
}

/// What is sent as a body.
enum Body {
    None,
    Json(Value),
    Text(&'static str, String),
}

// === impl Scan ===

impl Scan {
    fn new() -> Self {
        let values = [
            NAME,
            EMAIL,
            ADDRESS,
            BORN,
            PASSWORD,
            WRONG_PASSWORD,
            FORGED_TOKEN,
            SMTP_PASSWORD,
            Postgres::PASSWORD,
            KEY,
        ];
        Self { canaries: Canaries::new(values), seen: Vec::new(), refusals: 0 }
    }

    fn look(&mut self, place: &str, told: impl AsRef<[u8]>) {
        self.seen.extend(self.canaries.seen_in(place, told.as_ref()));
    }

    /// Sends it, and looks at the headers of the answer, and at its body if that is a refusal's.
    async fn send(&mut self, caller: &Caller, method: &Method, path: &str, body: &Body) -> Value {
        let url = format!("{}{path}", caller.base);
        let mut request = caller.client.request(method.clone(), url).header("user-agent", NAME);
        if let Some(token) = &caller.token {
            request = request.bearer_auth(token);
        }
        request = match body {
            Body::None => request,
            Body::Json(value) => request.json(value).header("idempotency-key", KEY),
            Body::Text(kind, text) => request.header(TYPE, *kind).body(text.clone()),
        };
        // A body that is refused unread may break the connection before there is an answer.
        let Ok(response) = request.send().await else { return Value::Null };
        let (status, place) =
            (response.status(), format!("{method} {path}: {}", response.status()));
        self.look(&place, format!("{:?}", response.headers()));
        let text = response.text().await.unwrap_or_default();
        if status.is_client_error() || status.is_server_error() {
            self.refusals += 1;
            self.look(&place, &text);
        }
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// A token, of which the signature is enough to find it.
    fn secret(&mut self, answer: &Value, field: &str) -> String {
        let token = answer[field].as_str().unwrap().to_owned();
        self.canaries.add(token.rsplit('.').next().unwrap());
        token
    }
}

/// People who exist, and what is refused because they do.
async fn every_conflict(world: &TestMesh, scan: &mut Scan) {
    let (clerk, admin) = (world.sign_in(RECEPTIONIST).await, world.sign_in(ADMIN).await);
    let patient = json!({"name": NAME, "email": EMAIL, "address": ADDRESS, "dateOfBirth": BORN});
    let id = clerk.register(&patient).await;
    let path = format!("/api/patients/{id}");
    let mut other = patient.clone();
    other["email"] = json!(format!("other.{EMAIL}"));
    let second = clerk.register(&other).await;
    scan.send(&clerk, &Method::POST, "/api/patients", &Body::Json(patient.clone())).await;
    let path_of_second = format!("/api/patients/{second}");
    scan.send(&clerk, &Method::PUT, &path_of_second, &Body::Json(patient.clone())).await;
    let stale = [("if-match", "\"99\""), ("idempotency-key", KEY)];
    let answer = clerk.send(Method::PUT, &path, &stale, Some(&patient)).await;
    scan.look("a stale version", answer.text);
    let search = Body::Json(json!({"query": NAME}));
    let found = scan.send(&clerk, &Method::POST, "/api/patients/search", &search).await;
    assert_eq!(found["patients"].as_array().unwrap().len(), 2);
    let by_query = format!("/api/patients?size=1&search={EMAIL}");
    scan.send(&clerk, &Method::GET, &by_query, &Body::None).await;
    scan.send(&clerk, &Method::GET, &path, &Body::None).await;

    let user = json!({"email": EMAIL, "password": PASSWORD, "role": "BILLING"});
    admin.post("/api/users", &user).await.expect(StatusCode::CREATED);
    scan.send(&admin, &Method::POST, "/api/users", &Body::Json(user)).await;
    let sign_in = |password: &str| Body::Json(json!({"email": EMAIL, "password": password}));
    let anybody = world.anybody();
    scan.send(&anybody, &Method::POST, "/auth/login", &sign_in(WRONG_PASSWORD)).await;
    let tokens = scan.send(&anybody, &Method::POST, "/auth/login", &sign_in(PASSWORD)).await;
    let (token, refresh) = (scan.secret(&tokens, "token"), scan.secret(&tokens, "refreshToken"));
    let refresh = Body::Json(json!({"refreshToken": refresh}));
    for _ in 0..2 {
        scan.send(&anybody, &Method::POST, "/auth/refresh", &refresh).await;
    }
    let user = admin.with(&token);
    for path in ["/auth/me", &path] {
        scan.send(&user, &Method::GET, path, &Body::None).await;
    }
    scan.send(&admin, &Method::DELETE, &path, &Body::None).await;
}

/// What the gateway refuses before it is a request.
async fn at_the_gate(world: &TestMesh, scan: &mut Scan) {
    let long = NAME.replace(' ', "").repeat(1000);
    for request in [
        format!("GET /api/patients/../{EMAIL} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET /api/patients/{NAME} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET /{EMAIL} HTTP/1.1\r\nHost: {EMAIL}\r\nConnection: close\r\n\r\n"),
        format!("GET /?{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
        format!("{} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", NAME.replace(' ', "-")),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{NAME}: {EMAIL}\r\n\r\n"),
        format!("{NAME}\r\n\r\n"),
    ] {
        let told = wire::said(world.url("gateway"), request.as_bytes()).await;
        scan.look("a refusal of the gateway", told);
    }
}

/// Events that nobody understands, with people in them: what becomes of them names nobody.
async fn dead_letters(world: &TestMesh, scan: &mut Scan) {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let almost = PatientEvent {
        patient_id: NAME.to_owned(),
        name: NAME.to_owned(),
        email: EMAIL.to_owned(),
        event_type: "PATIENT_CREATED".to_owned(),
        event_id: "not-ours-2".to_owned(),
        occurred_at: BORN.to_owned(),
        ..PatientEvent::default()
    };
    let poison = [format!("\u{7f}{NAME} {EMAIL}").into_bytes(), almost.encode_to_vec()];
    for (number, payload) in (1..).zip(poison) {
        let id = format!("not-ours-{number}");
        let headers = vec![header(EVENT_ID, &id), header(EVENT_TYPE, "PATIENT_CREATED")];
        let record = Record { key: NAME.to_owned(), headers, payload };
        log_of(world).await.publish("patient", vec![record]).await.unwrap();
    }
    let listed = || world.command(&["events", "dead-letters", "list", "--output", "json"], "");
    until("both groups gave both up", || async { listed().lines().count() == 4 }).await;
    for letter in listed().lines() {
        let id = serde_json::from_str::<Value>(letter).unwrap()["id"].as_str().unwrap().to_owned();
        scan.look("a dead letter", letter);
        let shown = world.command(&["events", "dead-letters", "show", &id], "");
        scan.look("a dead letter, shown", shown);
    }
    scan.look(
        "events",
        world.command(&["events", "tail", "--from-beginning", "--limit", "18"], ""),
    );
}

/// What other programs see of our events: headers that we know, and fields that the schema lists.
async fn of_events(world: &TestMesh, scan: &mut Scan) {
    for topic in ["patient", "patient.dlq"] {
        let mut reader = log_of(world).await.read(topic, Start::Beginning).await.unwrap();
        let mut read = 0;
        loop {
            let batch = reader.next(1000).await.unwrap();
            for record in batch.records.iter().map(|delivered| &delivered.record) {
                read += 1;
                scan.look("an event's headers", format!("{:?}", record.headers));
                if topic == "patient" && !record.header(EVENT_ID).unwrap().starts_with("not-ours") {
                    let known = |(name, _): &(String, _)| HEADERS.contains(&name.as_str());
                    assert!(record.headers.iter().all(known), "{:?}", record.headers);
                    let event = PatientEvent::decode(record.payload.as_slice()).unwrap();
                    assert!(event.encode_to_vec() == record.payload, "a field beside the schema");
                }
            }
            if batch.progress.iter().all(|of| of.next >= of.end) {
                break;
            }
        }
        assert!(read > 0, "{topic} is empty");
    }
}

/// A store that has lost a table: what fails for no reason of the caller's.
async fn with_a_broken_store(world: &TestMesh, scan: &mut Scan) {
    let store = world.data().join("patient.db");
    if !store.exists() {
        return;
    }
    let store = rusqlite::Connection::open(store).unwrap();
    store.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    store.execute_batch("alter table patient rename to lost").unwrap();
    let admin = world.sign_in(ADMIN).await;
    let patient = json!({"name": NAME, "email": EMAIL, "address": ADDRESS, "dateOfBirth": BORN});
    let answer =
        admin.post("/api/patients", &patient).await.expect(StatusCode::INTERNAL_SERVER_ERROR);
    scan.look("an internal error", answer.text);
    let one = format!("/api/patients/{NOBODY}");
    for (method, path) in
        [(Method::PUT, &*one), (Method::GET, &one), (Method::GET, "/api/patients?search=Qorvexil")]
    {
        let body = if method == Method::PUT { Body::Json(patient.clone()) } else { Body::None };
        scan.send(&admin, &method, path, &body).await;
    }
}

/// Files of the data directory, but for stores, keys and messages, which hold what they are for.
fn other_files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && !["keys", "outbox", "pki"].contains(&&*name) {
            other_files(&path, found);
        } else if path.is_file() && !name.contains(".db") {
            found.push((name, fs::read(path).unwrap()));
        }
    }
}

/// Private keys: the lines of those of the mesh's authority and parts, which are PEM; those that
/// sign tokens, which are DER.
fn private_keys(folder: &Path, canaries: &mut Canaries) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let content = fs::read(entry.path()).unwrap();
        match std::str::from_utf8(&content) {
            Ok(text) => {
                let key = text.split_once("PRIVATE KEY-----\n").map_or("", |(_, key)| key);
                key.lines().filter(|it| !it.starts_with('-')).for_each(|it| canaries.add(it));
            }
            Err(_) => canaries.add(&STANDARD.encode(content)),
        }
    }
}

/// All that can be asked for: also of crates that see what passes through them.
const EVERYTHING: &str = "trace,pingora_core=trace,pingora_proxy=trace,hyper=trace,h2=trace,\
                          rustls=trace,tokio_postgres=trace,rdkafka=trace,lettre=trace";

#[tokio::test]
async fn people_and_secrets_are_told_nowhere() {
    let _turn = heavy::turn().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let smtp = format!("smtp://mail:{SMTP_PASSWORD}@{gone}");
    let (collector, traces) = Collector::start().await;
    let environment = [
        ("RUST_LOG", EVERYTHING),
        ("MEDISYNC_NOTIFICATION__SMTP", &*smtp),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*traces),
        ("OTEL_TRACES_SAMPLER_ARG", "1"),
    ];
    let mut world = TestMesh::start_with(&environment).await;
    let mut scan = Scan::new();
    for folder in ["keys", "pki"] {
        private_keys(&world.data().join(folder), &mut scan.canaries);
    }
    operations::all(&world, &mut scan).await;
    every_conflict(&world, &mut scan).await;
    at_the_gate(&world, &mut scan).await;
    world.drain().await;
    dead_letters(&world, &mut scan).await;
    of_events(&world, &mut scan).await;
    with_a_broken_store(&world, &mut scan).await;
    assert!(scan.refusals > 300, "{} refusals", scan.refusals);

    scan.look("metrics", world.metrics().await);
    for path in ["/readyz?verbose", "/status", "/"] {
        scan.look(path, world.admin_of("gateway").get(path).await.text);
    }
    let level = world.admin_of("gateway").get("/log-level").await.text;
    assert_eq!(level.trim(), EVERYTHING, "not all was logged");
    scan.look("a command line", world.command_lines());
    scan.look("config show", world.command(&["config", "show", "--origin"], ""));
    world.terminate();
    world.ended();
    let spans = collector.told();
    assert!(spans.contains("POST /api/patients"), "no trace was kept");
    scan.look("a trace", spans);
    let log = world.log();
    scan.look("the log", log);
    let mut files = Vec::new();
    other_files(&world.data(), &mut files);
    for (name, content) in files {
        scan.look(&name, content);
    }
    let Scan { seen, .. } = scan;
    assert!(seen.is_empty(), "{} places:\n{}", seen.len(), seen[..seen.len().min(20)].join("\n"));
}
