//! Events that try to be more than one, or to speak for another, by each way in and in each of their fields. Whatever is
//! taken comes as the one event that it is, in every form.

use super::Healthy;
use crate::forms::{self, Form, Told, Visit};
use crate::nats_server::{NatsServer, Version};
use crate::replica::{Replica, within};
use crate::unreadable::RawPublisher;
use crate::websocket::Client as Socket;
use fastrand::Rng;
use reqwest::Client;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

on_both!(no_header_of_nats_makes_another_event_of_one);

const TEXTS: [&str; 23] = [
    "a\nid: 1-aaaaaa",
    "a\rid: 1-aaaaaa",
    "a\r\n\r\nevent: hub:reset\r\ndata: {}\r\n\r\n",
    "a\n\nevent: hub:closing\ndata: {\"reason\":\"drain\"}\n\n",
    "\nretry: 1\n",
    "a\0b",
    "a\u{85}data: x",
    "a\u{2028}id: 1-aaaaaa",
    "a\u{2029}id: 1-aaaaaa",
    "a\u{b}b\u{c}c\u{1c}d\u{1e}e",
    "\",\"id\":\"1-aaaaaa\",\"x\":\"",
    "\\\",\"feed\":\"other\",\"x\":\"",
    "\"}\n{\"id\":\"1-aaaaaa\",\"type\":\"x\",\"data\":1}\n",
    "\\u000aid: 1-aaaaaa",
    "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "hub:closing",
    "HUB:closing",
    " hub:closing",
    "\u{feff}hub:closing",
    "error",
    "id: 1-aaaaaa",
    ": x",
    "\u{202e}gnihtyna\u{1f4a5}",
];

/// What is published: in JSON with these names, and in headers with those beside them.
const FIELDS: [(&str, &str); 4] = [
    ("type", "Event-Type"),
    ("key", "Event-Key"),
    ("content_type", "Content-Type"),
    ("idempotency_key", "Idempotency-Key"),
];

/// Events that were taken.
struct Taken(Vec<Told>);

impl Taken {
    /// Counts what was answered with an id as taken.
    fn add(&mut self, answer: &Value, kind: &str, data: &str) {
        let Some(id) = answer["id"].as_str() else {
            let status = answer["status"].as_u64().expect("a status");
            assert!(matches!(status, 400 | 422), "{answer}");
            return;
        };
        // An idempotency key whose spaces go with a header is one that was there.
        if self.0.iter().any(|told| told.id == id) {
            return;
        }
        self.0.push(Told {
            kind: kind.to_owned(),
            id: id.to_owned(),
            feed: answer["feed"].as_str().map(str::to_owned),
            data: data.replace("\r\n", "\n").replace('\r', "\n"),
        });
    }
}

/// The events that can be made with these texts, as JSON. No key is that of another way in.
fn events(way: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for text in TEXTS {
        for (field, _) in FIELDS {
            let mut event = json!({"feed": "loot.a", "data": format!("{field} {text}"), "content_type": "text/plain"});
            event[field] = match field {
                "idempotency_key" => json!(format!("{text}{way}")),
                _ => json!(text),
            };
            all.push(event);
        }
        all.push(json!({"feed": format!("loot.{text}"), "data": text}));
        all.push(json!({"feed": "loot.a", "data": {"text": text}}));
    }
    all
}

/// The type that an event has, and its data as text.
fn kind_and_data(event: &Value) -> (&str, String) {
    let kind = event["type"].as_str().unwrap_or("message");
    let data = event["data"].as_str().map(str::to_owned);
    (kind, data.unwrap_or_else(|| event["data"].to_string()))
}

async fn by_headers(replica: &Replica, taken: &mut Taken) {
    let client = Client::new();
    for text in TEXTS {
        for (field, name) in FIELDS {
            // A CR, LF or NUL can't be written there; the claims about publishes try it by hand.
            let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) else {
                continue;
            };
            let data = format!("{name} {text}");
            let request = client.post(replica.url("/feeds/loot.a")).body(data.clone());
            let request = match name {
                "Content-Type" => request,
                _ => request.header("Content-Type", "text/plain"),
            };
            let answer = within("an answer", request.header(name, value).send()).await;
            let body = answer.expect("an answer").text().await.expect("a body");
            let answer = serde_json::from_str(&body).expect("JSON");
            let kind = if field == "type" { text } else { "message" };
            taken.add(&answer, kind, &data);
        }
    }
}

async fn by_lines(replica: &Replica, taken: &mut Taken) {
    let events = events("line");
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    let request = Client::new().post(replica.url("/feeds")).body(lines);
    let request = request.header("Content-Type", "application/x-ndjson");
    let answer = within("an answer", request.send()).await;
    let body = answer.expect("an answer").text().await.expect("a body");
    assert_eq!(body.lines().count(), events.len());
    for (event, answer) in events.iter().zip(body.lines()) {
        let (kind, data) = kind_and_data(event);
        taken.add(&serde_json::from_str(answer).expect("JSON"), kind, &data);
    }
}

async fn by_messages(replica: &Replica, taken: &mut Taken) {
    let mut socket = Socket::connect(replica).await;
    for (n, mut event) in events("message").into_iter().enumerate() {
        event["op"] = json!("publish");
        event["ref"] = json!(n);
        let answer = socket.ask(event.clone()).await;
        let (kind, data) = kind_and_data(&event);
        let answer = if answer["error"].is_null() {
            &answer["result"]
        } else {
            &answer["error"]
        };
        taken.add(answer, kind, &data);
    }
}

/// All that is told of the feeds in this form, up to the event of type `end`.
async fn read(replica: &Replica, form: Form) -> Vec<Told> {
    let (client, mut rng) = (forms::client(), Rng::with_seed(7));
    let url = replica.url("/feeds?feed=loot.%3E&after=start");
    let (mut all, mut id) = (Vec::new(), String::new());
    loop {
        let url = if id.is_empty() {
            &url[..]
        } else {
            url.trim_end_matches("&after=start")
        };
        let mut visit = Visit::begin(&client, url, form, &id, &mut rng).await;
        while let Some(told) = visit.next().await {
            id.clone_from(&told.id);
            match &*told.kind {
                "hub:position" => {}
                "end" => return all,
                _ => all.push(told),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_field_makes_another_event_of_one() {
    let replica = Replica::start(&[]).await;
    let mut healthy = Healthy::connect(replica.address).await;
    let mut taken = Taken(Vec::new());
    healthy
        .beside(async {
            by_headers(&replica, &mut taken).await;
            by_lines(&replica, &mut taken).await;
            by_messages(&replica, &mut taken).await;
            let end = Client::new()
                .post(replica.url("/feeds/loot.end"))
                .header("Event-Type", "end");
            assert_eq!(end.send().await.expect("an answer").status(), 201);
        })
        .await;
    assert!(taken.0.len() > 100);
    for form in Form::ALL {
        let read = read(&replica, form).await;
        assert_eq!(read.len(), taken.0.len(), "{form:?}");
        for (read, taken) in read.iter().zip(&taken.0) {
            assert_eq!((&read.id, &read.kind), (&taken.id, &taken.kind), "{form:?}");
            let data = read.data.replace("\r\n", "\n").replace('\r', "\n");
            assert_eq!(data, taken.data, "{form:?}");
            assert!(read.feed.is_none() || read.feed == taken.feed, "{form:?}");
        }
    }
}

async fn no_header_of_nats_makes_another_event_of_one(version: Version) {
    let server = NatsServer::start(version);
    let replica = Replica::start(&["--nats", &server.url()]).await;
    let mut publisher = RawPublisher::connect(&server).await;
    let names = [
        "Event-Type",
        "Event-Key",
        "Content-Type",
        "Tidings-Sender",
        "Tidings-Connection",
        "ce-type",
        "ce-id",
        "ce-datacontenttype",
    ];
    let mut expected = Vec::new();
    for text in TEXTS {
        let encoded = text
            .replace('\n', "%0A")
            .replace('\r', "%0D")
            .replace('\0', "%00");
        for (name, text) in names
            .iter()
            .flat_map(|name| [(name, text), (name, &encoded)])
        {
            let headers = format!("NATS/1.0\r\n{name}: {text}\r\n\r\n");
            let data = expected.len().to_string();
            publisher
                .publish(b"feeds.loot.a", headers.as_bytes(), &data)
                .await;
            expected.push(data);
        }
    }
    let end = b"NATS/1.0\r\nEvent-Type: end\r\n\r\n";
    publisher.publish(b"feeds.loot.b", end, "").await;
    for form in Form::ALL {
        let read = read(&replica, form).await;
        let data: Vec<_> = read.iter().map(|told| told.data.clone()).collect();
        assert_eq!(data, expected, "{form:?}");
        for told in read {
            assert!(
                !told.kind.starts_with("hub:") && told.kind != "error",
                "{told:?}"
            );
            assert!(
                told.feed.as_deref().is_none_or(|feed| feed == "loot.a"),
                "{told:?}"
            );
        }
    }
}
