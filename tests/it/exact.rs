//! Clients that change their form at any event, are cut at any byte, and go between replicas, while events are
//! published: each has every event once, in order.

use crate::call::post;
use crate::forms::{Form, Visit, client};
use crate::nats_server::{NatsServer, Version};
use crate::replica::{Receipt, Replica};
use crate::seed;
use fastrand::Rng;
use reqwest::Client;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;
use tidings::event::{Feed, Pattern, Patterns};
use tokio::task::JoinSet;

const READERS: usize = 24;
const BATCHES: usize = 40;
/// Events in each.
const BATCH: usize = 50;
const FEEDS: usize = 6;
const PATTERNS: [&[&str]; 5] = [
    &["x.*"],
    &["x.1"],
    &[">"],
    &["x.0", "x.3", "none"],
    &["x.*", "x.2", "*.4"],
];
/// All of it, on a slow machine.
const DEADLINE: Duration = Duration::from_secs(240);

/// An event as it was published, or was heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    id: String,
    feed: Feed,
    data: String,
}

/// Publishes to random feeds on random replicas, and returns all in the log's order.
async fn publish(replicas: &[Replica], rng: &mut Rng) -> Vec<Event> {
    let mut published = Vec::new();
    for batch in 0..BATCHES {
        let mut lines = String::new();
        let mut sent = Vec::new();
        for n in 0..BATCH {
            let padding = "x".repeat(rng.usize(..300));
            let feed = format!("x.{}", rng.usize(..FEEDS));
            let data = format!("{} {padding}", batch * BATCH + n);
            // Writing to a string can't fail.
            let _ = writeln!(lines, "{{\"feed\":\"{feed}\",\"data\":\"{data}\"}}");
            sent.push(data);
        }
        let replica = rng.choice(replicas).expect("there is one");
        published.extend(store(replica, lines, sent).await);
    }
    let replica = rng.choice(replicas).expect("there is one");
    let end = (0..FEEDS).map(|feed| format!("{{\"feed\":\"x.{feed}\",\"data\":\"end\"}}\n"));
    published.extend(store(replica, end.collect(), vec!["end".to_owned(); FEEDS]).await);
    let sequence = |event: &Event| event.id.parse::<tidings::event::Position>().expect("an id");
    published.sort_by_key(|event| sequence(event).sequence());
    published
}

async fn store(replica: &Replica, lines: String, sent: Vec<String>) -> Vec<Event> {
    let headers = [("Content-Type", "application/x-ndjson")];
    let answer = post(replica, "/feeds", &headers, lines).await;
    let receipts = answer
        .text
        .lines()
        .map(|line| serde_json::from_str::<Receipt>(line).expect("a receipt"));
    let event = |(receipt, data): (Receipt, String)| Event {
        id: receipt.id,
        feed: receipt.feed.parse().expect("a feed"),
        data,
    };
    let events: Vec<Event> = receipts.zip(sent.clone()).map(event).collect();
    assert_eq!(events.len(), sent.len());
    events
}

/// A client that forgets everything but the last id that it was told, and what it has heard.
struct Reader {
    client: Client,
    addresses: Vec<SocketAddr>,
    forms: &'static [Form],
    patterns: &'static [&'static str],
    rng: Rng,
    id: String,
    heard: Vec<(String, Option<String>, String)>,
}

impl Reader {
    async fn run(mut self, ends: usize) -> Self {
        while self.heard.iter().filter(|(.., data)| data == "end").count() < ends {
            self.visit(ends).await;
        }
        self
    }

    /// Up to the cut, the end of a page, a change of its mind, or the end of all.
    async fn visit(&mut self, ends: usize) {
        let address = self.rng.choice(&self.addresses).expect("one");
        let form = *self.rng.choice(self.forms).expect("one");
        let mut url = format!("http://{address}/feeds?_=");
        for pattern in self.patterns {
            url += &format!("&feed={}", pattern.replace('>', "%3E"));
        }
        let mut visit = Visit::begin(&self.client, &url, form, &self.id, &mut self.rng).await;
        if self.rng.u8(..4) > 0 {
            visit.cut_after(self.rng.usize(1..20_000));
        }
        for _ in 0..self.rng.usize(1..200) {
            let Some(told) = visit.next().await else {
                return;
            };
            self.id.clone_from(&told.id);
            match told.kind.as_str() {
                "hub:position" => {}
                "message" => {
                    let is_end = told.data == "end";
                    self.heard.push((told.id, told.feed, told.data));
                    let heard = self.heard.iter().rev().take(ends);
                    if is_end && heard.filter(|(.., data)| data == "end").count() == ends {
                        return;
                    }
                }
                kind => panic!("{kind} in {form:?}: {told:?}"),
            }
        }
    }

    fn check(&self, published: &[Event]) {
        let mine = set(self.patterns);
        let expected: Vec<&Event> = published
            .iter()
            .filter(|event| mine.matches(&event.feed))
            .collect();
        for (heard, expected) in self.heard.iter().zip(&expected) {
            let (id, feed, data) = heard;
            assert_eq!((id, data), (&expected.id, &expected.data));
            let feed = feed.as_deref();
            assert!(feed.is_none_or(|feed| feed == expected.feed.as_str()));
        }
        assert_eq!(self.heard.len(), expected.len());
    }
}

fn set(patterns: &[&str]) -> Patterns {
    let patterns: Vec<Pattern> = patterns.iter().map(|one| one.parse().unwrap()).collect();
    let count = patterns.len();
    Patterns::new(patterns, count).unwrap()
}

/// How many feeds these match, on each of which one last event comes.
fn ends(patterns: &[&str]) -> usize {
    let set = set(patterns);
    let feeds = (0..FEEDS).map(|feed| format!("x.{feed}").parse().unwrap());
    feeds.filter(|feed| set.matches(feed)).count()
}

async fn every_reader_has_every_event(replicas: &[Replica], forms: &'static [Form]) {
    let mut rng = seed::rng();
    let client = client();
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let reader = Reader {
            client: client.clone(),
            addresses: replicas.iter().map(|replica| replica.address).collect(),
            forms,
            patterns: PATTERNS[rng.usize(..PATTERNS.len())],
            rng: rng.fork(),
            id: "0-0".to_owned(),
            heard: Vec::new(),
        };
        let ends = ends(reader.patterns);
        readers.spawn(reader.run(ends));
    }
    let published = publish(replicas, &mut rng).await;
    let all = async {
        while let Some(reader) = readers.join_next().await {
            reader.expect("an exact record").check(&published);
        }
    };
    let all = tokio::time::timeout(DEADLINE, all).await;
    all.expect("every reader has every event in time");
}

/// Few enough events in the window that many a reader is behind it.
const SMALL_WINDOW: &str = "--window-events=300";

/// On one replica.
macro_rules! alone {
    ($($claim:ident: $forms:expr, $arguments:expr;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $claim() {
            let replica = Replica::start(&[&[SMALL_WINDOW][..], &$arguments].concat()).await;
            every_reader_has_every_event(&[replica], &$forms).await;
        })*
    };
}

alone! {
    in_json_lines: [Form::Lines], [];
    in_json_lines_by_the_http_library: [Form::Lines], ["--shards=0"];
    by_polling: [Form::Poll], [];
    over_websockets: [Form::WebSocket], [];
    in_all_forms_in_turn: Form::ALL, [];
    in_all_forms_in_turn_by_the_http_library: Form::ALL, ["--shards=0"];
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_all_forms_in_turn_from_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("text");
    let replica = Replica::start(&[SMALL_WINDOW, "--data", folder]).await;
    every_reader_has_every_event(&[replica], &Form::ALL).await;
}

on_both!(
    between_replicas_in_json_lines,
    between_replicas_by_polling,
    between_replicas_in_all_forms_in_turn,
);

async fn between_replicas(version: Version, forms: &'static [Form]) {
    let server = NatsServer::start(version);
    let url = server.url();
    let arguments = ["--nats", &url, SMALL_WINDOW];
    let one = Replica::start(&arguments).await;
    let other = Replica::start(&[&arguments[..], &["--shards", "0"]].concat()).await;
    every_reader_has_every_event(&[one, other], forms).await;
}

async fn between_replicas_in_json_lines(version: Version) {
    between_replicas(version, &[Form::Lines]).await;
}

async fn between_replicas_by_polling(version: Version) {
    between_replicas(version, &[Form::Poll]).await;
}

async fn between_replicas_in_all_forms_in_turn(version: Version) {
    between_replicas(version, &Form::ALL).await;
}
