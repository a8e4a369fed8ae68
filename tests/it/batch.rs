//! `POST /feeds`: many events in one request, each with a result of its own.

use crate::call::{Answer, post, problem};
use crate::nats_server::{NatsServer, Version};
use crate::replica::Replica;
use crate::sse::Stream;
use serde_json::{Value, json};

const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");

async fn batch(replica: &Replica, lines: &str) -> Vec<Value> {
    let answer = post(replica, "/feeds", &[NDJSON], lines.to_owned()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    results(&answer)
}

fn results(answer: &Answer) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).expect("a result");
    answer.text.lines().map(parse).collect()
}

async fn envelopes(replica: &Replica, count: usize) -> Vec<Value> {
    let (mut stream, _) = Stream::open(replica, "/feeds/%3E?after=start&envelope=1").await;
    let data = stream.data(count).await;
    data.iter()
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

#[tokio::test]
async fn each_line_has_its_result_in_order_whatever_became_of_the_others() {
    let replica = Replica::start(&["--max-event-bytes", "20", "--anonymous-publish", "a.>"]).await;
    let nested = "[".repeat(128) + &"]".repeat(128);
    let deep = format!(r#"{{"feed":"a.2","data":{nested}}}"#);
    let lines = [
        (r#"{"feed":"a.1","data":{"n":1}}"#, Ok("a.1")),
        (r#"{"feed":"a.*","data":1}"#, Err(400)),
        (r#"{"feed":"a.1","data":"#, Err(422)),
        (r#"{"feed":"b","data":1}"#, Err(403)),
        (r#"{"feed":"a.2","type":"hub:gap","data":1}"#, Err(422)),
        (r#"{"feed":"a.2","type":"x\nid: 9","data":1}"#, Err(422)),
        (r#"{"feed":"a.2","key":"x\u0000","data":1}"#, Err(422)),
        (
            r#"{"feed":"a.2","content_type":"x\r\ny","data":1}"#,
            Err(422),
        ),
        (
            r#"{"feed":"a.2","data":"more than twenty bytes"}"#,
            Err(413),
        ),
        (r#"{"feed":"a.2","data":"?","encoding":"base64"}"#, Err(422)),
        (r#"{"feed":"a.2","data":1,"encoding":"base64"}"#, Err(422)),
        (r#"{"feed":"a.2","data":"x","encoding":"gzip"}"#, Err(422)),
        (r#"{"feed":"a.2","idempotency_key":"","data":1}"#, Err(422)),
        (r#"{"feed":"a.2","dta":1}"#, Err(422)),
        (r#"{"data":1}"#, Err(422)),
        ("[]", Err(422)),
        (r#"["a.3",null,1,null,null,null,null]"#, Err(422)),
        (r#"{"feed":"a.2","feed":"a.3"}"#, Err(422)),
        (
            r#"{"feed":"a.2","idempotency_key":"x\n","data":1}"#,
            Err(422),
        ),
        (
            r#"{"feed":"a.2","idempotency_key":"x\u007f","data":1}"#,
            Err(422),
        ),
        (r#"{"feed":"a.2","data":"\ud800"}"#, Err(422)),
        (r#"{"feed":"a.2","data":[1e999]}"#, Err(422)),
        (&deep, Err(422)),
        (r#"{"feed":"a.3"}"#, Ok("a.3")),
        (
            r#"{"feed":"a.4","type":"created","key":"k","data":"text"}"#,
            Ok("a.4"),
        ),
        (
            r#"{"feed":"a.5","data":"/wA=","encoding":"base64"}"#,
            Ok("a.5"),
        ),
    ];
    let body: Vec<&str> = lines.iter().map(|(line, _)| *line).collect();
    let results = batch(&replica, &body.join("\n")).await;
    assert_eq!(results.len(), lines.len());
    let mut last = 0;
    for ((line, expected), result) in lines.iter().zip(&results) {
        match expected {
            Ok(feed) => {
                assert_eq!(result["feed"], *feed, "{line}");
                let id = result["id"].as_str().expect("an id");
                let sequence = id.parse::<tidings::event::Position>().unwrap().sequence();
                assert_eq!(sequence, last + 1, "{line}");
                last = sequence;
            }
            Err(status) => {
                problem(result, *status);
            }
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_line_is_said_field_by_field() {
    let replica = Replica::start(&[]).await;
    let deep = format!(
        r#"{{"feed":"a","data":{}}}"#,
        "[".repeat(128) + &"]".repeat(128)
    );
    let lines = [
        (
            "x",
            "the line is not one JSON object: expected value at column 1",
        ),
        (
            "[]",
            r#"the line is not one JSON object: invalid type: sequence, expected an object such as {"feed":"orders.eu","data":1} at column 0"#,
        ),
        (
            r#"{"data":1}"#,
            r#"the line has no `feed`, as in {"feed":"orders.eu","data":1}"#,
        ),
        (
            r#"{"feed":1}"#,
            "`feed` is not a string: invalid type: integer `1`, expected a string at column 1",
        ),
        (
            r#"{"feed":"a","dta":1}"#,
            "`dta` is no field of an event; the fields are `feed`, `type`, `data`, `key`, `content_type`, `encoding`, `idempotency_key`, `traceparent` and `tracestate`",
        ),
        (
            r#"{"feed":"a","key":"b","key":"c"}"#,
            "`key` is there twice",
        ),
        (
            &deep,
            "`data` is not JSON that every client can read: recursion limit exceeded at column 128",
        ),
        (
            r#"{"feed":"a","data":1,"idempotency_key":"a\nb"}"#,
            "the idempotency key must have 1 to 255 bytes, and no control character",
        ),
    ];
    let body: Vec<&str> = lines.iter().map(|(line, _)| *line).collect();
    let results = batch(&replica, &body.join("\n")).await;
    for (result, (line, detail)) in results.iter().zip(lines) {
        assert_eq!(problem(result, 422), detail, "{line}");
    }
}

#[tokio::test]
async fn data_is_written_as_in_an_envelope() {
    let replica = Replica::start(&[]).await;
    let lines = [
        r#"{"feed":"a","data":{"n":[1, 2.0]}}"#,
        r#"{"feed":"a","data":"two\nlines"}"#,
        r#"{"feed":"a","data":"text","content_type":"application/json"}"#,
        r#"{"feed":"a","data":"{\"n\":1}"}"#,
        r#"{"feed":"a","data":"/wA=","encoding":"base64"}"#,
        r#"{"feed":"a","data":"eA==","encoding":"base64","content_type":"text/plain"}"#,
        r#"{"feed":"a","data":null}"#,
        r#"{"feed":"a"}"#,
    ];
    let results = batch(&replica, &lines.join("\r\n")).await;
    let envelopes = envelopes(&replica, lines.len()).await;
    let data: Vec<Value> = envelopes.iter().map(|one| one["data"].clone()).collect();
    let expected =
        json!([{"n": [1, 2.0]}, "two\nlines", "text", "{\"n\":1}", "/wA=", "x", null, ""]);
    assert_eq!(Value::from(data), expected);
    assert_eq!(envelopes[4]["encoding"], "base64");
    for (result, envelope) in results.iter().zip(&envelopes) {
        assert_eq!(result["id"], envelope["id"]);
    }
}

#[tokio::test]
async fn blank_lines_are_passed_over_and_the_last_needs_no_end() {
    let replica = Replica::start(&[]).await;
    assert_eq!(batch(&replica, "").await, Vec::<Value>::new());
    assert_eq!(batch(&replica, "\n\r\n  \n").await, Vec::<Value>::new());
    let line = r#"{"feed":"a","data":1}"#;
    assert_eq!(
        batch(&replica, &format!("\n{line}\n\n{line}\r\n{line}"))
            .await
            .len(),
        3
    );
}

on_both!(a_long_batch_stands_in_jetstream_in_its_order);

async fn a_long_batch_stands_in_jetstream_in_its_order(version: Version) {
    let server = NatsServer::start(version);
    stands_in_its_order(&["--nats", &server.url()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_batch_stands_on_disk_in_its_order() {
    let folder = tempfile::tempdir().expect("a folder");
    stands_in_its_order(&["--data", folder.path().to_str().expect("text")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_batch_stands_in_memory_in_its_order() {
    stands_in_its_order(&[]).await;
}

/// Publishes more than are under way at once.
async fn stands_in_its_order(arguments: &[&str]) {
    let replica = Replica::start(arguments).await;
    let body: String = (0..2000)
        .map(|n| format!("{{\"feed\":\"a.{}\",\"data\":{n}}}\n", n % 7))
        .collect();
    let results = batch(&replica, &body).await;
    assert_eq!(results.len(), 2000);
    let data: Vec<Value> = envelopes(&replica, 2000)
        .await
        .iter()
        .map(|one| one["data"].clone())
        .collect();
    assert_eq!(data, (0..2000).map(Value::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_does_not_stand_in_its_own_way() {
    let replica = Replica::start(&["--max-publishes", "1"]).await;
    let body = "{\"feed\":\"a\",\"data\":1}\n".repeat(50);
    let results = batch(&replica, &body).await;
    let stored = results.iter().filter(|result| result["id"].is_string());
    assert_eq!(stored.count(), 50);
}

#[tokio::test]
async fn a_key_that_is_repeated_is_the_same_event_in_a_batch_too() {
    let replica = Replica::start(&[]).await;
    let line =
        |feed: &str| format!("{{\"feed\":\"{feed}\",\"idempotency_key\":\"k\",\"data\":1}}\n");
    let results = batch(
        &replica,
        &[line("a"), line("a"), line("b"), line("a")].concat(),
    )
    .await;
    assert_eq!(results[0]["id"], results[1]["id"]);
    assert_eq!(results[0]["id"], results[3]["id"]);
    assert_ne!(results[0]["id"], results[2]["id"]);
}

#[tokio::test]
async fn what_is_no_batch_is_415_and_what_is_too_large_413() {
    let replica = Replica::start(&["--max-batch-bytes", "100"]).await;
    for headers in [&[][..], &[("Content-Type", "application/json")]] {
        let detail = post(&replica, "/feeds", headers, "{}").await.problem(415);
        assert!(detail.contains("application/x-ndjson"), "{detail}");
    }
    let headers = [("Content-Type", "Application/X-NDJSON; charset=utf-8")];
    assert_eq!(post(&replica, "/feeds", &headers, "").await.status, 200);
    let detail = post(&replica, "/feeds", &[NDJSON], "\n".repeat(101))
        .await
        .problem(413);
    assert!(detail.contains("100 bytes"), "{detail}");
}
