//! Asking Prometheus, and reading what it and Grafana are configured with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use reqwest::Client;
use serde_json::Value;
use testbed::Prometheus;

/// A rule of Prometheus'.
pub(crate) struct Rule {
    pub(crate) name: String,
    /// Whether it records a series; else it is an alert.
    pub(crate) recorded: bool,
    pub(crate) expression: String,
    /// All of it.
    pub(crate) text: String,
}

/// A panel of a dashboard.
pub(crate) struct Panel {
    pub(crate) dashboard: String,
    pub(crate) id: i64,
    pub(crate) json: Value,
    /// What it asks Prometheus for, its variables filled in.
    pub(crate) expressions: Vec<String>,
}

// === impl Panel ===

impl Panel {
    pub(crate) fn name(&self) -> String {
        format!("{}: {} ({})", self.dashboard, self.json["title"].as_str().unwrap(), self.id)
    }
}

/// The folder of the repository.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../observability")
}

/// A metric's first column and labels, as the README's table has them.
pub(crate) fn inventory() -> BTreeMap<String, BTreeSet<String>> {
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

/// The result of an expression, now.
pub(crate) async fn ask(client: &Client, prometheus: &Prometheus, expression: &str) -> Vec<Value> {
    let url = format!("{}/api/v1/query", prometheus.url());
    let answer = client.get(url).query(&[("query", expression)]).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["status"], "success", "{expression}: {answer}");
    let result = &answer["data"]["result"];
    // A scalar is a pair of a time and a value.
    if answer["data"]["resultType"] == "scalar" {
        return vec![result.clone()];
    }
    result.as_array().unwrap().clone()
}

/// Every rule of a folder. The files are ours: a rule begins with `- record:` or `- alert:`, and
/// its expression stands behind `expr:` or, indented, below it.
pub(crate) fn rules(folder: &Path) -> Vec<Rule> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let mut rest = text.split("\n      - ");
        rest.next();
        for rule in rest {
            let (kind, name) = rule.lines().next().unwrap().split_once(": ").unwrap();
            let lines = rule.lines().skip_while(|line| !line.trim_start().starts_with("expr:"));
            let mut lines = lines.map(str::trim_end);
            let first = lines.next().unwrap().trim_start().trim_start_matches("expr:").trim();
            let expression = match first {
                "|-" | ">-" | "|" => {
                    let below = lines.take_while(|line| line.starts_with("          "));
                    below.collect::<Vec<_>>().join("\n")
                }
                line => line.to_owned(),
            };
            let recorded = kind == "record";
            found.push(Rule { name: name.to_owned(), recorded, expression, text: rule.to_owned() });
        }
    }
    found
}

/// Every panel of every dashboard of a folder, also those in rows that are folded.
pub(crate) fn grafana_panels(folder: &Path) -> Vec<Panel> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let top = dashboard["panels"].as_array().unwrap();
        let folded = top.iter().filter_map(|row| row["panels"].as_array()).flatten();
        for panel in top.iter().chain(folded).filter(|panel| panel["type"] != "row") {
            let targets = panel["targets"].as_array();
            let expressions = targets.into_iter().flatten().map(|target| {
                filled_in(target["expr"].as_str().expect("a target asks for something"))
            });
            found.push(Panel {
                dashboard: name.clone(),
                id: panel["id"].as_i64().unwrap(),
                json: panel.clone(),
                expressions: expressions.collect(),
            });
        }
    }
    found
}

fn filled_in(expression: &str) -> String {
    let mut text = expression.replace("$__rate_interval", "1m");
    for variable in ["service", "instance"] {
        text = text.replace(&format!("${{{variable}}}"), ".*");
        text = text.replace(&format!("${variable}"), ".*");
    }
    // What is left are groups of a label_replace.
    let rest = text.split('$').skip(1);
    let groups = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    assert!(rest.into_iter().all(groups), "{expression}: a variable that is not known");
    text
}
