//! `tidings publish`.

use super::scripted::Scripted;
use crate::program::{Ended, Program};
use crate::replica::Replica;
use crate::sse::Stream;
use serde_json::{Value, json};

async fn publish(replica: &Replica, arguments: &[&str], input: &[u8]) -> Ended {
    let url = replica.url("");
    let arguments = [&["publish", "--url", &url], arguments].concat();
    Program::run(&arguments, input).await
}

#[tokio::test]
async fn the_id_is_all_that_it_prints() {
    let replica = Replica::start(&[]).await;
    let ended = publish(&replica, &["orders.eu", r#"{"n":1}"#], b"").await;
    assert_eq!((ended.code(), ended.err.as_str()), (Some(0), ""));
    let (mut stream, _) = Stream::open(&replica, "/feeds/orders.eu?after=start").await;
    let event = stream.event().await;
    assert_eq!(format!("{}\n", event.id), ended.out);
    assert_eq!(event.data, r#"{"n":1}"#);
}

#[tokio::test]
async fn without_data_or_with_a_dash_standard_input_is_the_data() {
    let replica = Replica::start(&[]).await;
    let input = "line one\nline two\n".as_bytes();
    assert_eq!(publish(&replica, &["a"], input).await.code(), Some(0));
    assert_eq!(publish(&replica, &["a", "-"], input).await.code(), Some(0));
    assert_eq!(publish(&replica, &["a"], b"").await.code(), Some(0));
    assert_eq!(publish(&replica, &["a", ""], input).await.code(), Some(0));
    assert_eq!(publish(&replica, &["a", "-5"], input).await.code(), Some(0));
    let (mut stream, _) = Stream::open(&replica, "/feeds/a?after=start").await;
    let expected = ["line one\nline two\n", "line one\nline two\n", "", "", "-5"];
    assert_eq!(stream.data(5).await, expected);
}

#[tokio::test]
async fn its_options_reach_the_readers() {
    let replica = Replica::start(&[]).await;
    let arguments = [
        "a",
        "1",
        "--type",
        "created",
        "--key",
        "ключ",
        "--content-type",
        "text/plain",
    ];
    assert_eq!(publish(&replica, &arguments, b"").await.code(), Some(0));
    let (mut stream, _) = Stream::open(&replica, "/feeds/a?after=start&envelope=1").await;
    let envelope: Value = serde_json::from_str(&stream.event().await.data).unwrap();
    let fields = ["type", "key", "data"].map(|name| envelope[name].clone());
    assert_eq!(fields, [json!("created"), json!("ключ"), json!("1")]);
}

#[tokio::test]
async fn a_repeat_under_the_same_key_has_the_first_id() {
    let replica = Replica::start(&[]).await;
    let key = ["--idempotency-key", "k"];
    let first = publish(&replica, &[&["a", "1"][..], &key].concat(), b"").await;
    let again = publish(&replica, &[&["a", "2"][..], &key].concat(), b"").await;
    assert_eq!((first.code(), again.code()), (Some(0), Some(0)));
    assert_eq!(first.out, again.out);
    let other = publish(&replica, &[&["b", "3"][..], &key].concat(), b"").await;
    assert_ne!(first.out, other.out);
}

#[tokio::test]
async fn its_options_may_be_variables() {
    let replica = Replica::start(&[]).await;
    let url = replica.url("");
    let variables = [("TIDINGS_URL", url.as_str()), ("TIDINGS_TYPE", "created")];
    let program = Program::start_with(&["publish", "a", "x"], &variables);
    assert_eq!(program.end().await.code(), Some(0));
    let (mut stream, _) = Stream::open(&replica, "/feeds/a?after=start").await;
    assert_eq!(stream.event().await.kind, "created");
}

#[tokio::test]
async fn what_the_server_refuses_is_1_and_one_line_that_says_why() {
    let replica =
        Replica::start(&["--anonymous-publish", "public.>", "--max-event-bytes", "3"]).await;
    for (feed, data, expected) in [
        (
            "secret",
            "x",
            "tidings: 403 Forbidden: publishing to `secret` is not allowed",
        ),
        ("public.a", "long", "tidings: 413 Payload Too Large: "),
    ] {
        let ended = publish(&replica, &[feed, data], b"").await;
        assert_eq!((ended.code(), ended.out.as_str()), (Some(1), ""));
        assert!(ended.err.starts_with(expected), "{}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    }
}

#[tokio::test]
async fn where_nothing_was_stored_it_says_that_it_may_be_repeated() {
    let replica = Replica::start(&["--max-publishes", "0"]).await;
    let ended = publish(&replica, &["a", "x"], b"").await;
    assert_eq!(ended.code(), Some(1));
    assert!(
        ended.err.contains("503 Service Unavailable"),
        "{}",
        ended.err
    );
    assert!(
        ended.err.ends_with("; it may be repeated\n"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn where_the_outcome_is_unknown_it_says_how_to_repeat_it() {
    let server = Scripted::start().await;
    let url = server.url();
    let problem = "{\"detail\":\"no answer\\u001b[2J\\ncame\"}";
    let timeout = format!(
        "HTTP/1.1 504 Gateway Timeout\r\nContent-Length: {}\r\n\r\n{problem}",
        problem.len()
    );
    for (answer, expected) in [
        (
            timeout.as_str(),
            "504 Gateway Timeout: no answer\\u{1b}[2J\\ncame; the event may be stored",
        ),
        ("", "no answer came"),
    ] {
        let arguments = ["publish", "a", "x", "--url", &url, "--idempotency-key", "k"];
        let (ended, head) = tokio::join!(Program::run(&arguments, b""), server.answer(answer));
        assert!(head.starts_with("POST /feeds/a HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nidempotency-key: k\r\n"), "{head}");
        assert_eq!(ended.code(), Some(1));
        assert!(ended.err.contains(expected), "{}", ended.err);
        assert!(
            ended
                .err
                .contains("repeated with the same --idempotency-key"),
            "{}",
            ended.err
        );
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    }
}
