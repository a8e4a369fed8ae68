//! A stream ends with the token that it was opened with, and is gone on with with another.

use super::{LEEWAY, bearer, below_a, guarded, now, publish, right, short, token};
use crate::call::{get, post};
use crate::replica::{Replica, within};
use crate::sse::Stream;
use reqwest::Client;
use serde_json::json;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

async fn open(replica: &Replica, client: &Client, token: &str, id: Option<&str>) -> Stream {
    let mut request = client
        .get(replica.url("/feeds/a.*"))
        .header("Authorization", bearer(token));
    if let Some(id) = id {
        request = request.header("Last-Event-ID", id);
    }
    Stream::begin(request).await.0
}

async fn ends_and_is_resumed(more: &[&str], client: Client) {
    let replica = guarded(more).await;
    let (token, long) = (short(), right());
    let mut stream = open(&replica, &client, &token, None).await;
    publish(&replica, &long, "a.b", "1").await;
    assert_eq!(stream.event().await.data, "1");
    let warning = stream.event().await;
    assert_eq!(warning.kind, "hub:token-expiring", "{warning:?}");
    assert!(
        matches!(warning.data.as_str(), r#"{"in":0}"# | r#"{"in":1}"#),
        "{warning:?}"
    );
    let end = stream.event().await;
    assert_eq!(
        (end.kind.as_str(), end.data.as_str()),
        ("hub:closing", r#"{"reason":"token"}"#)
    );
    let retry = end.retry.expect("when to come back");
    assert!((100..=500).contains(&retry), "{retry}");
    assert_eq!(stream.next().await, None);
    publish(&replica, &long, "a.c", "2").await;
    let mut stream = open(&replica, &client, &long, Some(&end.id)).await;
    assert_eq!(stream.event().await.data, "2");
    let request = client
        .get(replica.url("/feeds/a.*"))
        .header("Authorization", bearer(&token));
    let refused = within("a head", request.send()).await.expect("an answer");
    assert_eq!(refused.status(), 401);
}

#[tokio::test]
async fn a_stream_of_a_shard_ends_with_its_token_and_is_resumed_with_another() {
    ends_and_is_resumed(&[], Client::new()).await;
}

#[tokio::test]
async fn a_stream_without_shards_ends_with_its_token_and_is_resumed_with_another() {
    ends_and_is_resumed(&["--shards", "0"], Client::new()).await;
}

#[tokio::test]
async fn a_stream_over_http_2_ends_with_its_token_and_is_resumed_with_another() {
    let client = Client::builder().http2_prior_knowledge();
    ends_and_is_resumed(&[], client.build().expect("a client")).await;
}

#[tokio::test]
async fn one_ends_and_those_beside_it_with_the_same_patterns_go_on() {
    let replica = guarded(&["--shards", "1"]).await;
    let (client, long) = (Client::new(), right());
    let mut lasting = open(&replica, &client, &long, None).await;
    let mut ending = open(&replica, &client, &short(), None).await;
    let mut other = open(&replica, &client, &long, None).await;
    while ending.next().await.is_some() {}
    publish(&replica, &long, "a.b", "1").await;
    assert_eq!(lasting.event().await.data, "1");
    assert_eq!(other.event().await.data, "1");
}

#[tokio::test]
async fn lines_end_with_their_token_too() {
    for more in [&[][..], &["--shards", "0"]] {
        let replica = guarded(more).await;
        let shown = bearer(&short());
        let headers = [
            ("Accept", "application/x-ndjson"),
            ("Authorization", shown.as_str()),
        ];
        let answer = get(&replica, "/feeds/a.b", &headers).await;
        let lines: Vec<&str> = answer.text.lines().collect();
        let [.., warning, end] = lines[..] else {
            panic!("{lines:?}");
        };
        assert!(
            warning.contains(r#""type":"hub:token-expiring""#),
            "{warning}"
        );
        assert!(end.contains(r#"{"reason":"token"}"#), "{end}");
    }
}

#[tokio::test]
async fn a_long_poll_waits_no_longer_than_its_token_holds() {
    let replica = guarded(&[]).await;
    let shown = bearer(&short());
    let headers = [
        ("Accept", "application/json"),
        ("Authorization", shown.as_str()),
    ];
    let began = Instant::now();
    let answer = get(&replica, "/feeds/a.b?wait=50", &headers).await;
    assert_eq!(answer.status, 200);
    assert!(began.elapsed().as_secs() < 25);
    assert_eq!(answer.json()["events"].as_array().map(Vec::len), Some(0));
}

/// A reader of all events so far that takes none yet: of what a server reads at once, a part waits for its turn.
async fn stalled(replica: &Replica, shown: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let connected = within("a connection", socket.connect(replica.address)).await;
    let mut stream = connected.expect("a connection");
    let request = format!(
        "GET /feeds/a.b?after=start HTTP/1.1\r\nHost: localhost\r\nAuthorization: {shown}\r\n\r\n"
    );
    let sent = stream.write_all(request.as_bytes()).await;
    sent.expect("a request");
    stream
}

async fn its_warning_takes_the_place_of_no_event(more: &[&str]) {
    const EVENTS: usize = 10_000;
    const READERS: usize = 8;
    let rates = ["--publish-rate=100000", "--publish-burst=100000"];
    let replica = guarded(&[more, &rates].concat()).await;
    let shown = bearer(&right());
    let headers = [
        ("Authorization", shown.as_str()),
        ("Content-Type", "application/x-ndjson"),
    ];
    for first in (0..EVENTS).step_by(1000) {
        let line = |number| {
            let data = format!("{number} {}", "x".repeat(2000));
            format!("{}\n", json!({"feed": "a.b", "data": data}))
        };
        let lines: String = (first..first + 1000).map(line).collect();
        assert_eq!(post(&replica, "/feeds", &headers, lines).await.status, 200);
    }
    let claims = json!({"tidings": below_a(), "exp": now() + 6 - LEEWAY});
    let token = token(&claims);
    let mut others = Vec::new();
    for _ in 0..READERS {
        others.push(stalled(&replica, &bearer(&token)).await);
    }
    let mut quiet = open(&replica, &Client::new(), &token, None).await;
    let mut first = quiet.event().await;
    while first.kind != "hub:token-expiring" {
        first = quiet.event().await;
    }
    for mut other in others {
        let mut text = Vec::new();
        let read = within("the end", other.read_to_end(&mut text)).await;
        read.expect("what is sent");
        let text = String::from_utf8_lossy(&text);
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let numbers: Vec<usize> = data
            .filter_map(|data| data.split_once(" x")?.0.parse().ok())
            .collect();
        assert!(!numbers.is_empty());
        let next = |(at, number): (usize, &usize)| (at != *number).then_some(at);
        let missed = numbers.iter().enumerate().find_map(next);
        assert_eq!(missed, None, "of {} events", numbers.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_warning_of_a_stream_takes_the_place_of_no_event() {
    its_warning_takes_the_place_of_no_event(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_warning_of_a_stream_without_shards_takes_the_place_of_no_event() {
    its_warning_takes_the_place_of_no_event(&["--shards", "0"]).await;
}
