//! Readers that are behind.

use crate::call::get;
use crate::replica::{Replica, within};
use crate::sse::Stream;
use crate::stalled::connect;
use serde_json::json;
use tokio::io::AsyncWriteExt;

/// Publishes until a reader is behind, and returns what is told then. What it has not taken of an event is on its way; the
/// next ones wait.
async fn told(replica: &Replica) -> serde_json::Value {
    let found = async {
        loop {
            replica.publish("a", "x".repeat(100_000)).await;
            let path = "/admin/readers?slow=1";
            let answer = get(replica, path, &[]).await.json();
            if answer["readers"][0]["behind"].as_u64() > Some(0) {
                return answer;
            }
        }
    };
    within("the slow reader", found).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_read_is_told_of_and_those_who_do_are_not() {
    for shards in ["2", "0"] {
        let replica = Replica::start(&["--shards", shards]).await;
        let (_stream, _) = Stream::open(&replica, "/feeds/b").await;
        let mut slow = connect(&replica).await;
        let request = "GET /feeds?feed=a&feed=c.* HTTP/1.1\r\nHost: localhost\r\n\r\n";
        slow.write_all(request.as_bytes()).await.unwrap();
        let answer = told(&replica).await;
        assert_eq!(answer["total"], 2);
        assert_eq!(answer["readers"].as_array().unwrap().len(), 1, "{answer}");
        let reader = &answer["readers"][0];
        assert_eq!(reader["feeds"], json!(["a", "c.*"]));
        assert_eq!(reader["transport"], "sse");
        assert_eq!(reader["peer"], slow.local_addr().unwrap().to_string());
        assert!(reader["stalled_seconds"].is_number(), "{answer}");
        drop(slow);
        let gone = async {
            while get(&replica, "/admin/readers?slow=1", &[]).await.json()["readers"] != json!([]) {
            }
        };
        within("it to be gone", gone).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http2_too_where_other_streams_of_the_connection_are_read() {
    let replica = Replica::start(&[]).await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .http2_initial_stream_window_size(65_535);
    let client = client.build().expect("a client");
    let open = async |path: &str| {
        let request = client
            .get(replica.url(path))
            .header("accept", "application/x-ndjson");
        request.send().await.expect("a stream")
    };
    let _slow = open("/feeds/a").await;
    let _read = open("/feeds/b").await;
    let answer = told(&replica).await;
    assert_eq!(answer["readers"].as_array().unwrap().len(), 1, "{answer}");
    let reader = &answer["readers"][0];
    assert_eq!(reader["feeds"], json!(["a"]));
    assert_eq!(reader["transport"], "ndjson");
    assert!(reader["stalled_seconds"].is_number(), "{answer}");
}
