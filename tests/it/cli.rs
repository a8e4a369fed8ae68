//! What the command line promises to shells and scripts.

mod health;
mod publish;
mod scripted;
mod tail;
mod version;

use crate::program::Program;
use crate::replica::Replica;
use std::net::TcpListener;

/// The address of a server that is not there.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("its address"))
}

#[tokio::test]
async fn a_wrong_command_line_is_2_and_says_what_would_be_right() {
    for (arguments, hint) in [
        (&["publish", "a..b", "x"][..], "empty token"),
        (&["publish", "a.*", "x"], "`*`"),
        (&["publish", "a", "x", "--type", "hub:gap"], "the hub's own"),
        (&["publish", "a", "x", "--key", "a\nb"], "CR, LF or NUL"),
        (&["publish", "a", "x", "--url", "localhost:8080"], "http://"),
        (&["tail"], "PATTERN"),
        (&["tail", "a.>.b"], "last token"),
        (&["tail", "a", "--after", "yesterday"], "`start` or `now`"),
        (&["tail", "a", "--after", "now", "--last", "3"], "--last"),
        (&["tail", "a", "--last", "1001"], "1000"),
        (&["tail", "a", "--count", "0"], "--count"),
        (&["--retry", "1"], "--retry"),
        (&["--max-event-bytes", "0"], "number of bytes, 1 or more"),
        (&["--max-batch-bytes", "0"], "number of bytes, 1 or more"),
        (&["--max-patterns", "0"], "number from 1 to"),
        (&["--max-connections", "0"], "number from 1 to"),
        (&["--max-publishes", "99999999999"], "from 0 to 4294967295"),
        (&["--body-timeout", "0"], "of seconds from 1 to 3600"),
        (&["--memory-keys", "0"], "whole number, 1 or more"),
        (&["--publish-rate", "0"], "number from 1 to"),
        (&["--jwks-url", "htps://x"], "it begins with https://"),
        (&["--grant-claim", "role=x:foo=a"], "`foo=a` is no"),
        (
            &["--nats=h", "--nats-user=a", "--nats-token=b"],
            "cannot be used with",
        ),
        (&["--log", "info", "publish", "a"], "cannot be used"),
        (&["--log", "verbose"], "`verbose` is no level"),
        (&["--log", "info,tidings"], "info,tidings=debug"),
        (&["--log", "tidings=loud"], "info,tidings=debug"),
        (&["--listen", "8080"], "as in 127.0.0.1:8080"),
        (&["--listen", ":8080"], "as in 127.0.0.1:8080"),
        (&["--nats", "http://h"], "`nats://host:4222`"),
        (&["--nats", "ws://h"], "`nats://` or `tls://`"),
        (&["--nats="], "it is empty"),
        (&["--nats-stream", "S"], "--nats-stream without --nats"),
        (&["serve", "--nats-tls"], "--nats-tls without --nats"),
        (&["tail", "orders."], "did the shell take a `>`?"),
        (&["--anonymous-subscribe", "orders."], "'orders.>'"),
        (&["publish", "a", "x", "--url", "127.0.0.1:1"], "http://"),
        (&["bench", "--payload", "32"], "of bytes, 33 or more"),
    ] {
        let ended = Program::run(arguments, b"").await;
        assert_eq!(ended.code(), Some(2), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(hint), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.out, "");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure_with_its_address() {
    let url = nobody();
    for arguments in [["publish", "a", "x"], ["tail", "a", "--json"]] {
        let arguments = [&arguments[..], &["--url", &url]].concat();
        let ended = Program::run(&arguments, b"").await;
        assert_eq!(ended.code(), Some(1));
        assert!(ended.err.contains(&url), "{}", ended.err);
        assert!(ended.err.contains("Connection refused"), "{}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    }
}

#[tokio::test]
async fn variables_count_as_options_do() {
    let stream = [("TIDINGS_NATS_STREAM", "S"), ("TIDINGS_NATS_DOMAIN", "d")];
    let ended = Program::start_with(&[], &stream).end().await;
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    let expected = "TIDINGS_NATS_DOMAIN, TIDINGS_NATS_STREAM without --nats";
    assert!(ended.err.contains(expected), "{}", ended.err);
    let ended = Program::start_with(&["publish", "--help"], &stream);
    assert_eq!(ended.end().await.code(), Some(0));
    let ended = Program::start_with(&[], &[("TIDINGS_NATS", "")]);
    let ended = ended.end().await;
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    assert!(ended.err.contains("it is empty"), "{}", ended.err);
}

#[tokio::test]
async fn https_to_a_server_without_tls_says_so() {
    let replica = Replica::start(&[]).await;
    let url = replica.url("").replace("http://", "https://");
    let ended = Program::run(&["publish", "a", "x", "--url", &url], b"").await;
    assert_eq!(ended.code(), Some(1));
    assert!(ended.err.contains("begins with http://"), "{}", ended.err);
}

#[tokio::test]
async fn a_token_holds_as_long_as_is_said_and_one_that_is_of_no_use_is_told() {
    let key = ["token", "--jwt-key", "0123456789abcdef0123456789abcdef"];
    let run = async |more: &[&str]| Program::run(&[&key[..], more].concat(), b"").await;
    for time in ["600", "600s", "10m", "2h", "1d"] {
        let ended = run(&["--sub", "ann", "--ttl", time]).await;
        assert_eq!((ended.code(), ended.err.as_str()), (Some(0), ""), "{time}");
    }
    for time in ["0.5s", "1y", "36526d", "0"] {
        let ended = run(&["--sub", "ann", "--ttl", time]).await;
        assert_eq!(ended.code(), Some(2), "{time}: {ended:?}");
    }
    let ended = run(&[]).await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(ended.out.lines().count(), 1, "{ended:?}");
    assert!(
        ended.err.contains("has no subject and grants nothing"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn what_is_said_first_tells_for_whom_it_listens() {
    let secret = ["--jwt-key", "0123456789abcdef0123456789abcdef"];
    let open = ["--anonymous-subscribe", "a"];
    let tokens = ", for those who show a token or an API key";
    let patterns = "within the --anonymous-… patterns";
    for (arguments, expected) in [
        (vec![], ", for this machine alone".to_owned()),
        (secret.to_vec(), tokens.to_owned()),
        (open.to_vec(), format!(", for everyone, {patterns}")),
        (
            [secret, open].concat(),
            format!("{tokens}; for everyone else {patterns}"),
        ),
    ] {
        let mut server = Program::start(&[&["--listen=127.0.0.1:0"][..], &arguments].concat());
        let mut line = server.line().await;
        while !line.starts_with("listening: ") {
            line = server.line().await;
        }
        assert!(line.ends_with(&expected), "{line}");
    }
}

#[tokio::test]
async fn the_help_of_each_command_has_examples() {
    for arguments in [
        &["--help"][..],
        &["publish", "--help"],
        &["tail", "-h"],
        &["bench", "-h"],
        &["verify", "-h"],
        &["doctor", "-h"],
    ] {
        let ended = Program::run(arguments, b"").await;
        assert_eq!(ended.code(), Some(0));
        assert!(ended.out.contains("\nExamples:\n"), "{}", ended.out);
    }
}

#[tokio::test]
async fn tail_without_feeds_says_how_it_is_used() {
    let ended = Program::run(&["tail"], b"").await;
    assert_eq!((ended.code(), ended.out.as_str()), (Some(2), ""));
    assert!(ended.err.contains("\nExamples:\n"), "{}", ended.err);
}
