//! `tidings tail`.

use super::scripted::Scripted;
use crate::program::{Ended, Program};
use crate::replica::{Replica, within};
use serde_json::{Value, json};

fn tail(url: &str, arguments: &[&str]) -> Program {
    Program::start(&[&["tail", "--url", url], arguments].concat())
}

async fn tail_to_the_end(replica: &Replica, arguments: &[&str]) -> Ended {
    tail(&replica.url(""), arguments).end().await
}

#[tokio::test]
async fn plain_output_is_one_event_a_line_with_nothing_that_moves_the_cursor() {
    let replica = Replica::start(&[]).await;
    let mut ids = Vec::new();
    for data in [r#"{"n": 1}"#, "two\nlines\t\u{1b}[2J", "\"a\\u0007b\"", ""] {
        ids.push(replica.publish("a.b", data).await);
    }
    let ended = tail_to_the_end(&replica, &["a.*", "--after", "start", "--count", "4"]).await;
    assert_eq!((ended.code(), ended.err.as_str()), (Some(0), ""));
    let expected = [r#"{"n": 1}"#, r"two\nlines\t\u{1b}[2J", r"a\u{7}b", ""];
    let expected: Vec<String> = ids
        .iter()
        .zip(expected)
        .map(|(id, data)| format!("{id}\ta.b\tmessage\t{data}\n"))
        .collect();
    assert_eq!(ended.out, expected.concat());
}

#[tokio::test]
async fn json_output_is_one_envelope_a_line() {
    let replica = Replica::start(&[]).await;
    let first = replica.publish("a", "[1,\n2]").await;
    let second = replica.publish("b", vec![0xff, 0x00]).await;
    let ended = tail_to_the_end(
        &replica,
        &["a", "b", "--last", "9", "--json", "--count", "2"],
    )
    .await;
    assert_eq!(ended.code(), Some(0));
    let lines: Vec<Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["id"], first.to_string());
    assert_eq!(lines[0]["data"], json!([1, 2]));
    assert_eq!(lines[1]["id"], second.to_string());
    assert_eq!(
        (&lines[1]["data"], &lines[1]["encoding"]),
        (&json!("/wA="), &json!("base64"))
    );
}

#[tokio::test]
async fn it_follows_what_comes() {
    let replica = Replica::start(&[]).await;
    replica.publish("a", "before").await;
    let mut tail = tail(&replica.url(""), &[">", "--last", "1"]);
    assert!(tail.line().await.ends_with("\ta\tmessage\tbefore"));
    for n in 0..5 {
        replica.publish("x.y", n.to_string()).await;
        assert!(tail.line().await.ends_with(&format!("\tx.y\tmessage\t{n}")));
    }
}

fn event(id: &str, data: u32) -> String {
    format!(
        "id: {id}\ndata: {{\"id\":\"{id}\",\"feed\":\"a\",\"type\":\"message\",\"data\":{data}}}\n\n"
    )
}

#[tokio::test]
async fn cut_off_it_goes_on_after_the_last_block_that_it_has_had_whole() {
    let server = Scripted::start().await;
    let mut tail = tail(&server.url(), &["a.>", "--after", "start"]);

    let opening = "retry: 20\nevent: hub:position\nid: 0-0\ndata: {}\n\n";
    let head = server.stream(opening).await;
    assert!(
        head.starts_with("GET /feeds?feed=a.%3E&envelope=1&after=start HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(!head.contains("last-event-id"), "{head}");
    assert!(head.contains("\r\naccept: text/event-stream\r\n"), "{head}");
    assert!(tail.complaint().await.contains("; coming back in 20 ms"));

    let whole = event("1-aaaaaa", 1);
    let cut = event("2-bbbbbb", 2);
    let head = server.stream(&format!("{whole}{}", cut.trim_end())).await;
    assert!(head.contains("\r\nlast-event-id: 0-0\r\n"), "{head}");
    assert_eq!(tail.line().await, "1-aaaaaa\ta\tmessage\t1");
    assert!(tail.complaint().await.contains("the connection was cut"));

    let position = "event: hub:position\nid: 3-cccccc\ndata: {}\n\n:\n";
    let head = server.stream(&format!("{cut}{position}")).await;
    assert!(head.contains("\r\nlast-event-id: 1-aaaaaa\r\n"), "{head}");
    assert_eq!(tail.line().await, "2-bbbbbb\ta\tmessage\t2");

    let closing = "retry: 21\nevent: hub:closing\nid: 4-dddddd\ndata: {\"reason\":\"drain\"}\n\n";
    let head = server.stream(closing).await;
    assert!(head.contains("\r\nlast-event-id: 3-cccccc\r\n"), "{head}");
    assert!(tail.complaint().await.contains("the connection was cut"));
    assert!(
        tail.complaint()
            .await
            .contains("(drain); coming back in 21 ms")
    );

    // A failure on the way is no reason to give up once it was there.
    server
        .answer("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert!(
        tail.complaint()
            .await
            .contains("502 Bad Gateway; coming back")
    );
    let head = server.stream(&event("5-eeeeee", 5)).await;
    assert!(head.contains("\r\nlast-event-id: 4-dddddd\r\n"), "{head}");
    assert_eq!(tail.line().await, "5-eeeeee\ta\tmessage\t5");

    // A refusal is.
    let problem = r#"{"detail":"not yours"}"#;
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{problem}",
        problem.len()
    );
    server.answer(&answer).await;
    let ended = tail.end().await;
    assert_eq!(ended.code(), Some(1));
    assert!(ended.err.ends_with("tidings: 403 Forbidden: not yours\n"));
}

#[tokio::test]
async fn a_gap_is_told_on_standard_error_and_in_json() {
    let replica = Replica::start(&["--window-events", "2", "--memory-events", "4"]).await;
    let mut ids = Vec::new();
    for n in 1..=9 {
        ids.push(replica.publish("a", n.to_string()).await.to_string());
    }
    let arguments = ["a", "--after", &ids[0], "--json", "--count", "4"];
    let ended = tail_to_the_end(&replica, &arguments).await;
    assert_eq!(ended.code(), Some(0));
    let said = format!(
        "tidings: gap: what came after {} and before {} is not to be had any more (expired)\n",
        ids[0], ids[5]
    );
    assert_eq!(ended.err, said);
    let lines: Vec<Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0]["type"], "hub:gap");
    assert!(lines[0]["id"].is_string());
    assert_eq!(
        lines[0]["data"],
        json!({"after": ids[0], "before": ids[5], "reason": "expired"})
    );
    assert_eq!(lines[1]["id"], json!(ids[5]));
}

#[tokio::test]
async fn a_server_with_another_log_is_a_reset_and_all_that_it_has() {
    let first = Replica::start(&[]).await;
    first.publish("a", "old").await;
    let address = first.address.to_string();
    let mut tail = tail(&first.url(""), &["a", "--after", "start", "--json"]);
    assert!(tail.line().await.contains("\"old\""));
    first.stop().await;
    assert!(tail.complaint().await.contains("(drain); coming back"));
    let second = Replica::start(&["--listen", &address]).await;
    second.publish("a", "new").await;
    let reset: Value = serde_json::from_str(&tail.line().await).unwrap();
    assert_eq!(
        (&reset["type"], &reset["data"]),
        (&json!("hub:reset"), &json!({}))
    );
    assert!(tail.line().await.contains("\"new\""));
    let ended = {
        tail.signal("TERM").await;
        tail.end().await
    };
    assert_eq!(ended.code(), Some(143));
    assert!(ended.err.contains("tidings: reset: "), "{}", ended.err);
}

#[tokio::test]
async fn a_server_that_is_full_is_waited_for() {
    let replica = Replica::start(&["--max-streams", "0"]).await;
    let mut tail = tail(&replica.url(""), &["a"]);
    for _ in 0..2 {
        let said = tail.complaint().await;
        assert!(said.contains("(overload); coming back in "), "{said}");
    }
}

#[tokio::test]
async fn what_is_not_allowed_ends_it_with_the_reason() {
    let replica = Replica::start(&["--anonymous-subscribe", "public.>"]).await;
    let ended = tail_to_the_end(&replica, &["secret"]).await;
    assert_eq!((ended.code(), ended.out.as_str()), (Some(1), ""));
    let expected = "tidings: 403 Forbidden: reading `secret` is not allowed";
    assert!(ended.err.starts_with(expected), "{}", ended.err);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
}

#[tokio::test]
async fn what_is_no_event_stream_ends_it() {
    let server = Scripted::start().await;
    let tail = tail(&server.url(), &["a"]);
    server
        .answer("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    let ended = tail.end().await;
    assert_eq!(ended.code(), Some(1));
    assert!(ended.err.contains("no event stream"), "{}", ended.err);
}

#[tokio::test]
async fn it_ends_quietly_once_nobody_reads_it() {
    let replica = Replica::start(&[]).await;
    let mut tail = tail(&replica.url(""), &["a", "--after", "start"]);
    tail.stop_reading();
    within("tail to end", async {
        while !tail.has_ended() {
            replica.publish("a", "x").await;
        }
    })
    .await;
    let ended = tail.end().await;
    assert_eq!((ended.code(), ended.err.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn sigint_ends_it_with_130() {
    let replica = Replica::start(&[]).await;
    replica.publish("a", "x").await;
    let mut tail = tail(&replica.url(""), &["a", "--last", "1"]);
    tail.line().await;
    tail.signal("INT").await;
    let ended = tail.end().await;
    assert_eq!((ended.code(), ended.err.as_str()), (Some(130), ""));
}
