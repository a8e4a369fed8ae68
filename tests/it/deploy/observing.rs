//! deploy/prometheus and deploy/grafana.

use super::{path, read};
use crate::tools::program;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

fn promtool(arguments: &[&str]) -> String {
    let mut promtool = Command::new(program("TIDINGS_TEST_PROMTOOL"));
    promtool.args(arguments).current_dir(path("prometheus"));
    let output = promtool.output().expect("promtool");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{output:?}");
    said
}

#[test]
fn prometheus_takes_the_rules_and_each_fires_when_it_should() {
    let said = promtool(&["check", "rules", "alerts.yml"]);
    assert!(said.contains("13 rules found"), "{said}");
    promtool(&["test", "rules", "alerts.test.yml"]);
}

fn dashboard() -> Value {
    serde_json::from_str(&read("grafana/dashboard.json")).expect("JSON")
}

fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    targets
        .flatten()
        .map(|target| target["expr"].as_str().expect("text").to_owned())
        .collect()
}

#[test]
fn every_panel_of_the_dashboard_has_a_question_that_prometheus_takes() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<i64> = panels.iter().filter_map(|one| one["id"].as_i64()).collect();
    assert_eq!(ids.len(), panels.len());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("panels.yml");
    let rules: String = expressions(&dashboard)
        .iter()
        .enumerate()
        .map(|(number, expression)| {
            // What Grafana puts in their place.
            let expression = expression
                .replace("$__rate_interval", "1m")
                .replace("$__range", "1h")
                .replace("$job", "tidings")
                .replace("$instance", ".*");
            let expression = Value::from(expression);
            format!("      - {{ record: \"panel:{number}\", expr: {expression} }}\n")
        })
        .collect();
    let text = format!("groups:\n  - name: panels\n    rules:\n{rules}");
    std::fs::write(&file, text).expect("a file");
    promtool(&["check", "rules", file.to_str().expect("text")]);
}
