//! Secrets are in no log, no answer and no metric.

use super::{AUDIENCE, SECRET, api_key, bearer, below_a, right, signed, token};
use crate::nats_server::{NatsServer, Version};
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
    fn start(log: File, arguments: &[&str], variables: &[(&str, &str)]) -> (Self, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--log",
                "trace,tungstenite::protocol=trace",
            ])
            .args(arguments)
            .env_clear()
            .envs(variables.iter().copied())
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

impl Talkative {
    /// Has it read its settings again.
    fn hang_up(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", "HUP", &id]).status();
        assert!(sent.expect("kill").success());
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
    let arguments = [
        "--jwt-audience",
        AUDIENCE,
        "--jwt-cookie",
        "id",
        "--jwt-query",
    ];
    let variables = [
        ("TIDINGS_JWT_KEY", SECRET),
        ("TIDINGS_API_KEY", record.as_str()),
    ];
    let log = File::create(&path).expect("a file");
    let (program, url) = Talkative::start(log, &arguments, &variables);
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

const PASSWORD: &str = "hunter2hunter2";

/// A way to give a password or a token to a server.
struct Login {
    settings: String,
    variable: Option<(&'static str, String)>,
    is_right: bool,
}

/// All ways, for the NATS server at `url` and a file with the password.
fn logins(url: &str, file: &str) -> Vec<Login> {
    let embedded = url.replace("://", &format!("://alice:{PASSWORD}@"));
    let right = |settings: &str, variable| Login {
        settings: settings.to_owned(),
        variable,
        is_right: true,
    };
    let user = format!("nats = '{url}'\nnats-user = 'alice'\n");
    let in_settings = format!("{user}nats-password = '{PASSWORD}'");
    let in_file = format!("{user}nats-password-file = '{file}'");
    let variable = ("TIDINGS_NATS_PASSWORD", PASSWORD.to_owned());
    vec![
        right(&in_settings, None),
        right(&in_file, None),
        right(&user, Some(variable)),
        right("", Some(("TIDINGS_NATS", embedded))),
        Login {
            settings: format!("nats = '{url}'\nnats-token = '{PASSWORD}'"),
            variable: None,
            is_right: false,
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_nats_is_logged_or_told_wherever_it_was_given() {
    let login = format!("authorization {{ user: alice, password: {PASSWORD} }}");
    let config = format!("jetstream {{ store_dir: $STORE }}\n{login}");
    let nats = NatsServer::with(Version::V2_15, &config);
    let folder = tempfile::tempdir().expect("a folder");
    let [log, secret, settings] =
        ["log", "secret", "tidings.toml"].map(|name| folder.path().join(name));
    std::fs::write(&secret, format!("{PASSWORD}\n")).expect("a file");
    for login in logins(&nats.url(), secret.to_str().expect("a path")) {
        let right = format!("nats-max-bytes = 100000000\n{}", login.settings);
        let wrong = format!("{right}\nnats-token = '{PASSWORD}' {PASSWORD}");
        std::fs::write(&settings, &right).expect("a file");
        let path = settings.to_str().expect("a path");
        let arguments = ["--nats-timeout", "1", "--config", path];
        let variable = login.variable.iter();
        let variables: Vec<_> = variable
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let file = File::create(&log).expect("a file");
        let (program, url) = Talkative::start(file, &arguments, &variables);
        let client = Client::new();
        let says = async |what: &str| {
            let said = || std::fs::read_to_string(&log).expect("a log").contains(what);
            within(what, async {
                while !said() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        };
        let connected = match login.is_right {
            true => "following the log",
            false => "refused the login",
        };
        says(connected).await;
        let mut told = String::new();
        for (text, read) in [
            (&right, "no setting has changed"),
            (&wrong, "can't be used"),
        ] {
            std::fs::write(&settings, text).expect("a file");
            program.hang_up();
            says(read).await;
        }
        for path in ["/metrics", "/readyz?strict=1", "/explain?feed=a", "/"] {
            told += &text(client.get(format!("{url}{path}"))).await;
        }
        told += &text(client.post(format!("{url}/feeds/a")).body("x")).await;
        drop(program);
        let log = std::fs::read_to_string(&log).expect("a log");
        assert!(log.contains("TRACE"), "it does not log");
        for (what, text) in [("log", &log), ("answers", &told)] {
            let found = text.lines().find(|line| line.contains(PASSWORD));
            assert_eq!(found, None, "in the {what}");
        }
    }
}
