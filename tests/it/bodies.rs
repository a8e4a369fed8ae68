//! What the bodies of publishes may hold, and for how long.

use crate::call::{Answer, get, post, problem};
use crate::raw::Raw;
use crate::replica::{Replica, settings, within};
use reqwest::Client;
use tidings::app::{App, StartError};

const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");

/// The value of this metric.
async fn metric(replica: &Replica, name: &str) -> usize {
    let metrics = get(replica, "/metrics", &[]).await.text;
    let sample = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    sample.expect(name).parse().expect("a number")
}

/// Waits until bodies hold so many bytes.
async fn held(replica: &Replica, is: impl Fn(usize) -> bool) {
    within("the bytes that bodies hold", async {
        while !is(metric(replica, "tidings_publish_bytes").await) {}
    })
    .await;
}

/// A batch, or its beginning, of which so many bytes are announced.
async fn send(replica: &Replica, announced: usize, body: &str) -> Raw {
    let request = format!(
        "POST /feeds HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: {announced}\r\n\r\n{body}"
    );
    Raw::send(replica.address, &request).await
}

/// A batch whose answer is larger than all buffers on its way, and whose last line would be stored.
fn much_to_answer() -> String {
    "{}\n".repeat(100_000) + r#"{"feed":"a","data":1}"#
}

/// Checks that nothing was stored, once all is let go.
async fn nothing_was_stored(replica: &Replica) {
    held(replica, |bytes| bytes == 0).await;
    assert_eq!(metric(replica, "tidings_head_sequence").await, 0);
}

#[tokio::test]
async fn all_bodies_together_hold_no_more_than_they_may() {
    let limits = ["--max-batch-bytes", "10000", "--max-event-bytes", "1000"];
    let replica = Replica::start(&[&limits[..], &["--publish-bytes", "10000"]].concat()).await;
    let stalled = send(&replica, 10_000, &"\n".repeat(6000)).await;
    held(&replica, |bytes| bytes >= 6000).await;
    let body = "\n".repeat(6000);
    let mut refused = send(&replica, body.len(), &body).await;
    let head = refused.head().await;
    assert_eq!(head.status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(head.field("retry-after"), Some("2"));
    let detail = serde_json::from_slice(&refused.rest().await).expect("a problem");
    assert!(problem(&detail, 503).contains("nothing was stored"));
    let refusals = metric(&replica, "tidings_publish_bytes_refused_total").await;
    assert_eq!(refusals, 1);
    drop(stalled);
    nothing_was_stored(&replica).await;
    let taken = post(&replica, "/feeds", &[NDJSON], body).await;
    assert_eq!(taken.status, 200);
    replica.publish("a", "x".repeat(1000)).await;
    held(&replica, |bytes| bytes == 0).await;
}

#[test]
fn a_budget_that_could_never_take_the_largest_body_is_refused() {
    for limit in ["--max-batch-bytes", "--max-event-bytes"] {
        let refused = App::bind(&settings(&[
            "--publish-bytes",
            "20000000",
            limit,
            "20000001",
        ]));
        let error = refused.expect_err("a budget that is too small");
        assert!(matches!(error, StartError::Budget { .. }), "{error}");
        assert!(error.to_string().contains(limit), "{error}");
    }
}

#[tokio::test]
async fn a_body_that_is_announced_as_too_large_is_413_before_it_comes() {
    let replica = Replica::start(&["--max-event-bytes", "10"]).await;
    let head = "Host: localhost\r\nContent-Type: application/x-ndjson\r\n";
    for (path, length) in [("/feeds/a", 11), ("/feeds", (16 << 20) + 1)] {
        let request = format!("POST {path} HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n");
        let mut raw = Raw::send(replica.address, &request).await;
        let head = raw.head().await;
        assert_eq!(head.status, "HTTP/1.1 413 Payload Too Large");
        assert_eq!(head.field("connection"), Some("close"));
        let detail = serde_json::from_slice(&raw.rest().await).expect("a problem");
        problem(&detail, 413);
    }
}

#[tokio::test]
async fn a_body_in_small_chunks_is_the_same_and_holds_no_more() {
    let replica = Replica::start(&["--publish-bytes", "16777216"]).await;
    let chunks = (0..20_000).map(|n| Ok::<_, std::io::Error>(format!("{}", n % 10)));
    let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    replica.publish("a", body).await;
    let digits: String = (0..20_000).map(|n| (n % 10).to_string()).collect();
    let (mut stream, _) = crate::sse::Stream::open(&replica, "/feeds/a?after=start").await;
    assert_eq!(stream.data(1).await, [digits]);
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_cut_off() {
    let replica = Replica::start(&["--body-timeout", "1"]).await;
    let body = much_to_answer();
    let mut raw = send(&replica, body.len(), &body).await;
    assert_eq!(raw.head().await.status, "HTTP/1.1 200 OK");
    nothing_was_stored(&replica).await;
    // The connection ends too.
    raw.rest().await;
}

#[tokio::test]
async fn over_http_2_too_and_other_requests_of_the_connection_go_on() {
    let replica = Replica::start(&["--body-timeout", "1"]).await;
    let client = Client::builder().http2_prior_knowledge();
    let client = client.build().expect("a client");
    let batch = client.post(replica.url("/feeds")).body(much_to_answer());
    let answer = batch.header(NDJSON.0, NDJSON.1).send();
    let answer = within("the head", answer).await.expect("an answer");
    nothing_was_stored(&replica).await;
    let alive = client.get(replica.url("/livez")).send();
    let alive = within("an answer", alive).await.expect("an answer");
    assert_eq!(alive.status(), 200);
    // It is not to be taken for whole.
    assert!(within("the end", answer.text()).await.is_err());
}

#[tokio::test]
async fn a_client_that_goes_ends_its_batch_at_once() {
    let replica = Replica::start(&["--body-timeout", "3600"]).await;
    let body = much_to_answer();
    let mut raw = send(&replica, body.len(), &body).await;
    assert_eq!(raw.head().await.status, "HTTP/1.1 200 OK");
    held(&replica, |bytes| bytes == body.len()).await;
    drop(raw);
    nothing_was_stored(&replica).await;
}

#[tokio::test]
async fn a_problem_quotes_no_more_than_can_be_read() {
    let replica = Replica::start(&[]).await;
    let long = "ü".repeat(100_000);
    let feed = format!(r#"{{"feed":"{long}","data":1}}"#);
    let field = format!(r#"{{"{long}":1}}"#);
    for line in [feed, field, format!("\"{long}\"")] {
        let answer: Answer = post(&replica, "/feeds", &[NDJSON], line).await;
        assert_eq!(answer.status, 200);
        let detail = problem(
            &answer.json(),
            answer.json()["status"].as_u64().unwrap() as u16,
        );
        assert!(detail.len() < 1100 && detail.contains('…'), "{detail}");
    }
}
