//! Programs that others wrote to look for weaknesses, let loose on the front door.

use std::{
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use tokio::{task::spawn_blocking, time::interval};

use crate::{
    background_load::Meanwhile,
    caller::Caller,
    heavy,
    https::Https,
    test_mesh::{TestMesh, until},
};

/// A client that does nothing odd comes so often, and is answered so soon.
const COMES_EVERY: Duration = Duration::from_millis(50);
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// Runs it to its end; what it printed.
async fn run(program: &'static str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    let ended = spawn_blocking(move || command.output()).await.unwrap();
    let Output { stdout, stderr, .. } =
        ended.unwrap_or_else(|error| panic!("{program}: {error}; see services/testbed/install.sh"));
    format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))
}

/// Somebody who comes at a steady pace, by new connections, and is always served; the longest wait,
/// in milliseconds.
fn regular(caller: Caller) -> (Meanwhile, Arc<AtomicU64>) {
    let longest_ms = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&longest_ms);
    let pace = Arc::new(tokio::sync::Mutex::new(interval(COMES_EVERY)));
    let going_on = Meanwhile::repeat(move || {
        let (caller, told, pace) = (caller.clone(), Arc::clone(&told), Arc::clone(&pace));
        async move {
            pace.lock().await.tick().await;
            let since = Instant::now();
            caller.get("/healthz").await.expect(StatusCode::OK);
            assert!(since.elapsed() < ANSWERED_WITHIN, "{:?}", since.elapsed());
            told.fetch_max(since.elapsed().as_millis() as u64, Ordering::SeqCst);
        }
    });
    (going_on, longest_ms)
}

/// By a connection of its own each time.
fn newcomer(world: &TestMesh) -> Caller {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).tls_certs_only([]);
    Caller { client: client.build().unwrap(), ..world.anybody() }
}

/// The values of an attribute, in the elements of this name.
fn attributes<'a>(xml: &'a str, element: &str, name: &str) -> Vec<&'a str> {
    let begin = format!("{name}=\"");
    let elements = xml.split('<').filter(|text| text.split(' ').next() == Some(element));
    let value = |text: &'a str| text.split_once(&begin)?.1.split('"').next();
    elements.filter_map(value).collect()
}

/// What sslscan says of a port: the versions of TLS and SSL that are on, and the ciphers.
async fn scanned(address: &str) -> (Vec<String>, Vec<String>) {
    let xml = run("sslscan", &["--xml=-", "--no-colour", "--ocsp", address]).await;
    let types = attributes(&xml, "protocol", "type");
    let versions = attributes(&xml, "protocol", "version");
    let on = attributes(&xml, "protocol", "enabled");
    assert!(versions.len() >= 6 && on.len() == versions.len(), "{xml}");
    let on = types.iter().zip(versions).zip(on).filter(|(_, on)| *on == "1");
    let on = on.map(|((kind, version), _)| format!("{kind}{version}")).collect();
    assert!(attributes(&xml, "heartbleed", "vulnerable").iter().all(|it| *it == "0"), "{xml}");
    let ciphers = attributes(&xml, "cipher", "cipher").into_iter().map(str::to_owned);
    (on, ciphers.collect())
}

#[tokio::test]
async fn sslscan_finds_no_old_protocol_and_no_weak_cipher() {
    let mesh = Https::start(&[]).await;
    let (versions, ciphers) = scanned(&mesh.address()).await;
    assert_eq!(versions, ["tls1.2", "tls1.3"]);
    assert!(ciphers.len() >= 5, "{ciphers:?}");
    for cipher in &ciphers {
        let sealed = cipher.contains("GCM") || cipher.contains("CHACHA20");
        let forward = cipher.starts_with("ECDHE-") || cipher.starts_with("TLS_");
        assert!(sealed && forward, "{cipher}");
    }
    let grpc = mesh.world.url("billing gRPC").split_once("://").unwrap().1.to_owned();
    let (versions, ciphers) = scanned(&grpc).await;
    assert_eq!(versions, ["tls1.3"]);
    assert!(!ciphers.is_empty() && ciphers.iter().all(|it| it.starts_with("TLS_")), "{ciphers:?}");
}

#[tokio::test]
async fn slow_clients_are_given_up_and_hurt_nobody() {
    let _turn = heavy::turn().await;
    let world = TestMesh::embedded_with(&[
        ("MEDISYNC_GATEWAY__HEAD_MS", "3000"),
        ("MEDISYNC_GATEWAY__BODY_MS", "3000"),
        ("MEDISYNC_GATEWAY__CLIENT_MS", "2000"),
        ("MEDISYNC_GATEWAY__KEEP_ALIVE_MS", "3000"),
    ])
    .await;
    let (regular, longest_ms) = regular(newcomer(&world));
    let base = world.url("gateway");
    let (page, login) =
        (format!("{base}/swagger-ui/swagger-ui-bundle.js"), format!("{base}/auth/login"));
    let common = ["-c", "200", "-r", "100", "-l", "7", "-p", "5"];
    for how in [
        &["-H", "-i", "1", "-u", &page][..],
        &["-B", "-i", "1", "-s", "8192", "-f", "application/json", "-u", &login],
        &["-X", "-n", "1", "-w", "512", "-y", "1024", "-z", "16", "-k", "3", "-u", &page],
    ] {
        let told = run("slowhttptest", &[&common[..], how].concat()).await;
        let last = told.rsplit("slow HTTP test status").next().unwrap_or_default();
        assert!(last.contains("YES"), "{told}");
    }
    regular.goes_on(20).await;
    regular.ends_well().await;
    until("all are gone", || async { connected(&world).await <= 5 }).await;
    eprintln!("the longest wait of a regular client: {longest_ms:?} ms");
}

/// Clients that are connected to the gateway.
async fn connected(world: &TestMesh) -> u64 {
    let metrics = world.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("gateway_connections "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_flood_of_requests_is_answered_and_others_are_served_meanwhile() {
    let _turn = heavy::turn().await;
    let mesh = Https::start(&[]).await;
    let newcomer = mesh.by(reqwest::Client::builder().pool_max_idle_per_host(0));
    let (regular, longest_ms) = regular(newcomer);
    let url = format!("https://{}/healthz", mesh.address());
    let told = run("h2load", &["-n", "5000", "-c", "20", "-m", "50", &url]).await;
    assert!(told.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{told}");
    assert!(told.contains("status codes: 5000 2xx"), "{told}");
    regular.goes_on(5).await;
    regular.ends_well().await;
    eprintln!("the longest wait of a regular client: {longest_ms:?} ms");
}
