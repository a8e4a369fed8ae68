//! Settings change while a server runs, all or none of them.

use crate::auth::{AUDIENCE, SECRET, api_key, bearer, below_a, signed, token};
use crate::call::{get, post};
use crate::program::Program;
use crate::replica::{Replica, settings, within};
use crate::sse::Stream;
use crate::websocket::Client as Socket;
use jsonwebtoken::Algorithm;
use reqwest::Client;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::net::UnixDatagram;

/// A server with a file of settings and one of API keys.
struct Server {
    program: Program,
    address: SocketAddr,
    folder: TempDir,
}

impl Server {
    async fn start(config: &str, keys: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tidings.toml");
        let keys_file = folder.path().join("keys");
        std::fs::write(&keys_file, keys).expect("a file");
        std::fs::write(&file, with(config, &keys_file)).expect("a file");
        let file = file.to_str().expect("a path");
        let mut program = Program::start(&["--config", file]);
        let address = program.address().await;
        Self {
            program,
            address,
            folder,
        }
    }

    fn keys_file(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// Writes its file anew.
    fn config(&self, config: &str) {
        let text = with(config, &self.keys_file());
        std::fs::write(self.folder.path().join("tidings.toml"), text).expect("a file");
    }

    /// Has it read them again, and returns what it says of it.
    async fn reload(&mut self) -> String {
        self.program.signal("HUP").await;
        loop {
            let line = self.program.complaint().await;
            if line.contains("read again") {
                return line;
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn stream(&self, key: &str) -> Stream {
        let request = Client::new().get(self.url("/feeds/a.>"));
        Stream::begin(request.header("Authorization", bearer(key)))
            .await
            .0
    }

    async fn publish(&self, key: &str, data: &'static str) -> u16 {
        let request = Client::new().post(self.url("/feeds/a.b")).body(data);
        let request = request.header("Authorization", bearer(key));
        let answer = within("an answer", request.send()).await;
        answer.expect("an answer").status().as_u16()
    }

    async fn metric(&self, line: &str) -> bool {
        let request = Client::new().get(self.url("/metrics"));
        let answer = request.header("Authorization", bearer(OPERATOR)).send();
        let answer = answer.await.expect("an answer");
        let text = answer.text().await.expect("text");
        text.lines().any(|one| one == line)
    }
}

/// An operator's key, and what the servers are told of it.
const OPERATOR: &str = "tidings_62jKx10tC8MggAj35qcum-FvGbpVvmsJbs4I39iKp1M";
const ITS_RECORD: &str =
    "operator:68e6e6b7861ccd1158c7bb45451ad5576f34e95a5dbc29d3797c3969e8ca320b:admin";

/// The settings of a server, with these.
fn with(config: &str, keys: &std::path::Path) -> String {
    format!(
        "listen = '127.0.0.1:0'\napi-key = '{ITS_RECORD}'\napi-keys-file = '{}'\n{config}\n",
        keys.display()
    )
}

#[tokio::test]
async fn keys_come_and_go_with_what_they_have_open_and_the_others_streams_go_on() {
    let permissions = "subscribe=a.>;publish=a.>";
    let [old, kept, new] = ["old", "kept", "new"].map(|name| api_key(name, permissions));
    let mut server = Server::start("", &format!("{}\n{}\n", old.1, kept.1)).await;
    let mut gone = server.stream(&old.0).await;
    let mut open = server.stream(&kept.0).await;
    assert_eq!(server.publish(&new.0, "0").await, 401);

    std::fs::write(server.keys_file(), format!("{}\n{}\n", kept.1, new.1)).expect("a file");
    let told = server.reload().await;
    assert!(
        told.contains("no setting has changed; files: ")
            && told.ends_with(" (--api-keys-file, new)"),
        "{told}"
    );
    let closing = gone.event().await;
    let told = (closing.kind.as_str(), closing.data.as_str());
    assert_eq!(told, ("hub:closing", r#"{"reason":"revoked"}"#));
    assert_eq!(gone.next().await, None);
    assert_eq!(server.publish(&old.0, "1").await, 401);
    assert_eq!(server.publish(&new.0, "2").await, 201);
    assert_eq!(open.data(1).await, ["2"]);
    assert!(
        server
            .metric("tidings_config_reloads_total{outcome=\"applied\"} 1")
            .await
    );
}

#[tokio::test]
async fn a_key_that_may_do_something_else_comes_back_for_that() {
    let (key, record) = api_key("one", "subscribe=a.>;publish=a.>");
    let mut server = Server::start("", &record).await;
    let mut stream = server.stream(&key).await;
    let (name, _) = record.rsplit_once(':').expect("permissions");
    std::fs::write(server.keys_file(), format!("{name}:subscribe=a.>\n")).expect("a file");
    server.reload().await;
    assert_eq!(stream.event().await.kind, "hub:closing");
    assert_eq!(server.publish(&key, "1").await, 403);
    server.stream(&key).await;
}

#[tokio::test]
async fn an_emptied_file_of_keys_takes_none_away_and_one_with_a_comment_alone_does() {
    let (key, record) = api_key("one", "publish=a.>");
    let mut server = Server::start("", &record).await;
    std::fs::write(server.keys_file(), "").expect("a file");
    let told = server.reload().await;
    for part in ["ERROR", "so do the keys", "is empty", "begins with `#`"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(server.publish(&key, "1").await, 201);
    std::fs::write(server.keys_file(), "# none\n").expect("a file");
    let told = server.reload().await;
    assert!(told.contains("INFO"), "{told}");
    assert_eq!(server.publish(&key, "2").await, 401);
}

#[tokio::test]
async fn a_file_that_is_wrong_changes_nothing_and_says_why() {
    let (key, record) = api_key("one", "subscribe=a.>;publish=a.>");
    let mut server = Server::start("max-patterns = 5", &record).await;
    let mut stream = server.stream(&key).await;
    let path = server.folder.path().join("tidings.toml");
    for (config, keys, expected) in [
        (
            "max-patterns = 6\nretry = 1",
            "",
            format!("{}:5: retry = 1: it is a whole number", path.display()),
        ),
        (
            "max-patterns = 6\nretry = = 1",
            "",
            format!("{}:5: ", path.display()),
        ),
        ("max-patterns = 6", "x:y:z", "keys: in line 1: ".to_owned()),
        (
            "max-patterns = 6\njwt-key = 'short'",
            &record,
            format!("--jwt-key: {}:5", path.display()),
        ),
        (
            "max-patterns = 6\nmax-batch-bytes = 999999999",
            &record,
            "--publish-bytes 134217728".to_owned(),
        ),
        (
            "max-patterns = 6\njwt-cookie = 'id'",
            &record,
            "--jwt-cookie is for tokens".to_owned(),
        ),
    ] {
        std::fs::write(server.keys_file(), keys).expect("a file");
        server.config(config);
        let told = server.reload().await;
        assert!(told.contains("ERROR") && told.contains(&expected), "{told}");
        assert_eq!(server.publish(&key, "1").await, 201);
        assert_eq!(stream.data(1).await, ["1"]);
        let six: Vec<String> = (0..6).map(|n| format!("feed=a.{n}")).collect();
        let request = Client::new()
            .get(server.url(&format!("/feeds?{}", six.join("&"))))
            .header("Authorization", bearer(&key));
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 400);
    }
    assert!(
        server
            .metric("tidings_config_reloads_total{outcome=\"refused\"} 6")
            .await
    );
}

#[tokio::test]
async fn what_is_logged_changes_and_what_waits_for_the_next_start_is_named() {
    let (_, record) = api_key("one", "admin");
    let mut server = Server::start("log = 'error'", &record).await;
    server.config("log = 'info'\nmax-patterns = 7\nmax-streams = 9\nshards = 1");
    let told = server.reload().await;
    assert!(told.contains("changed: max-patterns, log"), "{told}");
    let waiting = server.program.complaint().await;
    assert!(
        waiting.contains("WARN")
            && waiting.ends_with("from the next start on: shards, max-streams"),
        "{waiting}"
    );
    let told = server.reload().await;
    assert!(told.contains("no setting has changed"), "{told}");
    let file = |name| server.folder.path().join(name).display().to_string();
    let (config, keys) = (file("tidings.toml"), file("keys"));
    let expected = format!("files: {config} (--config), {keys} (--api-keys-file)");
    assert!(told.ends_with(&expected), "{told}");
    let waiting = server.program.complaint().await;
    assert!(waiting.ends_with(": shards, max-streams"), "{waiting}");
    let (_, record) = api_key("another", "admin");
    std::fs::write(server.keys_file(), record).expect("a file");
    let told = server.reload().await;
    let expected = format!(
        "no setting has changed; files: {config} (--config), {keys} (--api-keys-file, new)"
    );
    assert!(told.ends_with(&expected), "{told}");
}

/// Tokens of the old secret are taken until it goes, and those of the new one from then on that it is named.
#[tokio::test]
async fn the_key_of_tokens_is_rotated_without_a_moment_in_which_either_is_refused() {
    let secrets = ["old", "new"].map(|name| name.repeat(11));
    let (_, record) = api_key("one", "admin");
    let mut server = Server::start("log = 'info'", &record).await;
    let paths = ["old", "new"].map(|name| server.folder.path().join(name));
    for (path, secret) in paths.iter().zip(&secrets) {
        std::fs::write(path, secret).expect("a file");
    }
    let grant = format!("grant-publish = 'a.>'\njwt-audience = '{AUDIENCE}'");
    let tokens = secrets
        .each_ref()
        .map(|secret| signed(&json!({}), secret, Algorithm::HS256));
    for (files, taken) in [
        (&paths[..1], [201, 401]),
        (&paths[..], [201, 201]),
        (&paths[1..], [401, 201]),
    ] {
        server.config(&format!("{grant}\njwt-key-file = {files:?}"));
        let told = server.reload().await;
        assert!(
            told.contains("changed: ") && told.contains("jwt-key-file"),
            "{told}"
        );
        for (token, status) in tokens.iter().zip(taken) {
            assert_eq!(server.publish(token, "x").await, status, "{files:?}");
        }
    }
}

#[tokio::test]
async fn an_init_system_is_told_when_it_is_ready_reads_its_settings_and_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let variables = [("NOTIFY_SOCKET", path.to_str().expect("a path"))];
    let program = Program::start_with(&["--listen", "127.0.0.1:0"], &variables);
    let told = async || {
        let mut bytes = [0; 256];
        let received = within("a message", socket.recv(&mut bytes)).await;
        let count = received.expect("a message");
        String::from_utf8(bytes[..count].to_vec()).expect("text")
    };
    assert_eq!(told().await, "READY=1\n");
    program.signal("HUP").await;
    let reloading = told().await;
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(told().await, "READY=1\n");
    program.signal("TERM").await;
    assert_eq!(told().await, "STOPPING=1\n");
    assert_eq!(program.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_log_that_can_not_be_written_to_stops_nothing() {
    let script = "exec \"$0\" --listen 127.0.0.1:0 2> /dev/full";
    let mut server = Program::other("/bin/sh", &["-c", script, env!("CARGO_BIN_EXE_tidings")]);
    let address = server.address().await;
    server.signal("HUP").await;
    let is_read = async || {
        let answer = reqwest::get(format!("http://{address}/metrics")).await;
        let text = answer.expect("an answer").text().await.expect("text");
        text.contains("tidings_config_reloads_total{outcome=\"applied\"} 1")
    };
    within("the settings", async { while !is_read().await {} }).await;
    server.signal("TERM").await;
    let ended = server.end().await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
}

/// Rates that nobody has used up by the next line, and rates that everybody has.
#[tokio::test]
async fn what_one_client_may_have_and_do_changes() {
    const AUTH: [&str; 4] = ["--jwt-key", SECRET, "--jwt-audience", AUDIENCE];
    let little = [
        "--publish-rate=1",
        "--publish-burst=1",
        "--max-connections-per-subject=1",
    ];
    let much = [
        "--publish-rate=1000000",
        "--publish-burst=1000000",
        "--max-connections-per-subject=9",
    ];
    let with = |limits: &[&'static str]| [&AUTH[..], limits].concat();
    let replica = Replica::start(&with(&little)).await;
    let shown = bearer(&token(&json!({"tidings": below_a()})));
    let publish = async || {
        let headers = [("Authorization", shown.as_str())];
        post(&replica, "/feeds/a.b", &headers, "x").await.status
    };
    let poll = async || {
        let headers = [
            ("Authorization", shown.as_str()),
            ("Accept", "application/json"),
        ];
        get(&replica, "/feeds/a.b", &headers).await.status
    };
    let request = Client::new().get(replica.url("/feeds/a.b"));
    let stream = Stream::begin(request.header("Authorization", &shown)).await;
    while publish().await != 429 {}
    assert_eq!(poll().await, 429);
    replica
        .reload()
        .apply(&settings(&with(&much)))
        .expect("it is applied");
    for _ in 0..20 {
        assert_eq!((publish().await, poll().await), (201, 200));
    }
    replica
        .reload()
        .apply(&settings(&with(&little)))
        .expect("it is applied");
    while publish().await != 429 {}
    assert_eq!(poll().await, 429);
    drop(stream);
}

const OTHER: &str = "fedcba9876543210fedcba9876543210";

#[tokio::test]
async fn another_key_of_tokens_counts_for_requests_and_for_those_who_renew() {
    let of = |key| settings(&["--jwt-key", key, "--jwt-audience", AUDIENCE]);
    let replica = Replica::start(&["--jwt-key", SECRET, "--jwt-audience", AUDIENCE]).await;
    let claims = json!({"tidings": below_a()});
    let (before, after) = (token(&claims), signed(&claims, OTHER, Algorithm::HS256));
    let mut socket = Socket::open(&replica, &[("Authorization", &bearer(&before))])
        .await
        .expect("a WebSocket");
    replica.reload().apply(&of(OTHER)).expect("it is applied");
    for (shown, expected) in [(&before, 401), (&after, 200)] {
        let headers = [
            ("Authorization", bearer(shown)),
            ("Accept", "application/json".to_owned()),
        ];
        let headers = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let answer = get(&replica, "/feeds/a.b", &headers).await;
        assert_eq!(answer.status, expected, "{answer:?}");
    }
    let auth = |token| json!({"op": "auth", "ref": 1, "token": token});
    assert_eq!(socket.refusal(auth(&before)).await.0, 401);
    assert_eq!(socket.result(auth(&after)).await["subject"], "ann");
}

#[tokio::test]
async fn what_everyone_may_do_and_whose_pages_may_changes_for_the_next_request() {
    let replica = Replica::start(&["--anonymous-subscribe", "a.>"]).await;
    let headers = [
        ("Accept", "application/json"),
        ("Origin", "https://app.example"),
    ];
    let (mut open, _) = Stream::open(&replica, "/feeds/a.b").await;
    let next = ["--anonymous-subscribe", "b.>", "--anonymous-publish", "a.>"];
    let next = [&next[..], &["--allow-origin", "https://other.example"]].concat();
    replica
        .reload()
        .apply(&settings(&next))
        .expect("it is applied");
    assert_eq!(get(&replica, "/feeds/a.b", &headers).await.status, 403);
    let answer = get(&replica, "/feeds/b.c", &headers).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    replica.publish("a.b", "1").await;
    assert_eq!(open.data(1).await, ["1"]);
}

#[tokio::test]
async fn what_guards_a_replica_is_not_taken_away_while_it_runs() {
    let everyone = ["--anonymous-subscribe", "a"];
    let key = ["--jwt-key", "a secret of at least thirty-two bytes"];
    for (guard, others) in [(&key, &[][..]), (&key, &everyone), (&everyone, &[])] {
        let replica = Replica::start(guard).await;
        let error = replica.reload().apply(&settings(others));
        let error = error.expect_err("refused").to_string();
        assert!(error.contains("take all authentication away"), "{error}");
        assert_ne!(get(&replica, "/admin/status", &[]).await.status, 200);
    }
}

#[tokio::test]
async fn a_replica_that_others_reach_is_not_left_without_authentication() {
    let replica = Replica::start(&["--listen", "0.0.0.0:0", "--anonymous-subscribe", "a"]).await;
    let error = replica.reload().apply(&settings(&[])).expect_err("refused");
    assert!(error.to_string().contains("refusing to listen"), "{error}");
    let headers = [("Accept", "application/json")];
    assert_eq!(get(&replica, "/feeds/a", &headers).await.status, 200);
}
