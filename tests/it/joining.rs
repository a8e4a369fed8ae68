//! Joining is atomic: who joins or comes back while others publish flat out has each event once, in order.

use crate::replica::{Receipt, Replica, within};
use crate::seed;
use crate::sse::{Block, Stream};
use fastrand::Rng;
use futures::future::join_all;
use parking_lot::Mutex;
use reqwest::Client;
use std::sync::Arc;
use tidings::event::{Feed, Pattern, Position};
use tokio::sync::watch;

const READERS: usize = 200;
const PUBLISHERS: usize = 4;
/// How many events each publisher publishes.
const EVENTS: usize = 300;
const PATTERNS: [&[&str]; 6] = [
    &["x.*"],
    &["x.1"],
    &[">"],
    &["x.1", "x.3"],
    &["x.*", "x.2", "*.4"],
    &["x.0", "y.>"],
];

/// An event that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Published {
    id: Position,
    feed: String,
    data: String,
}

/// What has been published so far, in no particular order.
#[derive(Clone)]
struct Record {
    events: Arc<Mutex<Vec<Published>>>,
    count: watch::Sender<usize>,
    /// How many readers have joined.
    joined: watch::Sender<usize>,
}

impl Record {
    async fn publish(&self, client: &Client, replica: &Replica, feed: String, data: String) {
        let request = client.post(replica.url(&format!("/feeds/{feed}")));
        let response = request.body(data.clone()).send().await.expect("an answer");
        assert_eq!(response.status(), 201);
        let body = response.bytes().await.expect("a body");
        let receipt: Receipt = serde_json::from_slice(&body).expect("a receipt");
        let id = receipt.id.parse().expect("an id");
        self.events.lock().push(Published { id, feed, data });
        self.count.send_modify(|count| *count += 1);
    }

    fn some_id(&self, rng: &mut Rng) -> Position {
        let events = self.events.lock();
        rng.choice(&*events)
            .map_or(Position::START, |event| event.id)
    }
}

/// What a reader was sent: where it joined, and every event since then.
struct Heard {
    patterns: &'static [&'static str],
    joined: Position,
    events: Vec<(Position, String)>,
}

async fn read(client: Client, replica: &Replica, record: Record, mut rng: Rng) -> Heard {
    let patterns = PATTERNS[rng.usize(..PATTERNS.len())];
    let mut url = replica.url("/feeds?feed=end");
    for pattern in patterns {
        url += &format!("&feed={}", pattern.replace('>', "%3E"));
    }
    let wanted = rng.usize(..PUBLISHERS * EVENTS);
    let mut count = record.count.subscribe();
    count
        .wait_for(|count| *count >= wanted)
        .await
        .expect("the record");
    let start = match rng.u8(..4) {
        0 => "after=now".to_owned(),
        1 => "after=start".to_owned(),
        2 => format!("last={}", rng.u8(..20)),
        _ => format!("after={}", record.some_id(&mut rng)),
    };
    let (mut stream, first) = Stream::begin(client.get(format!("{url}&{start}"))).await;
    let joined = position(&first);
    record.joined.send_modify(|joined| *joined += 1);
    let mut heard = Heard {
        patterns,
        joined,
        events: Vec::new(),
    };
    let mut last = first.id;
    loop {
        for _ in 0..=rng.usize(..200) {
            let event = stream.event().await;
            last.clone_from(&event.id);
            let is_end = event.data == "end";
            heard.events.push((position(&event), event.data));
            if is_end {
                return heard;
            }
        }
        let again = client.get(&url).header("Last-Event-ID", &last);
        stream = Stream::begin(again).await.0;
    }
}

fn position(block: &Block) -> Position {
    block.id.parse().expect("an id")
}

fn expected(published: &[Published], heard: &Heard) -> Vec<(Position, String)> {
    let patterns: Vec<Pattern> = heard
        .patterns
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    let is_for = |event: &&Published| {
        let feed: Feed = event.feed.parse().unwrap();
        event.id.sequence() > heard.joined.sequence()
            && (event.feed == "end" || patterns.iter().any(|pattern| pattern.matches(&feed)))
    };
    let of = |event: &Published| (event.id, event.data.clone());
    published.iter().filter(is_for).map(of).collect()
}

async fn nothing_is_missed_or_repeated(arguments: &[&str]) {
    let mut rng = seed::rng();
    let replica = Replica::start(arguments).await;
    let client = Client::new();
    let record = Record {
        events: Arc::default(),
        count: watch::Sender::new(0),
        joined: watch::Sender::new(0),
    };
    let readers = (0..READERS).map(|_| read(client.clone(), &replica, record.clone(), rng.fork()));
    let readers = join_all(readers.collect::<Vec<_>>());
    let publishers = (0..PUBLISHERS).map(|publisher| {
        let (client, replica, record) = (client.clone(), &replica, record.clone());
        async move {
            for n in 0..EVENTS {
                let feed = format!("x.{}", (publisher + n) % 6);
                let data = format!("{publisher}/{n}");
                record.publish(&client, replica, feed, data).await;
            }
        }
    });
    let publishing = async {
        join_all(publishers.collect::<Vec<_>>()).await;
        // Who joins after the end would wait for it for ever.
        let mut joined = record.joined.subscribe();
        let all = joined.wait_for(|joined| *joined == READERS);
        within("all readers to join", all)
            .await
            .expect("the record");
        record
            .publish(&client, &replica, "end".to_owned(), "end".to_owned())
            .await;
    };
    let (heard, ()) = tokio::join!(readers, publishing);
    let mut published = record.events.lock().clone();
    published.sort_by_key(|event| event.id.sequence());
    for heard in heard {
        let expected = expected(&published, &heard);
        assert_eq!(
            heard.events, expected,
            "{:?} after {}",
            heard.patterns, heard.joined
        );
    }
}

/// Few enough events in the window that many a reader begins behind it.
const SMALL_WINDOW: [&str; 2] = ["--window-events", "50"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_window() {
    nothing_is_missed_or_repeated(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_behind_the_window() {
    nothing_is_missed_or_repeated(&SMALL_WINDOW).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_behind_the_window_by_the_http_library() {
    nothing_is_missed_or_repeated(&[&SMALL_WINDOW[..], &["--shards", "0"]].concat()).await;
}
