//! Clients that read slowly, not at all, or go: on sockets that were handed off, and on those that were not.

use crate::replica::{Replica, within};
use crate::sse::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Runs each claim with sockets handed to shards, and with all served by the HTTP library.
macro_rules! both_ways {
    ($($claim:ident),* $(,)?) => {
        mod handed_off {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                super::$claim(&["--shards", "2"]).await;
            })*
        }
        mod by_hyper {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                super::$claim(&["--shards", "0"]).await;
            })*
        }
    };
}

both_ways!(
    a_reader_that_stalls_delays_nobody_and_misses_nothing,
    a_reader_that_stalls_for_too_long_gets_a_gap,
    a_reader_of_single_bytes_gets_every_byte,
    a_client_that_goes_is_noticed_at_once,
    a_client_that_closes_its_half_has_gone,
    a_second_request_on_a_stream_changes_nothing,
    a_stalled_reader_is_told_of_the_end,
);

const HEAD: &str = "HTTP/1.1 200 OK\r\n";

/// A connection with a small receive buffer, on which a stream was asked for.
async fn ask(replica: &Replica, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = within("a connection", socket.connect(replica.address))
        .await
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads until the end of `until`, at most `step` bytes at a time.
async fn read_until(stream: &mut TcpStream, until: &str, step: usize) -> String {
    let mut text = Vec::new();
    let mut buffer = vec![0; step];
    while !text.ends_with(until.as_bytes()) {
        let count = within(until, stream.read(&mut buffer)).await.unwrap();
        assert_ne!(
            count,
            0,
            "it ended after {}",
            String::from_utf8_lossy(&text)
        );
        text.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(text).unwrap()
}

/// Waits until the replica has so many readers.
async fn readers(replica: &Replica, count: usize) {
    within("the number of readers", async {
        while replica.hub().usage().readers != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// An event that fills a good part of a socket's buffers.
fn large(n: usize) -> String {
    format!("{n} {}", "x".repeat(200_000))
}

/// The numbers of the large events in a stream's bytes.
fn numbers(text: &str) -> Vec<usize> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| data.split_once(" x")?.0.parse().ok())
        .collect()
}

async fn a_reader_that_stalls_delays_nobody_and_misses_nothing(shards: &[&str]) {
    let replica = Replica::start(&[shards, &["--window-bytes", "1000000"]].concat()).await;
    let mut stalled = ask(&replica, "/feeds/a").await;
    readers(&replica, 1).await;
    let (mut healthy, _) = Stream::open(&replica, "/feeds/a").await;
    for n in 0..100 {
        replica.publish("a", large(n)).await;
        assert_eq!(healthy.data(1).await, [large(n)]);
    }
    // What is held for the one that stalls is what the window may hold, and not what it has missed.
    assert!(replica.hub().usage().bytes < 2_000_000);
    replica.publish("a", "the end").await;
    let text = read_until(&mut stalled, "data: the end\n\n\r\n", 65_536).await;
    assert_eq!(numbers(&text), (0..100).collect::<Vec<_>>());
    // It is live again, and served with the others.
    replica.publish("a", "live").await;
    read_until(&mut stalled, "data: live\n\n\r\n", 4096).await;
}

async fn a_reader_that_stalls_for_too_long_gets_a_gap(shards: &[&str]) {
    let limits = ["--window-bytes", "1000000", "--memory-bytes", "4000000"];
    let replica = Replica::start(&[shards, &limits].concat()).await;
    let mut stalled = ask(&replica, "/feeds/a").await;
    readers(&replica, 1).await;
    for n in 0..100 {
        replica.publish("a", large(n)).await;
    }
    replica.publish("a", "the end").await;
    let text = read_until(&mut stalled, "data: the end\n\n\r\n", 65_536).await;
    assert_eq!(text.matches("event: hub:gap\n").count(), 1);
    let (before, after) = text.split_once("event: hub:gap\n").unwrap();
    let (before, after) = (numbers(before), numbers(after));
    assert_eq!(before, (0..before.len()).collect::<Vec<_>>());
    assert_eq!(after, (100 - after.len()..100).collect::<Vec<_>>());
    assert!(before.len() + after.len() < 100);
}

async fn a_reader_of_single_bytes_gets_every_byte(shards: &[&str]) {
    let replica = Replica::start(shards).await;
    let mut stream = ask(&replica, "/feeds/a").await;
    readers(&replica, 1).await;
    let id = replica.publish("a", "one").await;
    let text = read_until(&mut stream, "data: one\n\n\r\n", 1).await;
    assert!(text.starts_with(HEAD), "{text}");
    assert!(
        text.contains(&format!("\r\nid: {id}\ndata: one\n\n\r\n")),
        "{text}"
    );
}

async fn a_client_that_goes_is_noticed_at_once(shards: &[&str]) {
    let replica = Replica::start(shards).await;
    let mut stream = ask(&replica, "/feeds/a").await;
    read_until(&mut stream, "data: {}\n\n\r\n", 4096).await;
    readers(&replica, 1).await;
    drop(stream);
    readers(&replica, 0).await;
    assert_eq!(replica.hub().usage().groups, 0);
}

async fn a_client_that_closes_its_half_has_gone(shards: &[&str]) {
    let replica = Replica::start(shards).await;
    let mut stream = ask(&replica, "/feeds/a").await;
    read_until(&mut stream, "data: {}\n\n\r\n", 4096).await;
    stream.shutdown().await.unwrap();
    readers(&replica, 0).await;
}

async fn a_second_request_on_a_stream_changes_nothing(shards: &[&str]) {
    let replica = Replica::start(shards).await;
    let mut stream = ask(&replica, "/feeds/a").await;
    read_until(&mut stream, "data: {}\n\n\r\n", 4096).await;
    stream
        .write_all(b"GET /feeds/b HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    replica.publish("b", "other").await;
    replica.publish("a", "mine").await;
    let text = read_until(&mut stream, "data: mine\n\n\r\n", 4096).await;
    assert!(
        !text.contains("other") && !text.contains("HTTP/1.1"),
        "{text}"
    );
}

async fn a_stalled_reader_is_told_of_the_end(shards: &[&str]) {
    let replica = Replica::start(shards).await;
    let mut stalled = ask(&replica, "/feeds/a").await;
    readers(&replica, 1).await;
    for n in 0..40 {
        replica.publish("a", large(n)).await;
    }
    let ending = tokio::spawn(replica.stop());
    let text = read_until(&mut stalled, "\r\n0\r\n\r\n", 65_536).await;
    assert!(
        text.contains("event: hub:closing\n"),
        "{}",
        &text[text.len() - 300..]
    );
    // Whole events, from the first on, in order; the rest is there when it comes back.
    let numbers = numbers(&text);
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
    within("the replica to end", ending).await.unwrap();
}
