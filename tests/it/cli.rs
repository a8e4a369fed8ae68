//! What the command line promises to shells and scripts.

mod publish;
mod scripted;
mod tail;

use crate::program::Program;
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
        (&["--max-event-bytes", "0"], "0 is not in 1.."),
        (&["--max-batch-bytes", "0"], "0 is not in 1.."),
        (&["--max-patterns", "0"], "0 is not in 1.."),
        (&["--max-connections", "0"], "0 is not in 1.."),
        (&["--max-publishes", "99999999999"], "0..=4294967295"),
        (&["--body-timeout", "0"], "0 is not in 1..=3600"),
        (&["--memory-keys", "0"], "0 is not in 1.."),
        (&["--log", "info", "publish", "a"], "cannot be used"),
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
async fn the_help_of_each_command_has_examples() {
    for arguments in [&["--help"][..], &["publish", "--help"], &["tail", "-h"]] {
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
