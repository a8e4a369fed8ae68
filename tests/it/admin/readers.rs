//! Readers that are behind.

use crate::call::get;
use crate::replica::{Replica, within};
use crate::sse::Stream;
use crate::stalled::connect;
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_read_is_told_of_and_those_who_do_are_not() {
    let replica = Replica::start(&["--shards", "2"]).await;
    let (_stream, _) = Stream::open(&replica, "/feeds/b").await;
    let mut slow = connect(&replica).await;
    let request = "GET /feeds?feed=a&feed=c.* HTTP/1.1\r\nHost: localhost\r\n\r\n";
    slow.write_all(request.as_bytes()).await.unwrap();
    let found = async {
        loop {
            replica.publish("a", "x".repeat(100_000)).await;
            let path = "/admin/readers?slow=1";
            let answer = get(&replica, path, &[]).await.json();
            let reader = answer["readers"][0].clone();
            // What it has not taken of an event is on its way; the next ones wait.
            if reader["behind"].as_u64() > Some(0) {
                return answer;
            }
        }
    };
    let answer = within("the slow reader", found).await;
    assert_eq!(answer["total"], 2);
    assert_eq!(answer["readers"].as_array().unwrap().len(), 1, "{answer}");
    let reader = &answer["readers"][0];
    assert_eq!(reader["feeds"], serde_json::json!(["a", "c.*"]));
    assert_eq!(reader["transport"], "sse");
    assert_eq!(reader["peer"], slow.local_addr().unwrap().to_string());
    assert!(reader["stalled_seconds"].is_number(), "{answer}");
}
