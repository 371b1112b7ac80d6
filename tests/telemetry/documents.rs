//! Rules, alerts, dashboard and documentation name only metrics and labels that exist.

use std::collections::BTreeSet;

use ko_sentiment::telemetry::names::{self, Family, Kind};

use crate::support::root;

/// Labels that Prometheus adds.
const ADDED: [&str; 3] = ["job", "instance", "le"];

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// Names of metrics in a text, each with the text after it.
fn mentioned(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let word = &rest[start..];
        let end = word.find(|c| !is_name(c)).unwrap_or(word.len());
        let (name, after) = word.split_at(end);
        let name = name.trim_end_matches(':');
        if ["ko_sentiment_", "ko_sentiment:", "grpc_server_", "process_"].iter().any(|p| name.starts_with(p))
        {
            found.push((name, after));
        }
        rest = after;
    }
    found
}

/// The metric that a series belongs to.
fn family(series: &str) -> Option<&'static Family> {
    names::ALL.iter().find(|family| match family.kind {
        Kind::Histogram => {
            let part = series.strip_prefix(family.name);
            part.is_some_and(|part| ["_bucket", "_sum", "_count"].contains(&part))
        }
        _ => family.name == series,
    })
}

/// Names of the labels in `{a="b",c=~"d"}` at a text's beginning.
fn matchers(text: &str) -> Vec<String> {
    let Some(inner) = text.strip_prefix('{').and_then(|text| text.split_once('}')) else { return Vec::new() };
    // In JSON, quotation marks are escaped.
    let inner = inner.0.replace('\\', "");
    let names =
        inner.split('"').step_by(2).map(|part| part.trim_matches([',', ' ', '=', '~', '!']).to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

fn recorded(rules: &str) -> BTreeSet<&str> {
    rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect()
}

#[test]
fn rules_and_dashboard_name_what_exists() {
    let rules = read("deploy/prometheus/rules.yml");
    let recorded = recorded(&rules);
    assert!(recorded.len() >= 5);
    let files = [
        "deploy/prometheus/rules.yml",
        "deploy/prometheus/rules_test.yml",
        "deploy/prometheus/prometheus.yml",
        "deploy/grafana/dashboard.json",
    ];
    for file in files {
        for (name, after) in mentioned(&read(file)) {
            if name.contains(':') {
                assert!(recorded.contains(name), "{file}: no rule records {name}");
                continue;
            }
            let Some(family) = family(name) else { panic!("{file}: no metric {name}") };
            for label in matchers(after) {
                let known = family.labels.contains(&label.as_str()) || ADDED.contains(&label.as_str());
                assert!(known, "{file}: {name} has no label {label}");
            }
        }
    }
}

#[test]
fn the_dashboard_is_json_whose_panels_ask_something() {
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/grafana/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let shown: Vec<_> = panels.iter().filter(|panel| panel["type"] != "row").collect();
    assert!(shown.len() >= 12);
    let mut ids = BTreeSet::new();
    for panel in shown {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{} shares its id", panel["title"]);
        let targets = panel["targets"].as_array().unwrap();
        let asks = |target: &serde_json::Value| !mentioned(target["expr"].as_str().unwrap()).is_empty();
        assert!(!targets.is_empty() && targets.iter().all(asks), "{}", panel["title"]);
    }
}

#[test]
fn every_alert_has_a_runbook_a_test_and_a_place_in_the_documentation() {
    let (rules, tests, docs) = (
        read("deploy/prometheus/rules.yml"),
        read("deploy/prometheus/rules_test.yml"),
        read("docs/operations.md"),
    );
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 10);
    for alert in &alerts {
        let block = rules.split("- alert: ").find(|block| block.lines().next() == Some(alert)).unwrap();
        for part in ["severity:", "summary:", "description:", "runbook_url:"] {
            assert!(block.contains(part), "{alert} has no {part}");
        }
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "{alert} is not tested");
        assert!(docs.contains(&format!("`{alert}`")), "docs/operations.md does not explain {alert}");
    }
    let explained = docs.split('`').skip(1).step_by(2).filter(|word| word.starts_with("KoSentiment"));
    for alert in explained {
        assert!(alerts.contains(&alert), "docs/operations.md explains {alert}, which is no alert");
    }
}

#[test]
fn the_documentations_table_is_the_table_of_names() {
    let docs = read("docs/operations.md");
    let rows: Vec<(String, String)> = docs
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, labels, ..] = cells[..] else { return None };
            let name = name.trim_matches('`');
            let ours = mentioned(name).first().is_some_and(|(found, _)| *found == name);
            ours.then(|| (name.to_owned(), labels.replace('`', "")))
        })
        .collect();
    let expect: Vec<(String, String)> =
        names::ALL.iter().map(|family| (family.name.to_owned(), family.labels.join(", "))).collect();
    assert_eq!(rows, expect);
}
