//! The admin listener: its page in a real browser, what is logged, and `medisync status`.

use std::{fs, path::Path, process::Command};

use reqwest::{Client, StatusCode};
use serde_json::Value;
use shared_middleware::clock::Clock;

use crate::world::{ADMIN, RECEPTIONIST, World, a_patient};

/// A phone.
const SCREEN: &str = "--window-size=412,2600";

/// Opens the page in Chromium and lets its clock run on; what there is of it then.
fn browse(url: &str, more: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let done = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", SCREEN])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        // So that ten looks have been drawn. Answers take real time, and the clock waits for them.
        .arg("--virtual-time-budget=20000")
        .args(more)
        .arg(url)
        .output()
        .expect("Chromium is installed by `make tools`");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_draws_curves_in_a_browser() {
    let world = World::start().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let asking = tokio::spawn(async move {
        loop {
            clerk.register(&a_patient()).await;
        }
    });
    let url = world.url("admin").to_owned();
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
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let world = World::start().await;
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
    let world = World::start().await;
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
    let log = world.log();
    let by_patient = |id: &Value| {
        let id = id.as_str().unwrap();
        log.lines().any(|line| line.contains(id) && line.contains("service=patient"))
    };
    assert!(!by_patient(&quiet) && by_patient(&loud));
    for bad in ["", "patient=nonsense", "=="] {
        assert_eq!(put(bad).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_a_mesh_does() {
    let world = World::start().await;
    let admin = world.sign_in(ADMIN).await;
    let asking = tokio::spawn(async move {
        loop {
            admin.register(&a_patient()).await;
            admin.get("/nothing").await;
        }
    });
    let admins: Vec<_> = world.admins().values().map(|it| (*it).to_owned()).collect();
    let status = |more: &[&str]| {
        let mut command = world.command_line(&["status"]);
        command.args(&admins).args(more).output().unwrap()
    };
    let told = status(&["--output", "json", "--interval", "3"]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let processes = told["processes"].as_array().unwrap();
    assert_eq!(processes.len(), admins.len());
    let parts: Vec<_> = processes.iter().flat_map(|it| it["parts"].as_array().unwrap()).collect();
    for part in ["gateway", "patient"] {
        let of = parts.iter().find(|it| it["part"] == part).unwrap_or_else(|| panic!("{told}"));
        assert!(of["requestsPerS"].as_f64().unwrap() > 0.0, "{told}");
        assert!(of["p99Ms"].as_f64().unwrap() > 0.0, "{told}");
    }
    assert!(processes.iter().all(|it| it["ready"] == true), "{told}");
    assert!(processes.iter().any(|it| it["outbox"].is_object()), "{told}");
    let text = String::from_utf8(status(&[]).stdout).unwrap();
    for word in ["ready", "REQUESTS/S", "gateway", "outbox", "breaker closed", "certificates"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    asking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn processor_time_is_told_in_fractions_of_a_second() {
    let world = World::embedded().await;
    let told = world.metrics().await;
    let value = |name: &str| -> f64 {
        let line = told.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    };
    let used = value("process_cpu_seconds_total");
    assert!(used > 0.0 && used.fract() != 0.0, "{used}");
    for name in ["open_fds", "max_fds", "threads", "resident_memory_bytes", "virtual_memory_bytes"]
    {
        assert!(value(&format!("process_{name}")) > 0.0, "{name}");
    }
    let run_s = Clock::system().unix_s() as f64 - value("process_start_time_seconds");
    assert!((-1.0..600.0).contains(&run_s), "{run_s}");
    let mut status = world.command_line(&["status", "--output", "json"]);
    let status = status.arg(world.admins()["admin"]).output().unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let cores = status["processes"][0]["cpuCores"].as_f64().unwrap();
    assert!(cores > 0.0 && cores < 64.0, "{status}");
}

#[test]
fn status_of_what_is_not_there_says_so_and_fails() {
    let done = crate::world::medisync().args(["status", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stdout).contains("unreachable: cannot connect"));
    let bad = crate::world::medisync().args(["status", "no/such place"]).output().unwrap();
    assert!(String::from_utf8_lossy(&bad.stderr).contains("HOST:PORT"));
}
