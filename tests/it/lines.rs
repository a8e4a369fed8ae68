//! JSON lines (NDJSON): the stream of envelopes, whatever serves it.

use crate::call::{get, post};
use crate::nats_server::{NatsServer, Version};
use crate::raw::Raw;
use crate::replica::{Replica, within};
use crate::stalled::{connect, counted, readers};
use reqwest::{Client, Response, Version as Http};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

on_both!(an_event_over_the_limit_is_a_line_of_its_own);

/// By which version of HTTP a client asks, and whether shards serve it where they can.
#[derive(Clone, Copy, Debug)]
struct Way {
    version: Http,
    shards: &'static str,
}

/// Runs each claim on sockets that shards serve, and on those that the HTTP library does.
macro_rules! all_ways {
    ($($claim:ident),* $(,)?) => {
        all_ways!(handed_off, HTTP_11, "2", $($claim),*);
        all_ways!(by_hyper, HTTP_11, "0", $($claim),*);
        all_ways!(http_1_0, HTTP_10, "2", $($claim),*);
        all_ways!(http_2, HTTP_2, "2", $($claim),*);
    };
    ($name:ident, $version:ident, $shards:literal, $($claim:ident),*) => {
        mod $name {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                let way = super::Way { version: reqwest::Version::$version, shards: $shards };
                super::$claim(way).await;
            })*
        }
    };
}

all_ways!(
    the_first_line_is_where_it_begins_and_the_last_why_it_ends,
    an_envelope_is_byte_for_byte_that_of_server_sent_events,
    signs_of_life_are_json_lines_too,
    gaps_and_resets_are_lines,
);

/// A stream's body, as it is read.
struct Lines {
    response: Response,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line without its end; `None` at the stream's end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                return Some(String::from_utf8(line).expect("UTF-8"));
            }
            let chunk = within("the next line", self.response.chunk()).await;
            match chunk.expect("a whole body") {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => {
                    assert!(self.buffer.is_empty(), "the last line ends");
                    return None;
                }
            }
        }
    }

    async fn json(&mut self) -> Value {
        let line = self.next().await.expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The next line that is no `hub:position`.
    async fn event(&mut self) -> Value {
        within("an event", async {
            loop {
                let line = self.json().await;
                if line["type"] != "hub:position" {
                    return line;
                }
            }
        })
        .await
    }
}

impl Way {
    async fn replica(self, arguments: &[&str]) -> Replica {
        Replica::start(&[&["--shards", self.shards], arguments].concat()).await
    }

    async fn ask(self, replica: &Replica, path: &str, accept: &str) -> Lines {
        let client = match self.version == Http::HTTP_2 {
            true => Client::builder().http2_prior_knowledge(),
            false => Client::builder(),
        };
        let request = client.build().unwrap().get(replica.url(path));
        let request = request.version(self.version).header("Accept", accept);
        let response = within("the head", request.send()).await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], accept);
        Lines {
            response,
            buffer: Vec::new(),
        }
    }

    async fn lines(self, replica: &Replica, path: &str) -> Lines {
        self.ask(replica, path, "application/x-ndjson").await
    }
}

async fn the_first_line_is_where_it_begins_and_the_last_why_it_ends(way: Way) {
    let replica = way.replica(&[]).await;
    let first = replica.publish("a", "1").await;
    let mut lines = way.lines(&replica, "/feeds/a").await;
    let headers = lines.response.headers();
    assert_eq!(headers["cache-control"], "no-store, no-transform");
    assert_eq!(headers["x-accel-buffering"], "no");
    let opening = format!("{{\"type\":\"hub:position\",\"id\":\"{first}\",\"data\":{{}}}}");
    assert_eq!(lines.next().await, Some(opening));
    let last = replica.publish("a", "2").await;
    assert_eq!(lines.json().await["id"], last.to_string());
    let ending = tokio::spawn(replica.stop());
    let closing =
        format!("{{\"type\":\"hub:closing\",\"id\":\"{last}\",\"data\":{{\"reason\":\"drain\"}}}}");
    assert_eq!(lines.next().await, Some(closing));
    assert_eq!(lines.next().await, None);
    within("the end", ending).await.unwrap();
}

const TEXT: &str = "text/plain";
const JSON: &str = "application/json";

/// Data, its content type and the event's type.
fn hostile() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let mut events: Vec<(Vec<u8>, &str, &str)> = [
        "",
        "plain",
        "\n",
        "\r\n\r\n",
        "a\rb\nc",
        "\0\u{1}\u{7f}",
        "\u{2028}\u{2029}\u{85}",
        "\u{feff}bom",
        "öäü 😀",
        "\"quoted\\\"",
        "{\"type\":\"hub:closing\"}\n{\"id\":\"9-aaaaaa\"}",
        "</script>",
        "id: 1-zzzzzz\n\ndata: x\n\n",
    ]
    .map(|data| (data.into(), TEXT, "message"))
    .into();
    events.extend([
        (
            b"{ \"n\" :\n 1,\r\n\t\"deep\": [[[]]] }".to_vec(),
            JSON,
            "created",
        ),
        (b"1e999".to_vec(), JSON, "message"),
        (b"\"\\ud800\"".to_vec(), JSON, "message"),
        (b"{\"a\":1,\"a\":2}".to_vec(), JSON, "message"),
        (vec![b'['; 500], JSON, "message"),
        (
            vec![0xff, 0xfe, 0x00, b'\n', 0xc3],
            "application/octet-stream",
            "message",
        ),
        (b"a".to_vec(), TEXT, "order.created/v1"),
        (b"a".to_vec(), TEXT, "\"quoted\""),
        (b"a".to_vec(), TEXT, "\u{e4}nderung-\u{1f600}"),
        (vec![b'x'; 900_000], TEXT, "message"),
    ]);
    events
}

async fn an_envelope_is_byte_for_byte_that_of_server_sent_events(way: Way) {
    let replica = way.replica(&[]).await;
    let mut lines = way.lines(&replica, "/feeds/a").await;
    let path = "/feeds/a?envelope=1";
    let mut events = way.ask(&replica, path, "text/event-stream").await;
    lines.next().await;
    for (data, content, kind) in hostile() {
        let headers = [
            ("Content-Type", content),
            ("Event-Type", kind),
            ("Event-Key", kind),
        ];
        let answer = post(&replica, "/feeds/a", &headers, data).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let line = lines.next().await.expect("a line");
        let mut wrapped = None;
        while wrapped.is_none() {
            let next = events.next().await.expect("a line");
            wrapped = next
                .strip_prefix("data: ")
                .filter(|data| *data != "{}")
                .map(str::to_owned);
        }
        assert_eq!(Some(&line), wrapped.as_ref());
        let event: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            (&event["id"], &event["type"]),
            (&answer.json()["id"], &kind.into())
        );
    }
}

async fn signs_of_life_are_json_lines_too(way: Way) {
    let replica = way.replica(&["--heartbeat", "1"]).await;
    let mut lines = way.lines(&replica, "/feeds/a").await;
    let opening = lines.json().await;
    let moved = replica.publish("b", "for others").await.to_string();
    // As often as there was nothing new when its time came.
    let mut line = lines.json().await;
    while line == opening {
        line = lines.json().await;
    }
    let expected = json!({"type": "hub:position", "id": moved, "data": {}});
    assert_eq!(line, expected);
    assert_eq!(lines.json().await, expected);
}

async fn gaps_and_resets_are_lines(way: Way) {
    let limits = ["--window-events", "2", "--memory-events", "4"];
    let replica = way.replica(&limits).await;
    let first = replica.publish("a", "1").await.to_string();
    let mut ids = Vec::new();
    for n in 2..=9 {
        ids.push(replica.publish("a", format!("a{n}")).await.to_string());
    }
    let mut lines = way
        .lines(&replica, &format!("/feeds/a?after={first}"))
        .await;
    let gap = lines.event().await;
    let data = json!({"after": first, "before": ids[4], "reason": "expired"});
    assert_eq!(
        gap,
        json!({"type": "hub:gap", "id": gap["id"], "data": data})
    );
    assert_eq!(lines.event().await["data"], "a6");
    let gap = gap["id"].as_str().expect("an id");
    let mut again = way.lines(&replica, &format!("/feeds/a?after={gap}")).await;
    assert_eq!(again.event().await["data"], "a6");
    let mut reset = way.lines(&replica, "/feeds/a?after=nonsense").await;
    let opening = json!({"type": "hub:position", "id": "0-000000", "data": {}});
    assert_eq!(reset.json().await, opening);
    let told = reset.json().await;
    assert_eq!(
        told,
        json!({"type": "hub:reset", "id": told["id"], "data": {}})
    );
    assert_eq!(reset.event().await["data"], "a6");
}

async fn an_event_over_the_limit_is_a_line_of_its_own(version: Version) {
    let server = NatsServer::start(version);
    let arguments = ["--nats", &server.url(), "--max-event-bytes", "10"];
    let replica = Replica::start(&arguments).await;
    let way = Way {
        version: Http::HTTP_11,
        shards: "1",
    };
    let mut lines = way.lines(&replica, "/feeds/a").await;
    let jetstream = async_nats::jetstream::new(server.client().await);
    for data in ["before", "much more than ten bytes", "after"] {
        let sent = jetstream.publish("feeds.a", data.into()).await;
        sent.expect("it is sent").await.expect("it is stored");
    }
    let before = lines.event().await;
    let gap = lines.event().await;
    let data = json!({"after": before["id"], "before": gap["id"], "reason": "limit"});
    assert_eq!(
        gap,
        json!({"type": "hub:gap", "id": gap["id"], "data": data})
    );
    assert_eq!(lines.event().await["data"], "after");
}

#[tokio::test]
async fn who_can_not_be_served_now_is_told_so_by_a_status() {
    let replica = Replica::start(&["--max-streams", "0"]).await;
    let headers = [("Accept", "application/x-ndjson")];
    let answer = get(&replica, "/feeds/a", &headers).await;
    answer.problem(503);
    assert_eq!(answer.header("tidings-refused"), Some("overload"));
    assert!(answer.header("retry-after").is_some());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nats = format!("nats://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let replica = Replica::start_unready(&["--nats", &nats]);
    let answer = get(&replica, "/feeds/a", &headers).await;
    answer.problem(503);
    assert_eq!(answer.header("tidings-refused"), Some("starting"));
}

/// The bytes of a chunked body too, since a shard writes them itself.
#[tokio::test]
async fn each_line_is_a_chunk_of_its_own_and_the_last_one_ends_the_body() {
    for shards in ["0", "1"] {
        let replica = Replica::start(&["--shards", shards]).await;
        let request = format!(
            "GET /feeds/a HTTP/1.1\r\nHost: {}\r\nAccept: application/x-ndjson\r\n\r\n",
            replica.address
        );
        let mut raw = Raw::send(replica.address, &request).await;
        assert_eq!(raw.head().await.status, "HTTP/1.1 200 OK");
        let opening = raw.chunk().await.expect("a chunk");
        assert_eq!(
            opening,
            b"{\"type\":\"hub:position\",\"id\":\"0-0\",\"data\":{}}\n"
        );
        replica.publish("a", "x").await;
        let event = raw.chunk().await.expect("a chunk");
        assert!(event.ends_with(b",\"data\":\"x\"}\n"));
        let ending = tokio::spawn(replica.stop());
        let closing = raw.chunk().await.expect("a chunk");
        assert!(closing.starts_with(b"{\"type\":\"hub:closing\","));
        assert_eq!(raw.chunk().await, None);
        within("the end", ending).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stalls_is_closed_and_counted() {
    for (shards, version) in [("2", "1.1"), ("0", "1.1"), ("2", "1.0")] {
        let arguments = ["--stall-timeout", "1", "--shards", shards];
        let replica = Replica::start(&arguments).await;
        let mut client = connect(&replica).await;
        let request = format!(
            "GET /feeds/a HTTP/{version}\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        readers(&replica, 1).await;
        for n in 0..30 {
            replica
                .publish("a", format!("{n} {}", "x".repeat(100_000)))
                .await;
        }
        counted(&replica, 1).await;
        readers(&replica, 0).await;
    }
}
