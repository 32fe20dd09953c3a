//! What `observability/` promises: every metric is there, every panel and rule has data, and what
//! the files say of one another is so.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use reqwest::Client;
use serde_json::Value;
use testbed::{Prometheus, prometheus::promtool};

use crate::{
    caller::Caller,
    prometheus::{ask, grafana_panels, rules},
    world::{ADMIN, AUDITOR, World, a_patient},
};

/// The folder of the repository.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../observability")
}

/// A metric's first column and labels, as the README's table has them.
fn inventory() -> BTreeMap<String, BTreeSet<String>> {
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once("` |").unwrap();
        let labels = rest.split('|').next().unwrap();
        // Labels, of which the last may be followed by its values: `service, mode: read, write`.
        let labels = labels.split(':').next().unwrap();
        let labels = labels.split(',').map(|label| label.trim().to_owned());
        (name.to_owned(), labels.filter(|label| !label.is_empty()).collect())
    })
    .collect()
}

/// Names and labels of all that was scraped.
fn series(metrics: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|ending| name.strip_suffix(ending).filter(|base| base.contains("_seconds")))
            .unwrap_or(name);
        let labels = labels.trim_end_matches('}').split("\",");
        let labels = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        let of = found.entry(name.to_owned()).or_default();
        of.extend(labels.filter(|label| label != "le"));
    }
    found
}

/// Whatever people and machines do, right and wrong.
async fn traffic(world: &World) -> Caller {
    let admin = world.sign_in(ADMIN).await;
    let id = admin.register(&a_patient()).await;
    let path = format!("/api/patients/{id}");
    admin.get(&path).await;
    admin.get("/api/patients?size=5").await;
    admin.post("/api/patients/search", &serde_json::json!({"query": "test"})).await;
    admin.put(&path, &a_patient()).await;
    admin.get(&format!("/api/billing/accounts?patientId={id}")).await;
    admin.get("/api/analytics/summary").await;
    admin.get("/api/notifications").await;
    admin.get("/api/users").await;
    admin.with("forged").get(&path).await;
    world.anybody().get(&path).await;
    world.anybody().get("/nothing/here").await;
    world.sign_in(AUDITOR).await.get(&path).await;
    world.anybody().log_in(ADMIN, "wrong").await;
    admin.delete(&path).await;
    admin
}

#[tokio::test]
async fn the_inventory_is_what_a_mesh_tells() {
    let world = World::start().await;
    traffic(&world).await;
    world.drain().await;
    let (told, found) = (inventory(), series(&world.metrics().await));
    // Counted when it first happens: a panic, a handshake, an error that is not there.
    let rare = ["gateway_tls_handshakes_total", "gateway_certificate_expiry_seconds"];
    let optional = ["trace_spans_total", "gateway_upstream_errors_total", "mesh_peer_denied_total"];
    for (name, labels) in &told {
        if name == "process_*" {
            assert!(found.keys().any(|name| name.starts_with("process_")));
            continue;
        }
        match found.get(name) {
            Some(of) => assert_eq!(of, labels, "{name}"),
            None => assert!([rare.as_slice(), &optional].concat().contains(&&**name), "no {name}"),
        }
    }
    for name in found.keys().filter(|name| !name.starts_with("process_")) {
        assert!(told.contains_key(name), "{name} is not in the inventory");
    }
}

#[tokio::test]
async fn ten_thousand_paths_that_nobody_has_add_no_series() {
    const PATHS: u32 = 10_000;
    let world = World::start().await;
    let admin = world.sign_in(ADMIN).await;
    // Of what requests count: events of the demo data may still be on their way.
    let counted = |line: &&str| line.starts_with("gateway_") || line.starts_with("http_server_");
    let lines = |metrics: &str| metrics.lines().filter(counted).count();
    // Each kind once, so that its series are there.
    let ask = async |n: u32| {
        let somebody = uuid(n);
        admin.get(&format!("/api/patients/{somebody}")).await.refused(404, "not_found");
        admin.get(&format!("/random/{n}/{somebody}")).await.refused(404, "not_found");
    };
    ask(PATHS).await;
    let before = lines(&world.metrics().await);
    for n in 0..PATHS / 2 {
        ask(n).await;
    }
    assert_eq!(lines(&world.metrics().await), before);
}

fn uuid(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

#[tokio::test]
async fn every_panel_and_rule_has_data_in_a_real_prometheus() {
    let world = World::start().await;
    let targets: Vec<_> = world.admins().values().map(|admin| (*admin).to_owned()).collect();
    let prometheus = Prometheus::start(&folder().join("prometheus"), &targets, &[]).unwrap();
    let client = Client::builder().tls_certs_only([]).build().unwrap();
    let mut asked: BTreeMap<String, String> = BTreeMap::new();
    for panel in grafana_panels(&folder().join("grafana/dashboards")) {
        for (at, expression) in panel.expressions.iter().enumerate() {
            asked.insert(format!("{} {at}", panel.name()), expression.clone());
        }
    }
    for rule in rules(&folder().join("prometheus/rules")).into_iter().filter(|it| it.recorded) {
        asked.insert(rule.name.clone(), rule.expression);
        // By the name under which others ask for it.
        asked.insert(format!("{} recorded", rule.name), rule.name);
    }
    assert!(asked.len() > 100, "{}", asked.len());
    let empty = || async {
        traffic(&world).await;
        let mut empty = Vec::new();
        for (name, expression) in &asked {
            if ask(&client, &prometheus, expression).await.is_empty() {
                empty.push(name.as_str());
            }
        }
        empty
    };
    let mut last = Vec::new();
    // Not as fast as it goes: then what is wrong on purpose would be a flood.
    let mut looks = tokio::time::interval(std::time::Duration::from_secs(1));
    let found = tokio::time::timeout(std::time::Duration::from_secs(240), async {
        loop {
            looks.tick().await;
            last = empty().await;
            if last.is_empty() {
                return;
            }
        }
    });
    let in_time = found.await.is_ok();
    assert!(in_time, "no data: {last:#?}");
    // A healthy mesh: nobody is told anything, unless that a machine full of tests is slow.
    let but_slow = "ALERTS{alertstate=\"firing\", alertname!=\"LatencyBudgetBurning\"}";
    let firing = ask(&client, &prometheus, but_slow).await;
    assert!(firing.is_empty(), "{firing:#?}");
}

#[test]
fn prometheus_own_tool_finds_no_fault() {
    let folder = folder().join("prometheus");
    promtool(&["check", "config", "prometheus.yml"], &folder).unwrap();
    let tests = fs::read_dir(folder.join("tests")).unwrap();
    let tests: Vec<_> = tests.map(|it| it.unwrap().path().display().to_string()).collect();
    let mut arguments = vec!["test", "rules"];
    arguments.extend(tests.iter().map(String::as_str));
    promtool(&arguments, &folder).unwrap();
    // Each alert has a case in which it fires, and is named in one in which it does not.
    let text: String = tests.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    for alert in rules(&folder.join("rules")).iter().filter(|it| !it.recorded) {
        let named = text.matches(&format!("alertname: {}\n", alert.name)).count();
        assert!(named >= 2, "{} has no two cases", alert.name);
    }
}

#[test]
fn every_alert_says_what_it_is_and_has_its_page() {
    let alerts = rules(&folder().join("prometheus/rules"));
    let mut named = BTreeSet::new();
    for alert in alerts.iter().filter(|it| !it.recorded) {
        named.insert(alert.name.clone());
        for wanted in ["severity: ", "summary: ", "description: "] {
            assert!(alert.text.contains(wanted), "{}: {wanted}", alert.name);
        }
        let page = format!("runbook_url: https://medisync.example/runbooks/{}.md", alert.name);
        assert!(alert.text.contains(&page), "{}", alert.name);
    }
    let pages = fs::read_dir(folder().join("runbooks")).unwrap();
    let pages = pages.map(|page| page.unwrap().file_name().to_string_lossy().into_owned());
    let pages: BTreeSet<_> = pages.map(|page| page.trim_end_matches(".md").to_owned()).collect();
    assert_eq!(pages, named);
    for page in &named {
        let text = fs::read_to_string(folder().join(format!("runbooks/{page}.md"))).unwrap();
        let title = format!("# {page}");
        for wanted in [title.as_str(), "Means", "Users notice", "Look at", "Do"] {
            assert!(text.contains(wanted), "{page}: {wanted}");
        }
    }
}

#[test]
fn dashboards_keep_to_grafanas_conventions() {
    let (dashboards, known) = (folder().join("grafana/dashboards"), inventory());
    let recorded: BTreeSet<_> = rules(&folder().join("prometheus/rules"))
        .into_iter()
        .filter(|it| it.recorded)
        .map(|it| it.name)
        .collect();
    let mut uids = BTreeSet::new();
    for file in fs::read_dir(&dashboards).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        assert!(uids.insert(dashboard["uid"].as_str().unwrap().to_owned()), "{path:?}");
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        for variable in variables.iter().map(|it| it["name"].as_str().unwrap()) {
            let used = text.matches(&format!("${variable}")).count()
                + text.matches(&format!("${{{variable}")).count();
            assert!(used > 0, "{path:?}: ${variable} is not used");
        }
    }
    let mut ids = BTreeSet::new();
    let panels = grafana_panels(&dashboards);
    for panel in &panels {
        assert!(ids.insert((panel.dashboard.clone(), panel.id)), "{} twice", panel.name());
        let of = &panel.json;
        assert!(!of["description"].as_str().unwrap_or("").is_empty(), "{}", panel.name());
        assert!(of["fieldConfig"]["defaults"]["unit"].is_string(), "{}", panel.name());
        for target in of["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{}", panel.name());
            assert!(target["legendFormat"].is_string(), "{}", panel.name());
        }
        for expression in &panel.expressions {
            for name in metrics_of(expression) {
                let base = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|ending| name.strip_suffix(ending))
                    .unwrap_or(&name);
                let ours = known.contains_key(base) || known.contains_key(&name);
                let other = recorded.contains(&name) || name.starts_with("process_");
                let theirs = ["up", "ALERTS"].contains(&&*name);
                assert!(ours || other || theirs, "{}: {name}", panel.name());
            }
        }
    }
    assert!(panels.len() >= 50, "{}", panels.len());
}

/// The words of an expression that name metrics: those that are followed by a selector or a range,
/// or have a name like ours.
fn metrics_of(expression: &str) -> BTreeSet<String> {
    let begins = |word: &str| {
        ["http_", "rpc_", "gateway_", "mesh_", "circuit_", "outbox_", "events_", "event_", "db_"]
            .iter()
            .chain(&[
                "audit_",
                "dead_",
                "notifications_",
                "billing_",
                "auth_",
                "tokio_",
                "trace_",
                "slo:",
            ])
            .any(|begin| word.starts_with(begin))
    };
    let quoted = expression.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words = quoted.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| begins(word)).map(str::to_owned).collect()
}
