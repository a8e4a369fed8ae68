//! What the server is told of TLS, and what it tells.

use crate::certificates::{Certificates, EC, Issued, RSA, openssl, text};
use crate::program::Program;
use crate::replica::{Replica, within};
use std::fs;
use std::process::Stdio;
use tokio::process::Command;

#[tokio::test]
async fn settings_that_are_wrong_end_it_with_what_is_wrong() {
    let all = Certificates::new();
    let (one, other) = (all.issue("one", EC), all.issue("other", EC));
    let passphrase = all.path("passphrase.key");
    let arguments = [
        "pkcs8",
        "-topk8",
        "-in",
        text(&one.key),
        "-out",
        text(&passphrase),
        "-passout",
        "pass:secret",
    ];
    openssl(&arguments);
    let empty = all.path("empty");
    fs::write(&empty, "").expect("a file");
    let (cert, key) = (text(&one.cert), text(&one.key));
    for (arguments, reason) in [
        (&["--tls-cert", cert][..], "--tls-cert needs --tls-key too"),
        (&["--tls-key", key], "--tls-key needs --tls-cert too"),
        (
            &["--tls-cert", cert, "--tls-key", text(&other.key)],
            "the key is not that of",
        ),
        (
            &["--tls-cert", "/nowhere", "--tls-key", key],
            "--tls-cert: `/nowhere`",
        ),
        (
            &["--tls-cert", cert, "--tls-key", "/nowhere"],
            "--tls-key: `/nowhere`",
        ),
        (&["--tls-cert", key, "--tls-key", key], "no certificate"),
        (&["--tls-cert", cert, "--tls-key", cert], "no private key"),
        (
            &["--tls-cert", cert, "--tls-key", text(&passphrase)],
            "without a passphrase",
        ),
        (
            &["--tls-cert", text(&empty), "--tls-key", key],
            "no certificate",
        ),
    ] {
        let all = [&["--listen", "127.0.0.1:0"], arguments].concat();
        let ended = Program::run(&all, b"").await;
        assert_eq!(ended.code(), Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(reason), "{arguments:?}: {ended:?}");
        assert!(!ended.err.contains("PRIVATE KEY--"), "{ended:?}");
    }
}

#[tokio::test]
async fn keys_are_taken_in_each_of_their_forms() {
    let all = Certificates::new();
    for (kind, begin) in [(EC, "EC PRIVATE KEY"), (RSA, "RSA PRIVATE KEY")] {
        let issued = all.issue(&begin.replace(' ', "-"), kind);
        let old = all.path("old.key");
        openssl(&[
            "pkey",
            "-traditional",
            "-in",
            text(&issued.key),
            "-out",
            text(&old),
        ]);
        let pem = fs::read_to_string(&old).expect("a file");
        assert!(pem.contains(&format!("BEGIN {begin}")), "{pem}");
        for key in [issued.key, old] {
            let cert = issued.cert.clone();
            let replica = Replica::start(&Issued { cert, key }.options()).await;
            let tcp = tokio::net::TcpStream::connect(replica.address).await;
            all.connect(tcp.expect("a connection"), &[])
                .await
                .expect("TLS");
        }
    }
}

#[tokio::test]
async fn the_first_lines_say_https_and_what_they_suggest_works() {
    let all = Certificates::new();
    let issued = all.issue("server", EC);
    let arguments = [&["--listen", "127.0.0.1:0"][..], &issued.options()].concat();
    let mut server = Program::start(&arguments);
    let mut line = server.line().await;
    while !line.starts_with("listening:") {
        line = server.line().await;
    }
    assert!(line.contains("https://127.0.0.1:"), "{line}");
    let read = server.line().await;
    let publish = server.line().await;
    let read = read.strip_prefix("try:").expect("a command").trim();
    let mut reading = Command::new("sh");
    let reading = reading.args(["-c", &format!("exec {read} --silent --show-error")]);
    let mut reading = reading
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a shell");
    let out = reading.stdout.take().expect("piped");
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(out));
    let mut published = false;
    loop {
        let line = within("a line", lines.next_line()).await.expect("text");
        let line = line.expect("one more line");
        if line == r#"data: {"n":1}"# {
            break;
        }
        if !published && line == "event: hub:position" {
            let mut shell = Command::new("sh");
            let shell = shell.args(["-c", publish.trim()]).output();
            let answer = within("an answer", shell).await.expect("a shell");
            assert!(answer.status.success(), "{answer:?}");
            published = true;
        }
    }
}

#[tokio::test]
async fn tls_does_not_open_a_server_to_everyone() {
    let all = Certificates::new();
    let issued = all.issue("server", EC);
    let arguments = [&["--listen", "0.0.0.0:0"][..], &issued.options()].concat();
    let ended = Program::run(&arguments, b"").await;
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    assert!(ended.err.contains("without authentication"), "{ended:?}");
}
