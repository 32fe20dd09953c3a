//! What the files of `observability/` say of one another is so.

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use testbed::prometheus::promtool;

use crate::prometheus::{folder, grafana_panels, inventory, rules};

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
