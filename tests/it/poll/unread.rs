//! Pages that are not taken: they hold no more together than they may, and none for longer than it may stand still.

use super::{JSON, page, readers};
use crate::call::get;
use crate::replica::{Replica, within};
use crate::stalled::{connect, counted};
use reqwest::{Client, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATH: &str = "/feeds/a?after=start&limit=1000";

/// So many events of a tenth of a MB on `a`.
async fn filled(replica: &Replica, count: usize) {
    for n in 0..count {
        let data = format!("{n} {}", "x".repeat(100_000));
        replica.publish("a", data).await;
    }
}

pub(super) async fn metric(replica: &Replica, name: &str) -> usize {
    let metrics = get(replica, "/metrics", &[]).await.text;
    let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    metrics.lines().find_map(value).expect("the metric")
}

/// A client with one connection in HTTP/2, which gives each answer a window of 64 KiB.
fn http_2() -> Client {
    let client = Client::builder()
        .http2_prior_knowledge()
        .http2_initial_stream_window_size(65_535);
    client.build().expect("a client")
}

async fn ask(client: &Client, replica: &Replica) -> Response {
    let request = client.get(replica.url(PATH)).header(JSON.0, JSON.1);
    within("an answer", request.send()).await.expect("a head")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_counts_until_it_is_sent_and_is_taken_away_from_who_takes_nothing() {
    let replica = Replica::start(&["--stall-timeout", "1"]).await;
    filled(&replica, 20).await;
    let whole = page(&replica, PATH).await;
    let client = http_2();
    let mut left = Vec::new();
    for _ in 0..3 {
        let answer = ask(&client, &replica).await;
        assert_eq!(answer.status(), 200);
        let length = whole.answer.text.len() as u64;
        assert_eq!(answer.content_length(), Some(length));
        left.push(answer);
    }
    assert_eq!(replica.hub().usage().readers, 3);
    let held = metric(&replica, "tidings_page_bytes ").await;
    assert!(held > 3 * 20 * 100_000, "{held}");
    counted(&replica, 3).await;
    readers(&replica, 0).await;
    assert_eq!(metric(&replica, "tidings_page_bytes ").await, 0);
    // They are not to be taken for whole, and others of the connection are.
    let answer = ask(&client, &replica).await;
    let text = within("a page", answer.text()).await.expect("a page");
    assert_eq!(text, whole.answer.text);
    for answer in left {
        assert!(within("the end", answer.bytes()).await.is_err());
    }
}

/// A connection in HTTP/1 on which a page was asked for, and of which the head was read.
async fn begun(replica: &Replica) -> TcpStream {
    let mut client = connect(replica).await;
    let request = format!(
        "GET {PATH} HTTP/1.1\r\nHost: localhost\r\nAccept: {}\r\n\r\n",
        JSON.1
    );
    client.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("the head", client.read_u8()).await.expect("a byte"));
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "));
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_no_more_together_than_they_may() {
    let arguments = ["--page-bytes", "8000000", "--stall-timeout", "3600"];
    let replica = Replica::start(&arguments).await;
    filled(&replica, 30).await;
    let (one, client) = (begun(&replica).await, http_2());
    let other = ask(&client, &replica).await;
    assert_eq!(other.status(), 200);
    let refused = get(&replica, PATH, &[JSON]).await;
    assert_eq!(refused.header("tidings-refused"), Some("overload"));
    assert!(refused.header("retry-after").is_some());
    refused.problem(503);
    assert_eq!(
        metric(&replica, "tidings_page_bytes_refused_total ").await,
        1
    );
    let held = metric(&replica, "tidings_page_bytes ").await;
    assert!((6_000_000..8_000_000).contains(&held), "{held}");
    drop(one);
    readers(&replica, 1).await;
    assert_eq!(page(&replica, PATH).await.events.len(), 30);
    within("a page", other.bytes()).await.expect("a page");
    readers(&replica, 0).await;
    assert_eq!(metric(&replica, "tidings_page_bytes ").await, 0);
}
