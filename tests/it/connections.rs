//! How many connections there are, and what happens when no more can be had.

use crate::program::Program;
use crate::raw::Raw;
use crate::replica::Replica;
use std::collections::HashMap;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// The metrics, over a connection of their own that ends with the answer.
pub(crate) async fn metrics(address: SocketAddr) -> HashMap<String, u64> {
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut raw = Raw::send(address, request).await;
    assert_eq!(raw.head().await.status, "HTTP/1.1 200 OK");
    let text = String::from_utf8(raw.rest().await).expect("text");
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let whole = |(name, value): (&str, &str)| Some((name.to_owned(), value.parse().ok()?));
    samples.filter_map(whole).collect()
}

async fn stream(address: SocketAddr) -> Raw {
    let request = "GET /feeds/a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut raw = Raw::send(address, request).await;
    assert_eq!(raw.head().await.status, "HTTP/1.1 200 OK");
    raw.body_until("\n\n").await;
    raw
}

#[tokio::test]
async fn connections_are_counted_those_of_streams_among_them() {
    for shards in ["0", "1"] {
        let replica = Replica::start(&["--shards", shards]).await;
        let _streams = (stream(replica.address).await, stream(replica.address).await);
        let samples = metrics(replica.address).await;
        assert_eq!(samples["tidings_http_connections"], 3);
        assert_eq!(samples["tidings_http_connections_accepted_total"], 3);
        assert_eq!(samples["tidings_http_accept_errors_total"], 0);
        assert_eq!(samples["tidings_http_connections_full_total"], 0);
    }
}

#[tokio::test]
async fn beyond_the_limit_a_connection_waits_for_another_to_end() {
    let replica = Replica::start(&["--max-connections", "2"]).await;
    let streams = (stream(replica.address).await, stream(replica.address).await);
    let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut waiting = Raw::send(replica.address, request).await;
    drop(streams);
    assert_eq!(waiting.head().await.status, "HTTP/1.1 200 OK");
    let samples = metrics(replica.address).await;
    assert!(samples["tidings_http_connections_full_total"] >= 1);
}

#[tokio::test]
async fn a_connection_that_does_not_show_its_version_in_time_is_ended() {
    let replica = Replica::start(&["--head-timeout", "1", "--shards", "0"]).await;
    let mut reader = stream(replica.address).await;
    let beginnings = [
        "",
        "P",
        "PRI * HTTP/2.0\r\n\r\nSM",
        "PRI * HTTP/1.1\r\n",
        "GET / HT",
    ];
    let raws = beginnings.map(|beginning| Raw::send(replica.address, beginning));
    for mut raw in futures::future::join_all(raws).await {
        raw.rest().await;
    }
    // One that has is not.
    replica.publish("a", "still here").await;
    assert!(reader.body_until("\n\n").await.contains("still here"));
}

#[tokio::test]
async fn a_version_may_be_shown_bit_by_bit() {
    let replica = Replica::start(&[]).await;
    let mut raw = Raw::send(replica.address, "P").await;
    for part in [
        "OST /feeds/a ",
        "HTTP/1.1\r\nHost: localhost\r\n",
        "Content-Length: 1\r\n\r\n",
        "x",
    ] {
        raw.write(part).await;
    }
    assert_eq!(raw.head().await.status, "HTTP/1.1 201 Created");
}

#[tokio::test]
async fn running_out_of_open_files_is_told_and_survived() {
    let mut server = Program::with_open_files(64, &["--listen", "127.0.0.1:0"]);
    let address = server.address().await;
    let mut clients = Vec::new();
    for _ in 0..64 {
        clients.push(TcpStream::connect(address).await.expect("the backlog"));
    }
    while !server.complaint().await.contains("limit of open files") {}
    drop(clients);
    while !server.complaint().await.contains("accepted again") {}
    let samples = metrics(address).await;
    assert!(samples["tidings_http_accept_errors_total"] >= 1);
}
