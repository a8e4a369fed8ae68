//! `tidings doctor` finds what is wrong, and says what to change.

use crate::certificates::{Certificates, EC, text};
use crate::nats_server::{NatsServer, Version};
use crate::program::{Ended, Program};
use crate::proxy::{Kind, NGINX, Proxy};
use crate::replica::Replica;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What it finds, for few connections, which each machine has room for.
async fn doctor(arguments: &[&str]) -> Ended {
    let most = [
        "doctor",
        "--listen",
        "127.0.0.1:0",
        "--max-connections",
        "100",
    ];
    Program::run(&[&most[..], arguments].concat(), b"").await
}

/// The line that has this in it.
fn line<'a>(ended: &'a Ended, what: &str) -> &'a str {
    let found = ended.out.lines().find(|line| line.contains(what));
    found.unwrap_or_else(|| panic!("no {what}: {ended:?}"))
}

#[tokio::test]
async fn a_machine_and_settings_that_are_right_are_0() {
    let ended = doctor(&[]).await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    for what in ["open files: ", "address: ", "the settings go together"] {
        assert!(line(&ended, what).starts_with("ok    "), "{ended:?}");
    }
}

#[tokio::test]
async fn few_open_files_and_settings_that_contradict_each_other_are_1() {
    let ended = Program::with_open_files(100, &["doctor"]).end().await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let files = line(&ended, "open files: 100 may be open");
    assert!(
        files.starts_with("fail  ") && files.contains(" — raise the hard limit"),
        "{files}"
    );

    let ended = Program::run(&["doctor", "--listen", "0.0.0.0:0"], b"").await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(line(&ended, "refusing to listen").starts_with("fail  "));
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).expect("a file");
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("it is set");
}

#[tokio::test]
async fn secrets_that_everyone_can_read_are_told_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    let config = folder.path().join("tidings.toml");
    let text = format!("jwt-key-file = '{}'\n", key.display());
    let path = config.to_str().expect("a path");
    for (mode, secret, verdicts) in [
        (0o600, "", ["ok", "ok"]),
        (0o644, "", ["warn", "ok"]),
        (0o604, "api-key = 'x'\n", ["warn", "warn"]),
        (0o660, "api-key = 'x'\n", ["ok", "ok"]),
    ] {
        write(&key, &"k".repeat(32), mode);
        write(&config, &format!("{text}{secret}"), mode);
        let ended = doctor(&["--config", path]).await;
        for (verdict, name) in verdicts.iter().zip(["(--jwt-key-file)", "(--config)"]) {
            if name == "(--config)" && secret.is_empty() {
                assert!(!ended.out.contains(name), "{ended:?}");
                continue;
            }
            let found = line(&ended, name);
            assert!(found.starts_with(verdict), "{mode:o}: {found}");
            assert_eq!(found.contains("chmod o= "), *verdict == "warn", "{found}");
        }
    }
}

/// It has hashes alone: whoever can read it can make nothing of it.
#[tokio::test]
async fn a_file_of_api_keys_may_be_read_by_everyone_and_not_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = folder.path().join("keys");
    let made = Program::run(&["token", "--api-key=a", "--admin"], b"").await;
    let hash = made.err.lines().chain(made.out.lines());
    let mut hash = hash.filter(|line| line.starts_with("a:"));
    let hash = hash.next().unwrap_or_else(|| panic!("no hash: {made:?}"));
    for (mode, verdict) in [(0o644, "ok    "), (0o646, "warn  ")] {
        write(&keys, hash, mode);
        let ended = doctor(&["--api-keys-file", text(&keys)]).await;
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        let found = line(&ended, "(--api-keys-file)");
        assert!(found.starts_with(verdict), "{mode:o}: {found}");
    }
}

/// One of two: the other is of no kind that there is.
#[tokio::test]
async fn the_keys_of_an_issuer_that_can_be_used_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        let keys = r#"{"keys":[{"kty":"none"},{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;
        let length = keys.len();
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}");
            let _ = socket
                .write_all(format!("{head}\r\n\r\n{keys}").as_bytes())
                .await;
        }
    });
    let about = ["--jwt-issuer=us", "--jwt-audience=them", "--jwks-url", &url];
    let ended = doctor(&about).await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let found = line(&ended, "issuer: ");
    let told = found.starts_with("ok    ") && found.contains(" 1 of its keys can be used");
    assert!(told, "{found}");
}

#[tokio::test]
async fn an_issuer_whose_keys_can_not_be_had_is_told() {
    let replica = Replica::start(&[]).await;
    let about = ["--jwt-issuer=us", "--jwt-audience=them", "--jwks-url"];
    for (path, expected) in [("/none", "the answer is 404"), ("/openapi.json", "keys")] {
        let url = replica.url(path);
        let ended = doctor(&[&about[..], &[&url]].concat()).await;
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        let found = line(&ended, "issuer: ");
        let told = found.contains(&url) && found.contains(expected);
        assert!(found.starts_with("fail  ") && told, "{found}");
    }
}

#[tokio::test]
async fn a_certificate_that_clients_refuse_or_soon_will_is_told() {
    let certificates = Certificates::new();
    let [long, short, other] = [("long", 60), ("short", 3), ("other", 60)]
        .map(|(name, days)| certificates.issue_for(days, name, EC));
    let ended = doctor(&long.options()).await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    for what in [
        "it and its key fit, until 2",
        "it is for localhost, 127.0.0.1",
    ] {
        assert!(
            line(&ended, what).starts_with("ok    certificate: "),
            "{ended:?}"
        );
    }
    let ended = doctor(&short.options()).await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(
        line(&ended, "within 14 days").starts_with("warn  certificate: "),
        "{ended:?}"
    );
    let mixed = [
        "--tls-cert",
        text(&long.cert),
        "--tls-key",
        text(&other.key),
    ];
    let ended = doctor(&mixed).await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let found = line(&ended, "the key is not that of the first certificate");
    assert!(found.starts_with("fail  certificate: "), "{found}");
    let ended = doctor(&["--tls-cert", text(&long.cert)]).await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(
        line(&ended, "--tls-cert needs --tls-key too").starts_with("fail  "),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_folder_that_can_not_be_written_to_is_told() {
    let ended = doctor(&["--data", "/proc/none"]).await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let found = line(&ended, "/proc/none can't be written to (--data)");
    assert!(found.starts_with("fail  "), "{found}");
    let folder = tempfile::tempdir().expect("a folder");
    let ended = doctor(&["--data", folder.path().to_str().expect("a path")]).await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    line(&ended, "can be written to, on ");
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_is_looked_at_and_nothing_is_created_there() {
    let nats = NatsServer::start(Version::V2_15);
    let url = nats.url();
    for _ in 0..2 {
        let ended = doctor(&["--nats", &url]).await;
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        line(&ended, "there is no stream `TIDINGS` yet");
    }
    let replica = Replica::start(&["--nats", &url]).await;
    replica.publish("a", "1").await;
    let ended = doctor(&["--nats", &url]).await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    line(&ended, "the stream `TIDINGS` fits; its last sequence is 1");

    let ended = doctor(&["--nats", &url, "--nats-prefix", "other"]).await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let found = line(&ended, "NATS: ");
    assert!(
        found.starts_with("fail  ") && found.contains("other"),
        "{found}"
    );

    let ended = doctor(&["--nats", "nats://127.0.0.1:1", "--nats-timeout", "1"]).await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(line(&ended, "NATS: ").contains("127.0.0.1:1"), "{ended:?}");
}

#[tokio::test]
async fn an_event_goes_the_way_that_clients_go() {
    let replica = Replica::start(&[]).await;
    let proxy = Proxy::start(NGINX, replica.address).await;
    for address in [replica.address, proxy.address()] {
        let url = format!("http://{address}");
        let ended = doctor(&["--url", &url]).await;
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        let begins = format!("ok    {url}: ");
        for what in ["stream: it began", "stream: an event came through", "agree"] {
            assert!(line(&ended, what).starts_with(&begins), "{ended:?}");
        }
    }
    assert_eq!(replica.hub().usage().events, 2);
}

#[tokio::test]
async fn a_proxy_that_holds_streams_back_is_told() {
    let replica = Replica::start(&[]).await;
    let buffers = Kind::Nginx("proxy_ignore_headers X-Accel-Buffering;");
    let proxy = Proxy::start(buffers, replica.address).await;
    let ended = doctor(&["--url", &format!("http://{}", proxy.address())]).await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let found = line(&ended, "within 10 s");
    assert!(
        found.starts_with("fail  ") && found.contains("`proxy_buffering off`"),
        "{found}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_or_takes_nothing_is_told() {
    let replica = Replica::start(&["--anonymous-subscribe", "doctor.>"]).await;
    let ended = doctor(&["--url", &replica.url("")]).await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let found = line(&ended, "publish: 403");
    assert!(
        found.starts_with("fail  ") && found.contains("--token"),
        "{found}"
    );
    let ended = doctor(&["--url", "http://127.0.0.1:1"]).await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(line(&ended, "Connection refused").starts_with("fail  "));
}

#[tokio::test]
async fn a_server_opens_as_many_files_as_it_may() {
    let mut server = Program::other(
        "/bin/sh",
        &[
            "-c",
            "ulimit -Sn 100 && exec \"$0\" --listen 127.0.0.1:0",
            env!("CARGO_BIN_EXE_tidings"),
        ],
    );
    server.address().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id()));
    let limits = limits.expect("its limits");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let values: Vec<&str> = files.expect("a line").split_whitespace().skip(3).collect();
    assert_eq!(values[0], values[1]);
    assert_ne!(values[0], "100");
}
