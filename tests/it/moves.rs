//! Readers that move between replicas at random, under load, each see exactly their events.

use crate::nats_server::{NatsServer, Version};
use crate::replica::{Replica, within};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const READERS: u64 = 1_000;
const FEEDS: u64 = 100;
pub(crate) const EVENTS: u64 = 100_000;
/// All of it, on a slow machine.
const DEADLINE: Duration = Duration::from_secs(240);

on_both!(a_thousand_readers_that_move_under_load_each_see_exactly_their_events);

async fn a_thousand_readers_that_move_under_load_each_see_exactly_their_events(version: Version) {
    let server = NatsServer::start(version);
    let url = server.url();
    // One serves from its sockets, one through the HTTP library, both with a window too small for all.
    let arguments = ["--nats", &url, "--window-events", "20000"];
    let one = Replica::start(&arguments).await;
    let other = Replica::start(&[&arguments[..], &["--shards", "0"]].concat()).await;
    let addresses = [one.address, other.address];
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        readers.spawn(Reader::new(number, addresses).run());
    }
    publish_all(&server).await;
    let all = async {
        while let Some(ended) = readers.join_next().await {
            ended.expect("an exact record");
        }
    };
    tokio::time::timeout(DEADLINE, all)
        .await
        .expect("every reader has every event in time");
}

/// With acknowledgements: a server that is flooded drops plain publishes.
pub(crate) async fn publish_all(server: &NatsServer) {
    let jetstream = async_nats::jetstream::new(server.client().await);
    for start in (0..EVENTS).step_by(500) {
        let mut acknowledgements = Vec::new();
        for n in start..start + 500 {
            let subject = format!("feeds.moves.{}", n % FEEDS);
            acknowledgements.push(
                jetstream
                    .publish(subject, n.to_string().into())
                    .await
                    .expect("it is sent"),
            );
        }
        for acknowledgement in acknowledgements {
            acknowledgement.await.expect("it is stored");
        }
    }
}

/// Reads one feed, and moves on after a random number of bytes.
struct Reader {
    feed: u64,
    addresses: [SocketAddr; 2],
    random: fastrand::Rng,
    id: String,
    /// How many of its events it has seen.
    seen: u64,
}

impl Reader {
    fn new(number: u64, addresses: [SocketAddr; 2]) -> Self {
        Self {
            feed: number % FEEDS,
            addresses,
            random: fastrand::Rng::with_seed(number),
            id: "0-0".to_owned(),
            seen: 0,
        }
    }

    async fn run(mut self) {
        while self.seen < EVENTS / FEEDS {
            self.visit().await;
        }
    }

    async fn visit(&mut self) {
        let address = *self.random.choice(&self.addresses).expect("two");
        let mut socket = within("a connection", TcpStream::connect(address))
            .await
            .expect("a connection");
        let (feed, id) = (self.feed, &self.id);
        let request = format!(
            "GET /feeds/moves.{feed} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {id}\r\n\r\n"
        );
        socket
            .write_all(request.as_bytes())
            .await
            .expect("the request is sent");
        let mut left = self.random.usize(1..20_000);
        let mut buffer = Vec::new();
        while left > 0 && self.seen < EVENTS / FEEDS {
            let mut bytes = vec![0; left.min(4096)];
            let read = socket.read(&mut bytes);
            let Ok(Ok(count)) = tokio::time::timeout(DEADLINE, read).await else {
                panic!("reader of feed {feed} waits after {}", self.id);
            };
            assert_ne!(count, 0, "the stream ended");
            left -= count;
            buffer.extend_from_slice(&bytes[..count]);
            while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = buffer.drain(..end + 2).collect();
                self.take(std::str::from_utf8(&block).expect("text"));
            }
        }
    }

    /// A block, with what HTTP has put before it.
    fn take(&mut self, block: &str) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let kind = field("event: ").unwrap_or("message");
        let id = field("id: ").expect("an id");
        match kind {
            "hub:position" => {}
            "message" => {
                let data: u64 = field("data: ").expect("data").parse().expect("a number");
                assert_eq!(data, self.seen * FEEDS + self.feed, "after {}", self.id);
                self.seen += 1;
            }
            kind => panic!("{kind}: {block}"),
        }
        self.id = id.to_owned();
    }
}
