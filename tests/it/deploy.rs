//! What is in deploy/, tried as it is: addresses, paths and certificates are the only things that are put in its place.

mod compose;
mod envoy;
mod front;
mod image;
mod kubernetes;
mod observing;
mod proxies;
mod rolling;
mod systemd;

use crate::tools::program;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file or a folder of deploy/.
fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name);
    assert!(path.exists(), "there is no {}", path.display());
    path
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).expect("text")
}

/// This text with other words for some of its own, each of which has to be there.
fn rewritten(text: &str, words: &[(&str, &str)]) -> String {
    words.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "there is no {from:?} in {text}");
        text.replace(from, to)
    })
}

/// A program of tests/clients.
fn client(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

/// The documents of a YAML file.
fn yaml(name: &str) -> Vec<Value> {
    let mut python = Command::new(program("TIDINGS_TEST_PYTHON"));
    python.arg(client("yaml-as-json.py")).arg(path(name));
    let output = python.output().expect("Python");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}
