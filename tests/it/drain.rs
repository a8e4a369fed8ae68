//! A replica that is told to end closes its streams one after the other, and serves all until then.

use crate::call::{get, post};
use crate::nats_server::{NatsServer, Version};
use crate::replica::{Replica, within};
use crate::sse::{Block, Stream};
use reqwest::Client;
use std::collections::BTreeSet;
use tokio::task::JoinHandle;

/// How clients ask for their streams, and what serves these.
#[derive(Clone, Copy)]
struct Way {
    http2: bool,
    shards: &'static str,
}

impl Way {
    /// A reader of everything that keeps what it gets, up to its stream's end.
    async fn read(self, replica: &Replica) -> JoinHandle<Vec<Block>> {
        let client = match self.http2 {
            true => Client::builder().http2_prior_knowledge(),
            false => Client::builder(),
        };
        let request = client.build().unwrap().get(replica.url("/feeds/a"));
        let (mut stream, first) = Stream::begin(request).await;
        tokio::spawn(async move {
            let mut blocks = vec![first];
            while let Some(block) = stream.next().await {
                blocks.push(block);
            }
            blocks
        })
    }

    async fn streams_are_closed_one_after_the_other_and_served_until_then(self) {
        let arguments = ["--drain=5", "--retry=100000", "--shards", self.shards];
        let mut replica = Replica::start(&arguments).await;
        let mut readers = Vec::new();
        for _ in 0..READERS {
            readers.push(self.read(&replica).await);
        }
        let before = replica.publish("a", "before").await.to_string();
        replica.drain();
        while replica.hub().usage().readers == READERS {
            tokio::task::yield_now().await;
        }
        let after = replica.publish("a", "after").await.to_string();
        replica.ended().await;
        let mut retries = BTreeSet::new();
        let mut both = 0;
        for reader in readers {
            let blocks = within("its end", reader).await.unwrap();
            let events: Vec<&Block> = blocks
                .iter()
                .filter(|one| one.kind != "hub:position")
                .collect();
            let (closing, events) = events.split_last().expect("a closing");
            let closed = (closing.kind.as_str(), closing.data.as_str());
            assert_eq!(closed, ("hub:closing", r#"{"reason":"drain"}"#));
            retries.insert(closing.retry.expect("when to come back"));
            let data: Vec<&str> = events.iter().map(|one| one.data.as_str()).collect();
            let last = match *data {
                ["before"] => &before,
                ["before", "after"] => &after,
                _ => panic!("{blocks:?}"),
            };
            assert_eq!(closing.id, *last);
            both += usize::from(last == &after);
        }
        assert!(0 < both && both < READERS, "{both} had both");
        assert!(retries.len() > 1, "{retries:?}");
    }
}

const READERS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_shards_are_closed_one_after_the_other_and_served_until_then() {
    let (http2, shards) = (false, "2");
    let way = Way { http2, shards };
    way.streams_are_closed_one_after_the_other_and_served_until_then()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_too() {
    let (http2, shards) = (false, "0");
    let way = Way { http2, shards };
    way.streams_are_closed_one_after_the_other_and_served_until_then()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_over_http_2_too() {
    let (http2, shards) = (true, "2");
    let way = Way { http2, shards };
    way.streams_are_closed_one_after_the_other_and_served_until_then()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_streams_are_open_probes_are_told_and_new_streams_come_back_elsewhere() {
    let mut replica = Replica::start(&["--drain=3600"]).await;
    let (mut stream, _) = Stream::open(&replica, "/feeds/a").await;
    let id = replica.publish("a", "before").await.to_string();
    replica.drain();
    let readyz = async || get(&replica, "/readyz", &[]).await;
    within("readiness to be off", async {
        while readyz().await.status == 200 {}
    })
    .await;
    let answer = readyz().await;
    assert_eq!(
        (answer.status, answer.json()["status"].as_str()),
        (503, Some("draining"))
    );
    assert_eq!(get(&replica, "/livez", &[]).await.status, 200);
    let headers = [("Last-Event-ID", id.as_str())];
    let refused = get(&replica, "/feeds/a", &headers).await;
    assert_eq!(refused.status, 200);
    assert_eq!(refused.header("tidings-refused"), Some("drain"));
    assert_eq!(refused.header("connection"), Some("close"));
    let closing = format!("event: hub:closing\nid: {id}\ndata: {{\"reason\":\"drain\"}}\n\n");
    assert!(refused.text.ends_with(&closing), "{refused:?}");
    assert_eq!(post(&replica, "/feeds/a", &[], "after").await.status, 201);
    assert_eq!(stream.data(2).await, ["before", "after"]);
    // Once the last stream has ended nothing is waited for.
    drop(stream);
    replica.ended().await;
}

#[tokio::test]
async fn without_streams_it_ends_at_once() {
    let mut replica = Replica::start(&["--drain=3600"]).await;
    replica.drain();
    replica.ended().await;
}

#[tokio::test]
async fn one_that_does_not_read_holds_it_up_for_no_longer_than_the_drain_time() {
    for shards in ["0", "1"] {
        let arguments = ["--drain=1", "--stall-timeout=3600", "--shards", shards];
        let mut replica = Replica::start(&arguments).await;
        let (_stream, _) = Stream::open(&replica, "/feeds/a").await;
        for _ in 0..20 {
            replica.publish("a", "x".repeat(900_000)).await;
        }
        let hub = replica.hub().clone();
        assert_eq!(hub.usage().readers, 1);
        replica.drain();
        replica.ended().await;
        // It is cut off, and not left to others.
        within("the reader to be gone", hub.vacant()).await;
    }
}

on_both!(a_reader_whose_replicas_end_one_after_the_other_gets_every_event_once);

async fn a_reader_whose_replicas_end_one_after_the_other_gets_every_event_once(version: Version) {
    let server = NatsServer::start(version);
    let arguments = ["--nats", &server.url(), "--drain=5"];
    let mut first = Replica::start(&arguments).await;
    let second = Replica::start(&arguments).await;
    let way = Way {
        http2: false,
        shards: "1",
    };
    let mut readers = Vec::new();
    for _ in 0..10 {
        readers.push(way.read(&first).await);
    }
    let mut published = Vec::new();
    first.drain();
    // Until the last is gone, and some more.
    while first.hub().usage().readers > 0 || published.len() < 20 {
        let n = published.len().to_string();
        second.publish("a", n.clone()).await;
        published.push(n);
    }
    first.ended().await;
    for reader in readers {
        let mut blocks = within("its end", reader).await.unwrap();
        let closing = blocks.pop().expect("a closing");
        assert_eq!(closing.kind, "hub:closing");
        let events = blocks.into_iter().filter(|one| one.kind == "message");
        let mut data: Vec<String> = events.map(|event| event.data).collect();
        let (mut stream, _) = Stream::resume(&second, "/feeds/a", &closing.id).await;
        data.extend(stream.data(published.len() - data.len()).await);
        assert_eq!(data, published);
    }
}
