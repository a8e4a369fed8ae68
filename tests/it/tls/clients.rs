//! Clients of all kinds come through TLS as they do without.

use super::tcp;
use crate::certificates::{Certificates, openssl, text};
use crate::program::Program;
use crate::raw::Raw;
use crate::replica::{Replica, within};
use crate::tools::program;
use crate::websocket::Client as Socket;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A way for curl to speak, and how an answer begins then.
const VERSIONS: [(&str, &str); 2] = [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2")];
const JSON: &str = "Accept: application/json";
const LINES: &str = "Accept: application/x-ndjson";

/// curl, which trusts the replica's authority alone, and prints heads too.
fn curl(replica: &Replica, arguments: &[&str]) -> Program {
    let all = replica.certificates.as_ref().expect("TLS");
    let ca = all.ca();
    let common = [
        "--disable",
        "--noproxy",
        "*",
        "--silent",
        "--show-error",
        "--no-buffer",
        "--include",
        "--cacert",
        text(&ca),
    ];
    let name = program("TIDINGS_TEST_CURL");
    let name = name.to_str().expect("text");
    Program::other(name, &[&common, arguments].concat())
}

/// Reads lines up to this one.
async fn until(program: &mut Program, wanted: &str) {
    while program.line().await != wanted {}
}

/// An answer that ends, which has this status.
async fn answer(program: Program, status: &str) -> String {
    let ended = program.end().await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.out.starts_with(status), "{ended:?}");
    ended.out
}

#[tokio::test]
async fn a_stream_begins_goes_on_and_is_resumed_over_both_versions() {
    let replica = Replica::with_tls(&[]).await;
    let url = replica.url("/feeds/a");
    for (version, status) in VERSIONS {
        let mut stream = curl(&replica, &[version, &url]);
        let first = stream.line().await;
        assert!(first.starts_with(&format!("{status} 200")), "{first}");
        until(&mut stream, "event: hub:position").await;
        let first = replica.publish("a", "one").await;
        until(&mut stream, &format!("id: {first}")).await;
        assert_eq!(stream.line().await, "data: one");
        drop(stream);
        let second = replica.publish("a", "two").await;
        let id = format!("Last-Event-ID: {first}");
        let mut stream = curl(&replica, &[version, "-H", &id, &url]);
        until(&mut stream, &format!("id: {first}")).await;
        until(&mut stream, &format!("id: {second}")).await;
        assert_eq!(stream.line().await, "data: two");
    }
}

#[tokio::test]
async fn the_other_forms_and_publishes_do_too() {
    let replica = Replica::with_tls(&[]).await;
    let url = replica.url("/feeds/b");
    let last = format!("{url}?last=1");
    for (version, status) in VERSIONS {
        let publish = curl(&replica, &[version, "-d", "hello", &url]);
        answer(publish, &format!("{status} 201")).await;
        let page = curl(&replica, &[version, "-H", JSON, &last]);
        let page = answer(page, &format!("{status} 200")).await;
        assert!(page.contains(r#""data":"hello""#), "{page}");
        let mut lines = curl(&replica, &[version, "-H", LINES, &last]);
        while !lines.line().await.contains(r#""data":"hello""#) {}
    }
    // A batch, and a long poll that waits for it unless it comes after.
    let wait = format!("{}?after=start&wait=20", replica.url("/feeds/c"));
    let poll = curl(&replica, &["-H", JSON, &wait]);
    let batch = "{\"feed\":\"c\",\"data\":1}\n{\"feed\":\"c\",\"data\":2}";
    let form = "Content-Type: application/x-ndjson";
    let to = replica.url("/feeds");
    let batch = curl(&replica, &["-H", form, "--data-binary", batch, &to]);
    let batch = answer(batch, "HTTP/2 200").await;
    assert_eq!(batch.matches(r#""id""#).count(), 2, "{batch}");
    let page = answer(poll, "HTTP/2 200").await;
    assert!(page.contains(r#""data":1"#), "{page}");
}

#[tokio::test]
async fn a_large_event_comes_whole() {
    let replica = Replica::with_tls(&[]).await;
    let data = "0123456789".repeat(90_000);
    replica.publish("a", data.clone()).await;
    for version in ["--http1.1", "--http2"] {
        let url = format!("{}?last=1", replica.url("/feeds/a"));
        let mut stream = curl(&replica, &[version, &url]);
        until(&mut stream, &format!("data: {data}")).await;
    }
}

#[tokio::test]
async fn a_websocket_talks_back() {
    let replica = Replica::with_tls(&[]).await;
    let mut socket = Socket::connect(&replica).await;
    socket.subscribe("s", &["a.>"], json!({})).await;
    let id = socket.publish("b", json!("of its own")).await;
    assert!(!id.is_empty());
    let id = replica.publish("a.b", "from elsewhere").await;
    let event = socket.text().await;
    assert_eq!(
        (&event["id"], &event["data"]),
        (&json!(id.to_string()), &json!("from elsewhere"))
    );
    let ending = tokio::spawn(replica.stop());
    assert_eq!(socket.close_code().await.0, Some(1012));
    drop(socket);
    within("the replica to end", ending)
        .await
        .expect("no panic");
}

#[tokio::test]
async fn a_client_that_goes_is_noticed_however_it_goes() {
    let replica = Replica::with_tls(&[]).await;
    let all = replica.certificates.as_ref().expect("TLS");
    let request = b"GET /feeds/a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for says_so in [true, false] {
        let mut client = all.connect(tcp(&replica).await, &[]).await.expect("TLS");
        client.write_all(request).await.expect("a server");
        let mut byte = [0];
        within("a byte", client.read_exact(&mut byte))
            .await
            .expect("a byte");
        crate::stalled::readers(&replica, 1).await;
        if says_so {
            client.shutdown().await.expect("a server");
        } else {
            drop(client);
        }
        crate::stalled::readers(&replica, 0).await;
    }
}

#[tokio::test]
async fn only_names_of_this_machine_reach_a_server_without_authentication() {
    let replica = Replica::with_tls(&[]).await;
    let port = replica.address.port();
    for (version, status) in VERSIONS {
        let here = format!("https://localhost:{port}/livez");
        answer(curl(&replica, &[version, &here]), &format!("{status} 200")).await;
        let resolve = format!("evil.example:{port}:127.0.0.1");
        let evil = format!("https://evil.example:{port}/livez");
        let arguments = [version, "-k", "--resolve", &resolve, &evil];
        let refused = answer(curl(&replica, &arguments), &format!("{status} 403")).await;
        assert!(refused.contains("evil.example"), "{refused}");
    }
}

#[tokio::test]
async fn the_programs_own_clients_trust_the_authority_that_they_are_given() {
    let replica = Replica::with_tls(&[]).await;
    let ca = replica.certificates.as_ref().expect("TLS").ca();
    let (url, ca) = (replica.url(""), text(&ca));
    let publish = ["publish", "--url", &url, "a.b", "1"];
    let ended = Program::run(&publish, b"").await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.err.contains("--ca"), "{ended:?}");
    let ended = Program::run(&[&publish[..], &["--ca", ca]].concat(), b"").await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let tail = ["tail", "--url", &url, "a.b", "--last", "1", "--count", "1"];
    let ended = Program::run(&[&tail[..], &["--ca", ca]].concat(), b"").await;
    assert_eq!(
        (ended.code(), ended.out.trim_end().ends_with("\t1")),
        (Some(0), true),
        "{ended:?}"
    );
    for (file, reason) in [
        ("/nowhere", "No such file"),
        ("Cargo.toml", "no certificate"),
    ] {
        let ended = Program::run(&[&publish[..], &["--ca", file]].concat(), b"").await;
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        assert!(
            ended.err.contains("--ca") && ended.err.contains(reason),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn the_programs_own_clients_say_what_is_wrong_with_a_certificate() {
    let replica = Replica::with_tls(&[]).await;
    let url = replica.url("");
    let publish = ["publish", "--url", &url, "a.b", "1"];
    // Another authority of the same name.
    let other = Certificates::new();
    let ended = Program::run(&[&publish[..], &["--ca", text(&other.ca())]].concat(), b"").await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let expected = "not issued by the authority that is trusted here (--ca)";
    assert!(ended.err.contains(expected), "{ended:?}");

    let (cert, key) = (other.path("own.pem"), other.path("own.key"));
    let more = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    let names = [
        "-subj",
        "/CN=own",
        "-keyout",
        text(&key),
        "-out",
        text(&cert),
    ];
    let request = [
        "req", "-x509", "-nodes", "-days", "9", "-newkey", "rsa:2048",
    ];
    openssl(&[&request[..], &names, &more].concat());
    let listen = ["--listen", "127.0.0.1:0"];
    let tls = ["--tls-cert", text(&cert), "--tls-key", text(&key)];
    let mut server = Program::start(&[&listen[..], &tls].concat());
    let url = format!("https://{}", server.address().await);
    let publish = ["publish", "--url", &url, "--ca", text(&cert), "a.b", "1"];
    let ended = Program::run(&publish, b"").await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(
        ended.err.contains("it needs one with CA:FALSE"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn without_tls_no_authorities_are_needed() {
    let replica = Replica::start(&[]).await;
    let url = replica.url("");
    let nowhere = [("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "/nowhere")];
    for arguments in [
        &["publish", "a", "1"][..],
        &["tail", "a", "--last", "1", "--count", "1"],
        &["health"],
        &["verify", "--events", "9", "--readers", "4"],
    ] {
        let all = [arguments, &["--url", &url]].concat();
        let ended = Program::start_with(&all, &nowhere).end().await;
        assert_eq!(ended.code(), Some(0), "{ended:?}");
    }
}

#[tokio::test]
async fn verify_finds_nothing_wrong_through_tls() {
    let replica = Replica::with_tls(&[]).await;
    let ca = replica.certificates.as_ref().expect("TLS").ca();
    let url = replica.url("");
    let arguments = [
        "verify",
        "--url",
        &url,
        "--events",
        "20",
        "--readers",
        "4",
        "--settle",
        "5s",
    ];
    let ended = Program::start_with(&arguments, &[("SSL_CERT_FILE", text(&ca))]);
    let ended = ended.end().await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let ended = Program::run(&[&arguments[..], &["--ca", text(&ca)]].concat(), b"").await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let ended = Program::run(&[&arguments[..], &["--ca", "/nowhere"]].concat(), b"").await;
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    assert!(
        ended.err.contains("--ca: `/nowhere`: No such file"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn who_speaks_plain_http_is_told_what_is_spoken() {
    let replica = Replica::with_tls(&[]).await;
    for (request, version) in [
        (
            "GET /feeds/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "HTTP/1.1",
        ),
        (
            "POST /feeds/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1",
        ),
        ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0"),
    ] {
        let mut raw = Raw::send(replica.address, request).await;
        let answer = String::from_utf8(raw.rest().await).expect("text");
        assert!(answer.starts_with(&format!("{version} 400")), "{answer}");
        assert!(answer.contains("speaks TLS: use https://"), "{answer}");
    }
    let plain = replica.url("/livez").replace("https://", "http://");
    let asked = curl(&replica, &["--http2-prior-knowledge", &plain]);
    let text = answer(asked, "HTTP/2 400").await;
    assert!(text.contains("speaks TLS: use https://"), "{text}");
    super::metric_is(&replica, &super::failed("plaintext"), 4).await;
    let plain = replica.url("").replace("https://", "http://");
    let ended = Program::run(&["publish", "--url", &plain, "a", "1"], b"").await;
    assert!(ended.err.contains("use https://"), "{ended:?}");
}
