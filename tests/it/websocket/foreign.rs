//! Clients that we did not write: npm's `ws`, and PyPI's `websockets`.

use crate::replica::{Replica, within};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Runs a script of `tests/clients`, and checks what it says of the server.
async fn is_served(interpreter: &str, script: &str) {
    let replica = Replica::start(&[]).await;
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let mut child = Command::new(crate::tools::program(interpreter))
        .arg(scripts.join(script))
        .arg(format!("ws://{}/ws", replica.address))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
    let mut next = async || {
        let line = within("a line", lines.next_line()).await.expect("text");
        let line = line.unwrap_or_else(|| panic!("{script} has ended"));
        serde_json::from_str::<Value>(&line).expect("JSON")
    };
    for expected in [
        json!({"protocol": "tidings.v1"}),
        json!({"extensions": ""}),
        json!({"event": {"text": "é"}}),
        json!({"bytes": [255, 10, 0]}),
        json!({"large": 900_000}),
        json!({"refused": 1003}),
    ] {
        assert_eq!(next().await, expected, "{script}");
    }
    replica.stop().await;
    assert_eq!(next().await, json!({"closed": 1012}), "{script}");
}

#[tokio::test]
async fn npms_ws_is_served() {
    is_served("TIDINGS_TEST_NODE", "ws.mjs").await;
}

#[tokio::test]
async fn pypis_websockets_is_served() {
    is_served("TIDINGS_TEST_PYTHON", "websockets-pypi.py").await;
}
