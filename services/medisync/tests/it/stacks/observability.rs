//! What `observability/` promises: every metric is there, every panel and rule has data.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Client;
use testbed::Prometheus;

use crate::{
    caller::Caller,
    prometheus::{ask, folder, grafana_panels, inventory, rules},
    test_mesh::{ADMIN, AUDITOR, TestMesh, a_patient, until},
};

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
async fn traffic(world: &TestMesh) -> Caller {
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
    let world = TestMesh::shared().await;
    traffic(&world).await;
    world.drain().await;
    let told = inventory();
    // Counted when it first happens: a panic, a handshake, an error that is not there.
    let rare = ["gateway_tls_handshakes_total", "gateway_certificate_expiry_seconds"];
    let optional = ["trace_spans_total", "gateway_upstream_errors_total", "mesh_peer_denied_total"];
    let may_lack = [rare.as_slice(), &optional].concat();
    // A group shows how far it is when it has been given its partitions.
    until("all that always is told is told", || async {
        let found = series(&world.metrics().await);
        let lacks = |name: &&String| !name.ends_with('*') && !found.contains_key(*name);
        told.keys().filter(lacks).all(|name| may_lack.contains(&&**name))
    })
    .await;
    let found = series(&world.metrics().await);
    for (name, labels) in &told {
        if name == "process_*" {
            assert!(found.keys().any(|name| name.starts_with("process_")));
            continue;
        }
        match found.get(name) {
            Some(of) => assert_eq!(of, labels, "{name}"),
            None => assert!(may_lack.contains(&&**name), "no {name}"),
        }
    }
    for name in found.keys().filter(|name| !name.starts_with("process_")) {
        assert!(told.contains_key(name), "{name} is not in the inventory");
    }
}

#[tokio::test]
async fn every_panel_and_rule_has_data_in_a_real_prometheus() {
    let world = TestMesh::start().await;
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
