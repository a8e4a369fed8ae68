//! Secrets are in no log, no answer and no metric.

use super::{AUDIENCE, SECRET, api_key, bearer, below_a, right, signed, token};
use crate::replica::within;
use crate::websocket::Client as Socket;
use jsonwebtoken::Algorithm;
use reqwest::Client;
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The program, which logs all that it can to a file.
struct Talkative {
    child: Child,
    /// It ends where nobody hears what it says first.
    _out: BufReader<ChildStdout>,
}

impl Talkative {
    fn start(log: File, record: &str) -> (Self, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(["--listen", "127.0.0.1:0", "--log", "trace"])
            .args([
                "--jwt-audience",
                AUDIENCE,
                "--jwt-cookie",
                "id",
                "--jwt-query",
            ])
            .env_clear()
            .env("TIDINGS_JWT_KEY", SECRET)
            .env("TIDINGS_API_KEY", record)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        let url = loop {
            line.clear();
            out.read_line(&mut line).expect("text");
            if let Some(rest) = line.strip_prefix("listening: ") {
                break rest.split(',').next().expect("an address").to_owned();
            }
        };
        let program = Self { child, _out: out };
        (program, url)
    }
}

impl Drop for Talkative {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn no_secret_is_logged_or_told_or_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let (key, record) = api_key("billing", "subscribe=a.>;publish=a.>;admin");
    let hash = record.split(':').nth(1).expect("a hash").to_owned();
    let (program, url) = Talkative::start(File::create(&path).expect("a file"), &record);
    let wrong = signed(
        &json!({"tidings": below_a()}),
        "x".repeat(32).as_str(),
        Algorithm::HS256,
    );
    let odd = token(&json!({"tidings": {"subscribe": ["a..b"]}}));
    let shown = [right(), wrong, odd, key.clone(), format!("{key}x")];
    let mut told = String::new();
    for http2 in [false, true] {
        let client = match http2 {
            true => Client::builder().http2_prior_knowledge(),
            false => Client::builder(),
        };
        let client = client.build().expect("a client");
        for token in &shown {
            let get = |path: &str| {
                client
                    .get(format!("{url}{path}"))
                    .header("Accept", "application/json")
            };
            let posted = client.post(format!("{url}/feeds/a.b")).body("x");
            for request in [
                get("/feeds/a.b").header("Authorization", bearer(token)),
                get("/feeds/a.b").header("Cookie", format!("id={token}")),
                get(&format!("/feeds/a.b?access_token={token}")),
                get(&format!("/none?access_token={token}")),
                posted.header("Authorization", bearer(token)),
            ] {
                told += &text(request).await;
            }
        }
        for path in ["/metrics", "/admin/status"] {
            let asked = client.get(format!("{url}{path}"));
            told += &text(asked.header("Authorization", bearer(&key))).await;
        }
    }
    for token in &shown {
        let address = url.strip_prefix("http://").expect("a URL");
        let mut socket = Socket::to(address.parse().expect("an address"), &[])
            .await
            .expect("a WebSocket");
        let auth = json!({"op": "auth", "ref": 1, "token": token});
        told += &socket.ask(auth).await.to_string();
    }
    drop(program);
    assert!(
        told.contains("credentials_refused_total{reason=\"signature\"} "),
        "{told}"
    );
    let log = std::fs::read_to_string(&path).expect("a log");
    assert!(log.contains("TRACE"), "it does not log");
    let secrets = shown
        .iter()
        .map(|token| token.rsplit('.').next().expect("a part"));
    for secret in secrets.chain([SECRET, hash.as_str()]) {
        for (what, text) in [("log", &log), ("answers", &told)] {
            let found = text.lines().find(|line| line.contains(secret));
            assert_eq!(found, None, "in the {what}");
        }
    }
}

async fn text(request: reqwest::RequestBuilder) -> String {
    let answer = within("a head", request.send()).await.expect("an answer");
    within("a body", answer.text()).await.expect("a body")
}
