//! Messages that async-nats does not read: it ends the connection over them, or panics. Whoever may publish
//! can store one.

use crate::nats_server::{NatsServer, Version};
use crate::replica::{Replica, within};
use crate::sse::{Block, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

on_both!(
    a_stream_goes_on_past_each_of_them,
    a_replica_starts_behind_all_of_them,
    a_resume_from_the_log_reads_across_them,
    publishes_go_on_among_them,
);

/// Blocks of headers, the type that the event has then, and whether async-nats reads the block.
const BLOCKS: [(&[u8], &str); 12] = [
    (b"NATS/1.0\r\nX-Any: a\rb\r\nEvent-Type: t\r\n\r\n", "t"),
    (
        b"NATS/1.0\r\nEvent-Type: a\rid: 1-zzzzzz\r\n\r\n",
        "message",
    ),
    (b"NATS/1.0\r\nEvent-Type: caf\xe9\r\n\r\n", "caf\u{fffd}"),
    (b"NATS/1.0\r\nEvent Type: x\r\nEvent-Type: t\r\n\r\n", "t"),
    (b"NATS/1.0\r\nfoo\r\nEvent-Type: t\r\n\r\n", "t"),
    (b"NATS/1.0\r\n\xff: x\r\nEvent-Type: t\r\n\r\n", "t"),
    (b"NATS/2.0\r\nEvent-Type: t\r\n\r\n", "t"),
    (b"NATS/1.0 abc\r\nEvent-Type: t\r\n\r\n", "t"),
    (b"NATS/1.0 503 No Responders\r\nEvent-Type: t\r\n\r\n", "t"),
    (b"NATS/1.0 404 x\r\nEvent-Type: t\r\n\r\n", "t"),
    (b"NATS/1.0 100 Idle Heartbeat\r\n\r\n", "message"),
    (b"NATS/1.0 409 Consumer Deleted\r\n\r\n", "message"),
];

/// A publisher that minds no protocol of headers.
pub(crate) struct RawPublisher(TcpStream);

impl RawPublisher {
    pub(crate) async fn connect(server: &NatsServer) -> Self {
        let address = ("127.0.0.1", server.port());
        let mut socket = TcpStream::connect(address).await.expect("it connects");
        let hello = b"CONNECT {\"verbose\":false,\"headers\":true}\r\n";
        socket.write_all(hello).await.expect("it is sent");
        Self(socket)
    }

    pub(crate) async fn publish(&mut self, subject: &[u8], headers: &[u8], data: &str) {
        let (head, total) = (headers.len(), headers.len() + data.len());
        let mut bytes = match head {
            0 => b"PUB ".to_vec(),
            _ => b"HPUB ".to_vec(),
        };
        bytes.extend(subject);
        match head {
            0 => bytes.extend(format!(" {total}\r\n").bytes()),
            _ => bytes.extend(format!(" {head} {total}\r\n").bytes()),
        }
        bytes.extend(headers);
        bytes.extend(data.bytes());
        bytes.extend(b"\r\nPING\r\n");
        self.0.write_all(&bytes).await.expect("it is sent");
        let mut answer = Vec::new();
        while !answer.windows(4).any(|part| part == b"PONG") {
            let read = within("an answer", self.0.read_buf(&mut answer));
            assert!(read.await.expect("it is read") > 0);
        }
    }

    /// Publishes each block under its number, a subject that is not UTF-8 after each, and returns what has to
    /// come of it.
    async fn publish_all(&mut self) -> Vec<(String, String)> {
        for (n, (block, _)) in BLOCKS.iter().enumerate() {
            self.publish(b"feeds.a", block, &n.to_string()).await;
            self.publish(b"feeds.a\xff", b"", "no feed").await;
        }
        expected()
    }
}

fn expected() -> Vec<(String, String)> {
    let blocks = BLOCKS.iter().enumerate();
    let expected = blocks.map(|(n, (_, kind))| ((*kind).to_owned(), n.to_string()));
    expected.collect()
}

async fn replica(server: &NatsServer, more: &[&str]) -> Replica {
    let url = server.url();
    let arguments: Vec<_> = ["--nats", &url].iter().chain(more).copied().collect();
    Replica::start(&arguments).await
}

fn told(event: Block) -> (String, String) {
    (event.kind, event.data)
}

async fn events(stream: &mut Stream, count: usize) -> Vec<(String, String)> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(told(stream.event().await));
    }
    events
}

async fn a_stream_goes_on_past_each_of_them(version: Version) {
    let server = NatsServer::start(version);
    let replica = replica(&server, &[]).await;
    let (mut stream, _) = Stream::open(&replica, "/feeds/a").await;
    let mut publisher = RawPublisher::connect(&server).await;
    for ((n, (block, _)), expected) in BLOCKS.iter().enumerate().zip(expected()) {
        publisher.publish(b"feeds.a", block, &n.to_string()).await;
        assert_eq!(told(stream.event().await), expected);
        publisher.publish(b"feeds.a\xff", b"", "no feed").await;
        publisher.publish(b"feeds.a", b"", "plain").await;
        assert_eq!(
            told(stream.event().await),
            ("message".into(), "plain".into())
        );
    }
}

async fn a_replica_starts_behind_all_of_them(version: Version) {
    let server = NatsServer::start(version);
    drop(replica(&server, &[]).await);
    let mut publisher = RawPublisher::connect(&server).await;
    let expected = publisher.publish_all().await;
    let replica = replica(&server, &[]).await;
    let (mut stream, _) = Stream::open(&replica, "/feeds/a?after=start").await;
    assert_eq!(events(&mut stream, expected.len()).await, expected);
    publisher.publish(b"feeds.a", b"", "plain").await;
    assert_eq!(told(stream.event().await).1, "plain");
}

async fn a_resume_from_the_log_reads_across_them(version: Version) {
    let server = NatsServer::start(version);
    drop(replica(&server, &[]).await);
    let mut publisher = RawPublisher::connect(&server).await;
    let expected = publisher.publish_all().await;
    for n in 0..20 {
        publisher.publish(b"feeds.a", b"", &n.to_string()).await;
    }
    let replica = replica(&server, &["--window-events", "10"]).await;
    for pattern in ["a", ">"] {
        let path = format!("/feeds/{pattern}?after=start");
        let (mut stream, _) = Stream::open(&replica, &path).await;
        assert_eq!(events(&mut stream, expected.len()).await, expected);
        assert_eq!(stream.data(20).await.last().expect("20"), "19");
    }
}

async fn publishes_go_on_among_them(version: Version) {
    let server = NatsServer::start(version);
    let replica = replica(&server, &[]).await;
    let (mut stream, _) = Stream::open(&replica, "/feeds/b").await;
    let mut publisher = RawPublisher::connect(&server).await;
    let client = reqwest::Client::new();
    for (block, _) in BLOCKS {
        publisher.publish(b"feeds.a", block, "").await;
        let key = publisher.0.local_addr().expect("an address");
        let key = format!("{key}-{}", block.escape_ascii());
        within("the event to be stored", async {
            loop {
                let request = client.post(replica.url("/feeds/b")).body("x");
                let request = request.header("Idempotency-Key", &key);
                let status = request.send().await.expect("an answer").status().as_u16();
                match status {
                    200 | 201 => return,
                    503 | 504 => {}
                    status => panic!("{status}"),
                }
            }
        })
        .await;
        assert_eq!(told(stream.event().await).1, "x");
    }
}
