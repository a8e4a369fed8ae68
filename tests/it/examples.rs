//! What the server brings beside feeds, and the examples, run as their own text says.

use crate::call::{Answer, get};
use crate::nats_server::{NatsServer, Version};
use crate::replica::Replica;
use crate::tools::{program, within};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

on_both!(
    a_backend_in_node_publishes_and_answers,
    a_backend_in_python_publishes_and_answers,
);

/// What the server brings, by path, and how its media type begins.
const ASSETS: [(&str, &str); 12] = [
    ("/tidings.js", "text/javascript"),
    ("/tidings-upstream.js", "text/javascript"),
    ("/tidings.d.ts", "text/plain"),
    ("/websocket.md", "text/plain"),
    ("/style.css", "text/css"),
    ("/examples/chat", "text/html"),
    ("/examples/chat.js", "text/javascript"),
    ("/examples/dashboard", "text/html"),
    ("/examples/dashboard.js", "text/javascript"),
    ("/examples/dashboard.sh", "text/plain"),
    ("/examples/orders.mjs", "text/plain"),
    ("/examples/orders.py", "text/plain"),
];

#[tokio::test]
async fn each_file_is_sent_once_to_a_client_that_keeps_it() {
    let replica = Replica::start(&[]).await;
    for (path, media) in ASSETS {
        let first = get(&replica, path, &[]).await;
        assert_eq!(first.status, 200, "{path}");
        let kind = first.header("content-type").expect("a type");
        assert!(kind.starts_with(media), "{path}: {kind}");
        let policy = first.header("content-security-policy");
        assert_eq!(policy.is_some(), media == "text/html", "{path}");
        let tag = first.header("etag").expect("a tag");
        let again = get(&replica, path, &[("If-None-Match", tag)]).await;
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{path}");
        let other = get(&replica, path, &[("If-None-Match", "\"other\"")]).await;
        assert_eq!(other.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_front_page_of_a_browser_links_to_what_there_is() {
    let flags = ["--anonymous-subscribe", "a.<b&c"];
    let replica = Replica::start(&flags).await;
    let page = get(&replica, "/", &[("Accept", "text/html,*/*;q=0.8")]).await;
    assert!(page.header("content-security-policy").is_some());
    assert!(page.text.contains("/feeds/a.%3Cb%26c"), "{page:?}");
    let mut links = 0;
    for link in page.text.split("href=\"").skip(1) {
        let link = link.split('"').next().expect("its end");
        if link.starts_with("data:") {
            continue;
        }
        let answer = get(&replica, &format!("/{link}"), &[]).await;
        assert_eq!(answer.status, 200, "{link}");
        links += 1;
    }
    assert!(links >= 8, "{page:?}");
}

/// All that there is of a pattern.
async fn all(replica: &Replica, pattern: &str) -> Vec<Value> {
    let path = format!("/feeds/{pattern}?after=start&limit=1000");
    let page = get(replica, &path, &[("Accept", "application/json")]).await;
    events(&page)
}

fn events(page: &Answer) -> Vec<Value> {
    page.json()["events"].as_array().expect("events").clone()
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("static/examples")
        .join(name)
}

/// Runs a program to its end, which has to be a good one, and returns what it wrote.
async fn run(command: &mut Command) -> String {
    command.kill_on_drop(true).stdin(Stdio::null());
    let output = within("the end of a program", command.output(), || {
        format!("{command:?}")
    });
    let output = output.await.expect("a program");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_gets_this_machines_figures() {
    let replica = Replica::start(&[]).await;
    let mut script = Command::new("sh");
    script.arg(example("dashboard.sh")).arg(replica.url(""));
    run(script.arg("1")).await;
    let events = all(&replica, "metrics.%3E").await;
    assert_eq!(events.len(), 3, "{events:?}");
    for event in &events {
        let feed = event["feed"].as_str().expect("a feed");
        assert!(feed.starts_with("metrics."), "{feed}");
        assert!(event["data"]["value"].is_number(), "{event}");
    }
}

async fn a_backend_in_node_publishes_and_answers(version: Version) {
    // Node looks for packages beside the file, and above.
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("orders.mjs");
    std::fs::copy(example("orders.mjs"), &script).expect("a copy");
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/node_modules");
    std::os::unix::fs::symlink(packages, folder.path().join("node_modules")).expect("a link");
    let mut node = Command::new(program("TIDINGS_TEST_NODE"));
    node.arg(script);
    a_backend_publishes_and_answers(version, node).await;
}

async fn a_backend_in_python_publishes_and_answers(version: Version) {
    let mut python = Command::new(program("TIDINGS_TEST_PYTHON"));
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python.arg(example("orders.py"));
    a_backend_publishes_and_answers(version, python).await;
}

async fn a_backend_publishes_and_answers(version: Version, mut backend: Command) {
    let server = NatsServer::start(version);
    let replica = Replica::start(&["--nats", &server.url()]).await;
    backend.env("NATS_URL", server.url()).arg("2");
    let out = run(&mut backend).await;
    let events = all(&replica, "orders.*").await;
    let regions: Vec<_> = events.iter().map(|event| &event["feed"]).collect();
    assert_eq!(regions, ["orders.eu", "orders.us"], "{out}");
    for (event, line) in events.iter().zip(out.lines()) {
        assert_eq!(event["type"], "created");
        let id = event["data"]["id"].as_str().expect("an id");
        assert!(line.contains(id), "{out}");
    }
}
