//! deploy/prometheus and deploy/grafana.

use super::{path, read};
use crate::auth::{api_key, bearer};
use crate::call::{get, post};
use crate::nats_server::{NatsServer, Version};
use crate::replica::Replica;
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
    assert!(said.contains("18 rules found"), "{said}");
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

/// The names that a replica tells of, those of a histogram's samples too.
async fn told(replica: &Replica, headers: &[(&str, &str)]) -> BTreeSet<String> {
    let text = get(replica, "/metrics", headers).await.text;
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let families = families.filter_map(|line| line.split_once(' '));
    families
        .flat_map(|(name, kind)| match kind {
            "histogram" => ["_bucket", "_sum", "_count"]
                .map(|end| format!("{name}{end}"))
                .to_vec(),
            _ => vec![name.to_owned()],
        })
        .collect()
}

#[tokio::test]
async fn all_that_is_asked_is_told_by_the_server() {
    let nats = NatsServer::start(Version::V2_15);
    let folder = tempfile::tempdir().expect("a folder");
    let logs = [
        ["--nats", &nats.url()],
        ["--data", folder.path().to_str().expect("text")],
    ];
    let (key, record) = api_key("all", "subscribe=>;publish=>;admin");
    let mut told_of = BTreeSet::new();
    for log in logs {
        let replica = Replica::start(&[&log[..], &["--api-key", &record]].concat()).await;
        let shown = bearer(&key);
        let headers = [
            ("authorization", shown.as_str()),
            ("accept", "application/json"),
        ];
        // What has labels is told of once it has come to pass.
        assert_eq!(get(&replica, "/feeds/a", &[]).await.status, 401);
        assert_eq!(
            post(&replica, "/feeds/a", &headers[..1], "1").await.status,
            201
        );
        assert_eq!(get(&replica, "/feeds/a", &headers).await.status, 200);
        told_of.extend(told(&replica, &headers[..1]).await);
    }
    told_of.extend(told(&Replica::with_tls(&[]).await, &[]).await);
    let asked = read("prometheus/alerts.yml") + &read("grafana/dashboard.json");
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    let words = asked.split(|c: char| !is_name(c));
    let names: BTreeSet<&str> = words
        .filter(|word| word.starts_with("tidings_") || word.starts_with("process_"))
        .collect();
    assert!(names.len() > 40, "{names:?}");
    let unknown: Vec<_> = names
        .iter()
        .filter(|name| !told_of.contains(**name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
