//! deploy/kubernetes: held to the API's schemas, and to what the server says of itself.

use super::{client, path, yaml};
use crate::program::Program;
use crate::tools::program;
use serde_json::Value;
use std::process::Command;
use tempfile::TempDir;

/// The oldest in which a preStop may sleep without a shell, and today's.
const VERSIONS: [&str; 2] = ["1.30", "1.35"];

fn files() -> Vec<String> {
    let all = yaml("kubernetes/kustomization.yaml").remove(0);
    let resources = all["resources"].as_array().expect("resources");
    resources
        .iter()
        .map(|name| format!("kubernetes/{}", name.as_str().expect("text")))
        .collect()
}

fn deployment() -> Value {
    yaml("kubernetes/deployment.yaml").remove(0)
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

/// What kustomize makes of the folder.
fn rendered() -> String {
    let mut kubectl = Command::new(program("TIDINGS_TEST_KUBECTL"));
    kubectl.arg("kustomize").arg(path("kubernetes"));
    let output = kubectl.output().expect("kubectl");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_resource_is_what_the_api_takes() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("all.yaml");
    let text = rendered();
    assert!(text.contains("image: registry.example.com/tidings:0.1.0"));
    std::fs::write(&file, text).expect("a file");
    for version in VERSIONS {
        let mut command = Command::new(program("TIDINGS_TEST_PYTHON"));
        command.arg(client("kubernetes-schemas.py"));
        command.arg(version).arg(&file);
        let output = command.output().expect("Python");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{version}: {said}");
        // The Prometheus operator's, of which the API knows nothing.
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ServiceMonitor\n");
    }
}

#[test]
fn the_folder_has_no_resource_that_is_left_out() {
    let listed = files();
    for entry in std::fs::read_dir(path("kubernetes")).expect("a folder") {
        let name = entry.expect("a file").file_name();
        let name = format!("kubernetes/{}", name.to_str().expect("text"));
        assert!(name.ends_with("kustomization.yaml") || listed.contains(&name));
    }
}

#[tokio::test]
async fn its_variables_are_settings() {
    let deployment = deployment();
    let variables = container(&deployment)["env"].as_array().expect("variables");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let variables: Vec<(String, String)> = variables
        .iter()
        .map(|one| (text(&one["name"]), text(&one["value"])))
        .collect();
    let given: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let ended = Program::start_with(&["config"], &given).end().await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    for (name, _) in given {
        assert!(ended.out.contains(&format!("({name})")), "{name}");
    }
}

#[test]
fn a_pod_has_the_time_that_it_takes_to_drain() {
    let deployment = deployment();
    let container = container(&deployment);
    let sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64();
    let variables = container["env"].as_array().expect("variables");
    let drain = variables.iter().find(|one| one["name"] == "TIDINGS_DRAIN");
    let drain = drain.and_then(|one| one["value"].as_str()?.parse::<u64>().ok());
    let all = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
    assert!(all.expect("seconds") > sleep.expect("seconds") + drain.expect("seconds"));
}

#[test]
fn no_service_for_clients_leads_to_the_listener_of_operators() {
    let deployment = deployment();
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    for service in yaml("kubernetes/service.yaml") {
        assert_eq!(&service["spec"]["selector"], labels);
        let is_headless = service["spec"]["clusterIP"] == "None";
        for port in service["spec"]["ports"].as_array().expect("ports") {
            assert_eq!(port["targetPort"] == "admin", is_headless, "{port}");
        }
    }
    let monitor = yaml("kubernetes/servicemonitor.yaml").remove(0);
    let chosen = &monitor["spec"]["selector"]["matchLabels"];
    assert_eq!(
        chosen,
        &yaml("kubernetes/service.yaml")[1]["metadata"]["labels"]
    );
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], "admin");
    let policy = yaml("kubernetes/networkpolicy.yaml").remove(0);
    let rules = policy["spec"]["ingress"].as_array().expect("rules");
    let to_admin = rules.iter().filter(|rule| {
        let ports = rule["ports"].as_array().expect("ports");
        ports.iter().any(|port| port["port"] == "admin")
    });
    let from: Vec<&Value> = to_admin.map(|rule| &rule["from"]).collect();
    let who = "kubernetes.io/metadata.name";
    assert_eq!(from.len(), 1);
    assert_eq!(
        from[0][0]["namespaceSelector"]["matchLabels"][who],
        "monitoring"
    );
}
