//! deploy/systemd: read by systemd itself, and its line really started.

use super::{path, read, rewritten};
use crate::program::Program;
use crate::replica::within;
use crate::tools::program;
use std::process::{Command, Output};
use tempfile::TempDir;
use tokio::net::UnixDatagram;

/// The most that `systemd-analyze security` may make of it: below 2 is its best word.
const EXPOSURE: &str = "--threshold=20";

/// The unit in a folder, with the program that is tested.
fn unit(folder: &TempDir) -> String {
    let file = folder.path().join("tidings.service");
    let text = rewritten(
        &read("systemd/tidings.service"),
        &[("/usr/local/bin/tidings", env!("CARGO_BIN_EXE_tidings"))],
    );
    std::fs::write(&file, text).expect("a file");
    file.to_str().expect("text").to_owned()
}

fn analyze(arguments: &[&str]) -> Output {
    let mut command = Command::new(program("TIDINGS_TEST_SYSTEMD_ANALYZE"));
    command.args(arguments).output().expect("systemd-analyze")
}

#[test]
fn systemd_finds_nothing_wrong_with_it() {
    let folder = TempDir::new().expect("a folder");
    let output = analyze(&["verify", "--man=no", &unit(&folder)]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn systemd_calls_it_well_confined() {
    let folder = TempDir::new().expect("a folder");
    let output = analyze(&["security", "--offline=true", EXPOSURE, &unit(&folder)]);
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn its_line_starts_a_server_with_the_settings_beside_it() {
    let folder = TempDir::new().expect("a folder");
    let unit = std::fs::read_to_string(unit(&folder)).expect("text");
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let words: Vec<&str> = line.expect("a command").split(' ').collect();
    assert_eq!(words[0], env!("CARGO_BIN_EXE_tidings"));
    let data = folder.path().join("data");
    let text = rewritten(
        &read("systemd/tidings.env"),
        &[
            ("127.0.0.1:8080", "127.0.0.1:0"),
            ("/var/lib/tidings", data.to_str().expect("text")),
        ],
    );
    // As systemd does for Type=notify.
    let socket = folder.path().join("notify");
    let told = UnixDatagram::bind(&socket).expect("a socket");
    let mut settings: Vec<(&str, &str)> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .collect();
    assert_eq!(settings.len(), 5);
    settings.push(("NOTIFY_SOCKET", socket.to_str().expect("text")));
    let mut server = Program::start_with(&words[1..], &settings);
    let mut said = [0; 1024];
    let count = within("word of the server", told.recv(&mut said)).await;
    let said = String::from_utf8_lossy(&said[..count.expect("a message")]);
    assert!(said.lines().any(|line| line == "READY=1"), "{said}");
    let address = server.address().await;
    while !server.complaint().await.contains("following the log") {}
    let url = format!("http://{address}");
    let publish = ["publish", "public.a", "1", "--url", &url];
    assert_eq!(Program::run(&publish, b"").await.code(), Some(0));
    server.signal("INT").await;
    assert_eq!(server.end().await.code(), Some(0));
    assert!(data.is_dir());
    assert!(path("systemd/tidings.env").is_file());
}
