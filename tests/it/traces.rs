//! Traces go with events and requests to backends, and logs tell of them, and of each stream's end.

use crate::call::post;
use crate::nats_server::{NatsServer, Version};
use crate::program::Program;
use crate::replica::{Replica, within};
use crate::sse::Stream;
use crate::websocket::Client;
use async_nats::HeaderMap;
use futures::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use tidings::event::Event;
use tidings::log::{Limit, Range, Select};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const STATE: &str = "congo=t61rcWkgMzE";

/// The events of a replica's log.
async fn events(replica: &Replica) -> Vec<Arc<Event>> {
    let log = replica.hub().log();
    let range = Range {
        after: 0,
        through: log.bounds().await.expect("its bounds").last.sequence(),
    };
    let limit = Limit {
        events: 100,
        bytes: 1 << 20,
    };
    let read = log.read(range, &Select::All, limit).await;
    read.expect("the events").events
}

/// The traces that they bear.
async fn traces(replica: &Replica) -> Vec<Option<(String, Option<String>)>> {
    let owned = |event: &Arc<Event>| {
        let trace = event.message.trace.as_ref()?;
        Some((trace.parent().to_owned(), trace.state().map(str::to_owned)))
    };
    events(replica).await.iter().map(owned).collect()
}

fn trace(parent: &str, state: Option<&str>) -> Option<(String, Option<String>)> {
    Some((parent.to_owned(), state.map(str::to_owned)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_stays_with_its_event_in_every_log_and_what_is_none_is_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    let servers = [Version::V2_9, Version::V2_15].map(NatsServer::start);
    let urls = servers.each_ref().map(NatsServer::url);
    for log in [
        &[][..],
        &["--data", path],
        &["--nats", &urls[0]],
        &["--nats", &urls[1]],
    ] {
        let replica = Replica::start(log).await;
        let (mut stream, _) = Stream::open(&replica, "/feeds/a?envelope=1").await;
        let both = [("traceparent", PARENT), ("tracestate", STATE)];
        post(&replica, "/feeds/a", &both, "1").await;
        let bad_state = [("traceparent", PARENT), ("tracestate", "?")];
        post(&replica, "/feeds/a", &bad_state, "2").await;
        let bad = [("traceparent", &PARENT[1..]), ("tracestate", STATE)];
        assert_eq!(post(&replica, "/feeds/a", &bad, "3").await.status, 201);
        let kind = [
            ("content-type", "application/x-ndjson"),
            ("traceparent", PARENT),
        ];
        let lines = format!("{{\"feed\":\"a\"}}\n{{\"feed\":\"a\",\"traceparent\":\"{OTHER}\"}}\n");
        post(&replica, "/feeds", &kind, lines).await;
        let expected = [
            trace(PARENT, Some(STATE)),
            trace(PARENT, None),
            None,
            trace(PARENT, None),
            trace(OTHER, None),
        ];
        assert_eq!(traces(&replica).await, expected, "{log:?}");
        // Readers are told what they always were.
        let block = stream.next().await.expect("the event");
        let envelope: Value = serde_json::from_str(&block.data).expect("JSON");
        assert!(envelope.get("traceparent").is_none() && envelope.get("trace").is_none());
        assert!(!block.data.contains(&PARENT[3..35]), "{}", block.data);
        replica.stop().await;
    }
    // It is read again from the disk.
    let replica = Replica::start(&["--data", path]).await;
    assert_eq!(traces(&replica).await[0], trace(PARENT, Some(STATE)));
}

on_both!(
    a_trace_is_taken_from_and_given_to_nats,
    a_backend_gets_the_trace_of_a_request,
);

async fn a_trace_is_taken_from_and_given_to_nats(version: Version) {
    let server = NatsServer::start(version);
    let replica = Replica::start(&["--nats", &server.url()]).await;
    let backend = server.client().await;
    let mut heard = backend.subscribe("feeds.>").await.expect("a subscription");
    let mut headers = HeaderMap::new();
    headers.insert("Traceparent", PARENT);
    headers.insert("tracestate", STATE);
    let sent = backend.request_with_headers("feeds.a", headers, "1".into());
    within("it to be stored", sent).await.expect("it is stored");
    within("the event", heard.next()).await.expect("itself");
    let both = [("traceparent", OTHER), ("tracestate", STATE)];
    post(&replica, "/feeds/a", &both, "2").await;
    assert_eq!(
        traces(&replica).await,
        [trace(PARENT, Some(STATE)), trace(OTHER, Some(STATE))]
    );
    let message = within("the event", heard.next()).await.expect("a message");
    let headers = message.headers.expect("headers");
    assert_eq!(headers.get("traceparent").expect("it").as_str(), OTHER);
    assert_eq!(headers.get("tracestate").expect("it").as_str(), STATE);
}

async fn a_backend_gets_the_trace_of_a_request(version: Version) {
    let server = NatsServer::start(version);
    let replica = Replica::start(&["--nats", &server.url()]).await;
    let backend = server.client().await;
    let mut requests = backend.subscribe("requests.a").await.expect("it");
    backend.flush().await.expect("it is heard");
    let mut client = Client::open(&replica, &[("traceparent", PARENT)])
        .await
        .expect("one");
    // Each message may name its own; otherwise it is that of the connection.
    for (own, expected) in [(None, PARENT), (Some(OTHER), OTHER), (Some("none"), PARENT)] {
        let mut request = json!({"op": "request", "ref": 1, "name": "a", "timeout": 20});
        if let Some(own) = own {
            request["traceparent"] = own.into();
        }
        let answer = async {
            let request = requests.next().await.expect("a request");
            let headers = request.headers.expect("headers");
            let parent = headers.get("traceparent").expect("the trace").to_string();
            let reply = request.reply.expect("a reply subject");
            backend
                .publish(reply, "1".into())
                .await
                .expect("it is sent");
            parent
        };
        let (parent, _) = tokio::join!(within("the request", answer), client.result(request));
        assert_eq!(parent, expected);
    }
    client
        .result(json!({"op": "publish", "ref": 2, "feed": "a", "data": 1}))
        .await;
    assert_eq!(traces(&replica).await, [trace(PARENT, None)]);
}

/// The next line of a log in JSON that says this.
async fn told(program: &mut Program, message: &str) -> Value {
    loop {
        let line = program.complaint().await;
        let line: Value = serde_json::from_str(&line).expect("a line is a JSON object");
        if line["message"] == message {
            return line;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_json_tells_of_each_publish_and_of_each_streams_end_and_of_no_token() {
    for shards in ["0", "1"] {
        let arguments = ["--listen", "127.0.0.1:0", "--shards", shards];
        let log = ["--log", "tidings=debug", "--log-format", "json"];
        let secret = "0123456789abcdef0123456789abcdef";
        let open = ["--anonymous-subscribe", "a.>", "--anonymous-publish", "a.>"];
        let query = ["--jwt-query", "--jwt-key", secret, "--jwt-audience", "x"];
        let arguments = [&arguments[..], &log, &open, &query].concat();
        let mut program = Program::start(&arguments);
        let listening = told(&mut program, "listening").await;
        let url = listening["url"].as_str().expect("a URL").to_owned();
        told(&mut program, "following the log").await;
        let client = reqwest::Client::new();
        let url = format!("{url}/feeds/a.b");
        let stream = client.get(format!("{url}?after=start")).send();
        let mut stream = within("a stream", stream).await.expect("an answer");
        let publish = client.post(&url).header("traceparent", PARENT).body("x");
        within("an answer", publish.send())
            .await
            .expect("an answer");
        let published = told(&mut program, "a publish").await;
        assert_eq!(published["trace_id"], PARENT[3..35]);
        assert_eq!(
            (&published["way"], &published["outcome"]),
            (&json!("http"), &json!("stored"))
        );
        let mut body = String::new();
        while !body.contains("data: x") {
            let chunk = within("the event", stream.chunk()).await.expect("a chunk");
            body += std::str::from_utf8(&chunk.expect("more")).expect("text");
        }
        drop(stream);
        let ended = told(&mut program, "a stream has ended").await;
        assert_eq!(ended["level"], "DEBUG");
        assert_eq!(ended["transport"], "sse");
        assert_eq!(ended["protocol"], "http/1.1");
        assert_eq!(ended["reason"], "client");
        assert_eq!(ended["patterns"], "a.b");
        assert_eq!(ended["events"], 1);
        assert!(
            ended["bytes"].as_u64().expect("bytes") >= body.len() as u64,
            "{ended}"
        );
        assert!(ended["seconds"].as_f64().expect("seconds") >= 0.0);
        assert!(
            shards == "0"
                || ended["peer"]
                    .as_str()
                    .expect("it")
                    .starts_with("127.0.0.1:")
        );
        let wrong = client
            .get(format!("{url}?access_token=a-secret-token"))
            .send();
        assert_eq!(within("an answer", wrong).await.expect("one").status(), 401);
        program.signal("INT").await;
        let left = program.end().await;
        assert!(!left.err.contains("a-secret-token"), "{}", left.err);
        // A collector that reads both finds JSON alone.
        assert_eq!(left.out, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_text_is_the_default_and_tells_no_stream_below_debug() {
    let mut program = Program::start(&["--listen", "127.0.0.1:0"]);
    let address = program.address().await;
    let poll = reqwest::get(format!("http://{address}/feeds/a?last=0"));
    drop(within("a stream", poll).await);
    program.signal("INT").await;
    let left = program.end().await;
    assert!(left.err.contains("INFO") && !left.err.contains("a stream has ended"));
}
