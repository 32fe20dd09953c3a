//! The admin listener: its page in a real browser, and what is logged.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    heavy,
    test_mesh::{RECEPTIONIST, TestMesh, a_patient, until},
};

/// A phone.
const SCREEN: &str = "--window-size=412,2600";

/// Opens the page in Chromium and lets its clock run on; what there is of it then.
fn browse(url: &str, more: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let done = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", SCREEN])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        // The first look shows all that is kept; answers take real time, and the clock waits for
        // them.
        .arg("--virtual-time-budget=2000")
        .args(more)
        .arg(url)
        .output()
        .expect("Chromium is installed by `make tools`");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_draws_curves_in_a_browser() {
    let _turn = heavy::turn().await;
    let world = TestMesh::start().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let asking = tokio::spawn(async move {
        loop {
            clerk.register(&a_patient()).await;
        }
    });
    let url = world.url("admin").to_owned();
    let gateway = world.admin_of("gateway");
    // Kept by the process, anyone who looks or does not.
    until("the process has curves of its requests", || async {
        let curves = gateway.get("/curves").await.expect(StatusCode::OK).json();
        let points = curves["plots"]["requests"]["gateway"].as_array().cloned().unwrap_or_default();
        points.len() >= 2 && points.iter().any(|point| point.as_f64() > Some(0.0))
    })
    .await;
    let image = Path::new(env!("CARGO_TARGET_TMPDIR")).join("admin-page.png");
    let (page, picture) = (url.clone(), format!("--screenshot={}", image.display()));
    let dom = tokio::task::spawn_blocking(move || {
        browse(&page, &[&picture]);
        browse(&page, &["--dump-dom"])
    });
    let dom = dom.await.unwrap();
    asking.abort();
    assert!(fs::metadata(&image).unwrap().len() > 10_000, "nothing was drawn");
    println!("the page as a phone shows it: {}", image.display());
    assert!(dom.contains(", ready"), "{dom}");
    for title in ["Requests per second", "Errors per second", "p99", "Events that wait"] {
        assert!(dom.contains(title), "{title}");
    }
    let curves = dom.matches("<polyline points=\"").count();
    let empty = dom.matches("<polyline points=\"\"").count();
    // A process of the gateway alone has one in each plot, and two that wait for nothing.
    assert!(curves >= 6 && empty == 0, "{curves} curves, {empty} empty\n{dom}");
    assert!(dom.contains("gateway <b>"), "{dom}");
    // What says how high the curves are stands beside them: nothing lies on the newest points.
    for plot in dom.split("<div class=\"plot\">").skip(1) {
        let inside = plot.split_once("</div>").unwrap().0;
        assert!(inside.ends_with("</svg>") && !inside.contains("<span"), "{inside}");
    }
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let world = TestMesh::shared().await;
    let admin = world.admin_of("gateway");
    let page = admin.get("/").await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    for path in ["/", "/page.js", "/page.css"] {
        let text = admin.get(path).await.text;
        let others = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!others.contains("://") && !others.contains("src=\"//"), "{path}");
    }
}

#[tokio::test]
async fn what_is_logged_can_be_changed_while_it_runs() {
    let world = TestMesh::start().await;
    let admin = world.admin_of("patient");
    let client = Client::builder().tls_certs_only([]).build().unwrap();
    let url = format!("{}/log-level", admin.base);
    let put = async |level: &str| {
        let answer = client.put(&url).body(level.to_owned()).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    assert!(admin.get("/log-level").await.text.contains("info"));
    let (status, told) = put("warn").await;
    assert_eq!(status, StatusCode::OK);
    assert!(told.contains("warn"));
    let clerk = world.sign_in(RECEPTIONIST).await;
    let nobody = "/api/patients/00000000-0000-4000-8000-00000000000";
    let quiet = clerk.get(&format!("{nobody}1")).await.json()["traceId"].clone();
    assert_eq!(put("info").await.0, StatusCode::OK);
    let loud = clerk.get(&format!("{nobody}2")).await.json()["traceId"].clone();
    let by_patient = |id: &Value| {
        let id = id.as_str().unwrap().to_owned();
        world.log().lines().any(|line| line.contains(&id) && line.contains("service=patient"))
    };
    // A thread writes its lines when it has nothing else to do.
    until("the second request is logged", || async { by_patient(&loud) }).await;
    assert!(!by_patient(&quiet));
    for bad in ["", "patient=nonsense", "==", "warning", "info,kit=warning", "kit"] {
        assert_eq!(put(bad).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn a_page_that_has_its_name_lead_here_reads_and_changes_nothing() {
    let world = TestMesh::start().await;
    let admin = world.admin_of("patient");
    let client = Client::builder().tls_certs_only([]).build().unwrap();
    let evil = ("host", "evil.example:4090");
    for path in ["/readyz?verbose", "/metrics", "/log-level", "/curves", "/"] {
        let asked = client.get(format!("{}{path}", admin.base)).header(evil.0, evil.1);
        assert_eq!(asked.send().await.unwrap().status(), StatusCode::MISDIRECTED_REQUEST, "{path}");
    }
    let put = || client.put(format!("{}/log-level", admin.base)).body("off");
    let by_name = put().header(evil.0, evil.1).send().await.unwrap();
    assert_eq!(by_name.status(), StatusCode::MISDIRECTED_REQUEST);
    let by_page = put().header("origin", "http://localhost:4090").send().await.unwrap();
    assert_eq!(by_page.status(), StatusCode::FORBIDDEN);
    assert!(admin.get("/log-level").await.text.contains("info"));
}

#[tokio::test]
async fn whoever_turns_the_log_off_is_in_it_and_no_filter_makes_it_tell_tokens_and_people() {
    let world = TestMesh::start().await;
    let client = Client::builder().tls_certs_only([]).build().unwrap();
    let admins: BTreeSet<_> =
        ["gateway", "auth", "patient"].map(|part| world.admin_of(part).base).into();
    let put = async |level: &str| {
        for admin in &admins {
            let put = client.put(format!("{admin}/log-level")).body(level.to_owned());
            assert_eq!(put.send().await.unwrap().status(), StatusCode::OK, "{level}");
        }
    };
    put("off").await;
    let silenced = || world.log().matches("log level changed").count() >= admins.len();
    until("it is told that the log was turned off", async || silenced()).await;
    let others = [
        "pingora_core",
        "pingora_core::protocols",
        "pingora_proxy",
        "hyper",
        "hyper_util",
        "h2",
        "rustls",
        "tokio_postgres",
        "rdkafka",
        "tower",
        "tonic",
    ];
    let all = others.map(|other| format!("{other}=trace")).join(",");
    let all = format!("trace,{all}");
    put(&all).await;
    let told = world.anybody().log_in(RECEPTIONIST, "password123").await.json();
    let clerk = world.anybody().with(told["token"].as_str().unwrap());
    let mut patient = a_patient();
    patient["name"] = "Quxxanna Zyxwvuts".into();
    clerk.register(&patient).await;
    clerk.get("/api/patients?search=zyxwvuts").await.expect(StatusCode::OK);
    put("info").await;
    let log = world.log();
    assert!(log.contains("request completed"), "our own crates are heard");
    for secret in [told["token"].as_str().unwrap(), told["refreshToken"].as_str().unwrap()] {
        assert!(!log.contains(secret), "a token is in the log");
    }
    for person in ["Quxxanna", "zyxwvuts", patient["email"].as_str().unwrap()] {
        let line = log.lines().find(|line| line.contains(person));
        assert!(line.is_none(), "{line:?}");
    }
}

#[tokio::test]
async fn whoever_holds_connections_of_the_admin_listener_keeps_nobody_out() {
    let world = TestMesh::start().await;
    let admin = world.admin_of("gateway");
    let address = admin.base.split_once("://").unwrap().1.to_owned();
    let mut held = Vec::new();
    for _ in 0..400 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: ").await.unwrap();
        held.push(stream);
    }
    admin.get("/readyz").await.expect(StatusCode::OK);
    // All but the last ones were closed.
    let closed = async |stream: &mut tokio::net::TcpStream| {
        matches!(timeout(Duration::from_secs(20), stream.read(&mut [0])).await, Ok(Ok(0) | Err(_)))
    };
    for stream in &mut held[..300] {
        assert!(closed(stream).await);
    }
}
