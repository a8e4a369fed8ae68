//! The description of the server's interface, held against the server.

use crate::auth::{api_key, bearer};
use crate::call::call;
use crate::replica::Replica;
use crate::tools::program;
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use tokio::process::Command;

const DESCRIPTION: &str = include_str!("../../static/openapi.json");
const ROUTES: [&str; 2] = [
    include_str!("../../src/http.rs"),
    include_str!("../../src/http/admin.rs"),
];
/// Of the files that are served as they are, those that are described.
const FILES: [&str; 2] = ["/openapi.json", "/tidings.js"];

fn description() -> Value {
    serde_json::from_str(DESCRIPTION).expect("JSON")
}

/// The methods of each path, as in `GET /feeds`.
fn described() -> BTreeSet<String> {
    let description = description();
    let paths = description["paths"].as_object().expect("an object");
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("an object").keys();
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    operations.collect()
}

/// The same of the routes, as they stand in the code.
fn routed() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let routes = ROUTES
        .iter()
        .flat_map(|code| code.split(".route(\"").skip(1));
    for route in routes {
        let (path, rest) = route.split_once('"').expect("a path");
        let handlers = rest.split(['\n', ';']).next().unwrap_or_default();
        for method in ["get", "post", "delete"] {
            if handlers.contains(&format!("{method}(")) {
                found.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    found
}

#[test]
fn it_has_every_route_and_no_other() {
    let files = FILES.map(|path| format!("GET {path}"));
    let mut expected = routed();
    assert!(expected.len() >= 10, "{expected:?}");
    expected.extend(files);
    assert_eq!(described(), expected);
}

#[tokio::test]
async fn it_is_served_as_it_is_and_is_of_this_version() {
    let replica = Replica::start(&[]).await;
    let answer = call(&replica, Method::GET, "/openapi.json", &[], "").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.text, DESCRIPTION);
    assert_eq!(description()["info"]["version"], env!("CARGO_PKG_VERSION"));
}

/// Examples, the bounds of each value, and what a generator makes up: nothing is answered otherwise than is described.
async fn nothing_is_answered_otherwise(examples: &str, more: &[&str]) {
    let (key, record) = api_key("all", "subscribe=>;publish=>;request=>;admin");
    let replica = Replica::start(&["--api-key", &record]).await;
    let clients = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
    let folder = tempfile::tempdir().expect("a folder");
    let python = Path::new(&program("TIDINGS_TEST_PYTHON")).to_owned();
    let output = Command::new(python.with_file_name("schemathesis"))
        .current_dir(folder.path())
        .env("PYTHONPATH", clients)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .args(["--config-file", &format!("{clients}/schemathesis.toml")])
        .args(["run", &replica.url("/openapi.json"), "--no-color"])
        .args(["--header", "Accept: application/json"])
        .args(["--header", &format!("Authorization: {}", bearer(&key))])
        .args(["--exclude-path", "/ws", "--continue-on-failure"])
        .args(["--phases", "examples,coverage,fuzzing,stateful"])
        .args(["--max-examples", examples])
        .args(more)
        .kill_on_drop(true)
        .output()
        .await
        .expect("schemathesis");
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{failed}");
    assert!(said.contains("Tested: 15"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing() {
    nothing_is_answered_otherwise("10", &["--seed", "1"]).await;
}

/// Each time with other values.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn schemathesis_finds_nothing_however_long_it_looks() {
    nothing_is_answered_otherwise("300", &[]).await;
}
