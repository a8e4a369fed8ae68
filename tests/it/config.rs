//! Settings come from the command line, from variables and from a file, and say so.

use crate::call::get;
use crate::program::{Ended, Program};
use crate::replica::Replica;
use std::path::PathBuf;
use tempfile::TempDir;

/// A file of settings, and its path.
struct Settings {
    folder: TempDir,
    path: String,
}

impl Settings {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tidings.toml");
        std::fs::write(&path, text).expect("a file");
        let path = path.to_str().expect("a path").to_owned();
        Self { folder, path }
    }

    /// Another file beside it.
    fn beside(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// What `tidings config` prints with it.
    async fn config(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        let all = [&["config", "--config", &self.path], arguments].concat();
        Program::start_with(&all, variables).end().await
    }
}

/// What a line of `tidings config` says of a setting.
fn setting<'a>(ended: &'a Ended, name: &str) -> &'a str {
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let mut lines = ended.out.lines().filter_map(|line| line.split_once(' '));
    let (_, told) = lines.find(|(one, _)| *one == name).expect("a line");
    told.trim()
}

#[tokio::test]
async fn the_command_line_goes_before_variables_and_these_before_the_file() {
    let settings = Settings::new(
        "max-streams = 5\nretry = 30\nheartbeat = 40\nallow-origin = ['http://a', 'http://b']\n\
         anonymous-subscribe = 'a.>'\njwt-query = true\nnats-tls = true\nnats = 'nats://h'\n",
    );
    let variables = [
        ("TIDINGS_RETRY", "31"),
        ("TIDINGS_HEARTBEAT", "41"),
        ("TIDINGS_JWT_QUERY", "false"),
    ];
    let arguments = ["--heartbeat", "42", "--anonymous-subscribe", "b"];
    let ended = settings.config(&arguments, &variables).await;
    let file = &settings.path;
    for (name, expected) in [
        ("--max-streams", format!("5  ({file}:1)")),
        ("--retry", "31  (TIDINGS_RETRY)".to_owned()),
        ("--heartbeat", "42  (command line)".to_owned()),
        ("--allow-origin", format!("http://a, http://b  ({file}:4)")),
        ("--anonymous-subscribe", "b  (command line)".to_owned()),
        ("--jwt-query", "false  (TIDINGS_JWT_QUERY)".to_owned()),
        ("--nats-tls", format!("true  ({file}:7)")),
        ("--ping", "20  (default)".to_owned()),
        ("--jwt-cookie", "(not given)".to_owned()),
    ] {
        assert_eq!(setting(&ended, name), expected, "{name}");
    }
}

#[tokio::test]
async fn what_is_given_can_be_seen_without_the_defaults_and_help_is_no_setting() {
    let settings = Settings::new("max-streams = 5\n");
    let variables = [("TIDINGS_RETRY", "31")];
    let all = settings.config(&["--heartbeat", "42"], &variables).await;
    for name in ["--help ", "--version ", "--set "] {
        assert!(!all.out.contains(name), "{name}: {all:?}");
    }
    let set = settings
        .config(&["--set", "--heartbeat", "42"], &variables)
        .await;
    assert_eq!(set.code(), Some(0), "{set:?}");
    let names: Vec<&str> = set
        .out
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(
        names,
        ["--config", "--heartbeat", "--retry", "--max-streams"]
    );
    assert!(
        set.out.lines().all(|line| all.out.contains(line)),
        "{set:?}"
    );
}

#[tokio::test]
async fn the_file_may_be_named_by_a_variable() {
    let settings = Settings::new("retry = 30\n");
    let variables = [("TIDINGS_CONFIG", settings.path.as_str())];
    let ended = Program::start_with(&["config"], &variables).end().await;
    let expected = format!("30  ({}:1)", settings.path);
    assert_eq!(setting(&ended, "--retry"), expected);
    let ended = Program::start_with(&["publish", "--help"], &variables);
    assert_eq!(ended.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_wrong_setting_names_itself_its_place_and_what_would_be_right() {
    for (text, line, expected) in [
        (
            "\nretry = 'x'",
            2,
            "retry = 'x': it is a whole number of milliseconds",
        ),
        (
            "retry = 1",
            1,
            "retry = 1: it is a whole number of milliseconds from 10 to 3600000",
        ),
        ("max_streams = 1", 1, "is max-streams meant?"),
        ("listen = '8080'", 1, "as in 127.0.0.1:8080"),
        ("log = 'loud'", 1, "`loud` is no level"),
        ("retry = ", 1, ""),
    ] {
        let settings = Settings::new(text);
        // What is overridden is read all the same.
        for arguments in [&["--retry", "50"][..], &[]] {
            let ended = settings.config(arguments, &[]).await;
            assert_eq!(ended.code(), Some(2), "{text}: {ended:?}");
            let place = format!("error: {}:{line}: ", settings.path);
            assert!(ended.err.starts_with(&place), "{text}: {ended:?}");
            assert!(ended.err.contains(expected), "{text}: {ended:?}");
        }
    }
    for (name, expected) in [("none", "No such file"), (".", "directory")] {
        let path = tempfile::tempdir().expect("a folder").path().join(name);
        let path = path.to_str().expect("a path");
        let ended = Program::run(&["--config", path], b"").await;
        assert_eq!(ended.code(), Some(2), "{ended:?}");
        let named = format!("error: {path} can't be read");
        assert!(ended.err.starts_with(&named), "{ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
        assert!(
            ended.err.contains(expected) || name == ".",
            "{expected}: {ended:?}"
        );
    }
}

/// What is found only where the settings are used.
#[tokio::test]
async fn a_setting_that_can_not_be_used_names_its_place_too() {
    for (text, line, name) in [
        ("\nlisten = '0.0.0.0:0'", 2, "listen"),
        ("jwt-key = 'hunter2'", 1, "jwt-key"),
        ("api-key = 'hunter2:hunter2:publish=a'", 1, "api-key"),
        ("\n\nnats = 'nats://u:hunter2@h:99999'", 3, "nats"),
        (
            "jwks-url = 'http://u:hunter2@h/k'\njwt-issuer = 'a'\njwt-audience = 'b'",
            1,
            "jwks-url",
        ),
        ("\ntls-cert = 'none'", 2, "tls-cert"),
        ("tls-cert = '.'\ntls-key = '.'", 1, "tls-cert"),
        (
            "nats-user = 'u'\nnats = 'nats://h:1'\nnats-password-file = '/none'",
            3,
            "nats-password-file",
        ),
        ("publish-bytes = 1", 1, "publish-bytes"),
        ("\npage-bytes = 1", 2, "page-bytes"),
        ("websocket-bytes = 5", 1, "websocket-bytes"),
        (
            "data = '/proc/none'\ndata-max-bytes = 1",
            2,
            "data-max-bytes",
        ),
        ("admin-listen = '0.0.0.0:0'", 1, "admin-listen"),
    ] {
        let settings = Settings::new(text);
        let ended = Program::run(&["--config", &settings.path], b"").await;
        assert_eq!(ended.code(), Some(2), "{text}: {ended:?}");
        let place = format!("--{name}: {}:{line}", settings.path);
        assert!(ended.err.contains(&place), "{text}: {ended:?}");
        assert!(!ended.err.contains("hunter2"), "{text}: {ended:?}");
    }
    let variables = [("TIDINGS_NATS", "http://h")];
    let ended = Program::start_with(&[], &variables).end().await;
    assert!(ended.err.contains("(--nats: TIDINGS_NATS)"), "{ended:?}");
}

#[tokio::test]
async fn larger_events_take_no_more_settings_than_that_of_publishes() {
    let larger = ["--max-event-bytes=30000000"];
    let replica = Replica::start(&larger).await;
    let text = get(&replica, "/metrics", &[]).await.text;
    for line in [
        "tidings_page_max_bytes 180016384\n",
        "tidings_websocket_max_bytes 80016384\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn a_wrong_variable_is_named_and_a_secret_is_not_shown() {
    let variables = [("TIDINGS_RETRY", "1")];
    let ended = Program::start_with(&[], &variables).end().await;
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    let told = "--retry is given as TIDINGS_RETRY";
    assert!(ended.err.contains(told), "{ended:?}");
    let variables = [("TIDINGS_JWKS_URL", "//u:hunter2@h")];
    let ended = Program::start_with(&[], &variables).end().await;
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    assert!(ended.err.contains("TIDINGS_JWKS_URL"), "{ended:?}");
    assert!(!ended.err.contains("hunter2"), "{ended:?}");
}

/// One letter less, and a server would start without the authentication that it is told to have.
#[tokio::test]
async fn a_variable_that_is_no_setting_ends_every_command_with_2() {
    let variables = [("TIDINGS_JWT_KEYFILE", "/run/secrets/hunter2")];
    let right = "the variable TIDINGS_JWT_KEYFILE is no setting; is TIDINGS_JWT_KEY_FILE meant?";
    for arguments in [
        &["--listen=127.0.0.1:0"][..],
        &["serve", "--listen=127.0.0.1:0"],
        &["config"],
        &["doctor"],
        &["publish", "a", "x"],
        &["tail", "a"],
        &["health"],
        &["token", "--api-key=a", "--admin"],
    ] {
        let ended = Program::start_with(arguments, &variables).end().await;
        assert_eq!(ended.code(), Some(2), "{arguments:?}: {ended:?}");
        assert_eq!(ended.err, format!("error: {right}\n"), "{arguments:?}");
        assert_eq!(ended.out, "", "{arguments:?}");
    }
    let ended = Program::start_with(&["--help"], &variables).end().await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
}

/// What a pod is given beside services called `tidings` and `tidings-admin`, unless it declines.
#[tokio::test]
async fn variables_that_kubernetes_sets_for_a_service_stop_nothing() {
    let variables = [
        ("TIDINGS_SERVICE_HOST", "10.0.0.1"),
        ("TIDINGS_SERVICE_PORT", "8080"),
        ("TIDINGS_SERVICE_PORT_HTTP", "8080"),
        ("TIDINGS_PORT", "tcp://10.0.0.1:8080"),
        ("TIDINGS_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("TIDINGS_PORT_8080_TCP_PROTO", "tcp"),
        ("TIDINGS_PORT_8080_TCP_PORT", "8080"),
        ("TIDINGS_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("TIDINGS_ADMIN_SERVICE_HOST", "10.0.0.2"),
        ("TIDINGS_ADMIN_PORT_9090_TCP_ADDR", "10.0.0.2"),
    ];
    let mut server = Program::start_with(&["--listen=127.0.0.1:0"], &variables);
    server.address().await;
}

#[tokio::test]
async fn settings_of_the_file_go_together_with_others_or_contradict_them() {
    let settings = Settings::new("nats = 'nats://h'\nnats-password = 'hunter2'\n");
    let ended = settings.config(&["--nats-user", "u"], &[]).await;
    assert_eq!(setting(&ended, "--nats-user"), "u  (command line)");
    let expected = format!("…  ({}:2)", settings.path);
    assert_eq!(setting(&ended, "--nats-password"), expected);

    let ended = settings.config(&[], &[]).await;
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    assert!(ended.err.contains("--nats-user"), "{ended:?}");

    let both = ["--nats-user", "u", "--nats-password-file", "f"];
    let ended = settings.config(&both, &[]).await;
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    let place = format!("--nats-password is given in {}:2", settings.path);
    for expected in ["--nats-password-file", &place] {
        assert!(ended.err.contains(expected), "{expected}: {ended:?}");
    }
    assert!(!ended.err.contains("hunter2"), "{ended:?}");

    let settings = Settings::new("nats-stream = 'S'\n");
    let ended = settings.config(&[], &[]).await;
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    let expected = format!("nats-stream ({}:1) without --nats", settings.path);
    assert!(ended.err.contains(&expected), "{ended:?}");
}

#[tokio::test]
async fn a_server_does_as_its_file_says() {
    let settings = Settings::new("listen = '127.0.0.1:0'\nmax-patterns = 1\n");
    let mut server = Program::start(&["--config", &settings.path]);
    let address = server.address().await;
    let url = format!("http://{address}/feeds?feed=a&feed=b");
    let answer = reqwest::get(url).await.expect("an answer");
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn both_a_secret_and_its_file_are_refused_with_both_names() {
    for (secret, file, beside) in [
        ("nats-password", "nats-password-file", "nats-user"),
        ("nats-token", "nats-token-file", "nats-domain"),
    ] {
        let [secret, file, beside] = [secret, file, beside].map(|name| format!("--{name}"));
        let arguments = [
            "--nats", "nats://h", &beside, "u", &secret, "hunter2", &file, "f",
        ];
        let ended = Program::run(&arguments, b"").await;
        assert_eq!(ended.code(), Some(2), "{ended:?}");
        for name in [&secret, &file] {
            assert!(ended.err.contains(&format!("{name} <")), "{ended:?}");
        }
        let name = file[2..].replace('-', "_").to_ascii_uppercase();
        let variable = format!("TIDINGS_{name}");
        let arguments = &arguments[..6];
        let ended = Program::start_with(arguments, &[(&variable, "f")])
            .end()
            .await;
        assert_eq!(ended.code(), Some(2), "{ended:?}");
        assert!(ended.err.contains(&format!("{file} <")), "{ended:?}");
        assert!(!ended.err.contains("hunter2"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_file_of_a_secret_that_can_not_be_used_ends_the_program_with_2() {
    let settings = Settings::new("nats = 'nats://127.0.0.1:1'\n");
    let empty = settings.beside("empty", "\n");
    let none = settings.beside("none", "");
    std::fs::remove_file(&none).expect("it is removed");
    for (path, expected) in [(&empty, "is empty"), (&none, "No such file")] {
        let path = path.to_str().expect("a path");
        for arguments in [
            &["--nats-token-file", path][..],
            &["--nats-user", "u", "--nats-password-file", path],
            &["--nats-nkey", path],
            &["--jwt-key-file", path],
            &["--api-keys-file", path],
        ] {
            let all = [&["--config", &settings.path], arguments].concat();
            let ended = Program::run(&all, b"").await;
            assert_eq!(ended.code(), Some(2), "{arguments:?}: {ended:?}");
            let told = ended.err.contains(path) && ended.err.contains(expected);
            assert!(told, "{arguments:?}: {ended:?}");
        }
        let ended = Program::run(&["publish", "a", "x", "--token-file", path], b"").await;
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        assert!(ended.err.contains(expected), "{ended:?}");
    }
}
