//! Who can't be served now is answered with 200 and the end, since a browser takes any other status for good.

use crate::call::{get, post};
use crate::raw::Raw;
use crate::replica::{Replica, within};
use crate::sse::Stream;

/// Checks that a refused stream's body is just what it has to be: the client's own id in both blocks,
/// and one time to come back.
fn check(body: &str, id: Option<&str>, reason: &str) {
    let retry = body
        .strip_prefix("retry: ")
        .and_then(|rest| rest.split('\n').next());
    let retry: u32 = retry.expect("a first line").parse().expect("milliseconds");
    assert!((25..=75).contains(&retry), "{retry}");
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    let expected = format!(
        "retry: {retry}\nevent: hub:position\n{id}data: {{}}\n\nevent: hub:closing\n{id}data: {{\"reason\":\"{reason}\"}}\n\n"
    );
    assert_eq!(body, expected);
}

async fn refused(replica: &Replica, path: &str, id: Option<&str>, reason: &str) {
    let headers: Vec<_> = id.map(|id| ("Last-Event-ID", id)).into_iter().collect();
    let answer = get(replica, path, &headers).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("tidings-refused"), Some(reason));
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(
        answer.header("cache-control"),
        Some("no-store, no-transform")
    );
    let told = match id {
        Some("nonsense") => Some("0-000000"), // an id of no log either, so that the reset is not missed
        id => id,
    };
    check(&answer.text, told, reason);
}

#[tokio::test]
async fn one_stream_too_many_is_told_to_come_back_and_served_once_there_is_room() {
    let replica = Replica::start(&["--max-streams", "1"]).await;
    let id = replica.publish("a", "1").await.to_string();
    let (first, _) = Stream::open(&replica, "/feeds/a").await;
    refused(&replica, "/feeds/a", None, "overload").await;
    refused(&replica, "/feeds/a?after=start", None, "overload").await;
    refused(&replica, "/feeds/b.*", Some(&id), "overload").await;
    refused(&replica, "/feeds/a", Some("nonsense"), "overload").await;
    replica.publish("a", "2").await;
    drop(first);
    let (mut stream, _) = within("room", async {
        loop {
            let (mut stream, first) = Stream::resume(&replica, "/feeds/a", &id).await;
            assert_eq!(first.id, id);
            if stream.event().await.kind != "hub:closing" {
                break Stream::resume(&replica, "/feeds/a", &id).await;
            }
        }
    })
    .await;
    assert_eq!(stream.event().await.kind, "hub:closing");
}

#[tokio::test]
async fn what_can_never_succeed_is_refused_for_good_even_without_room() {
    let replica = Replica::start(&["--max-streams", "0", "--anonymous-subscribe", "a"]).await;
    get(&replica, "/feeds/a..b", &[]).await.problem(400);
    get(&replica, "/feeds/b", &[]).await.problem(403);
    refused(&replica, "/feeds/a", None, "overload").await;
}

#[tokio::test]
async fn before_the_log_was_reached_streams_are_told_to_come_back_and_publishes_are_503() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let replica = Replica::start_unready(&["--nats", &format!("nats://{nobody}")]);
    refused(&replica, "/feeds/a", None, "starting").await;
    refused(&replica, "/feeds/a", Some("7-abcdef"), "starting").await;
    let answer = post(&replica, "/feeds/a", &[], "x").await;
    assert!(answer.problem(503).contains("nothing was stored"));
    assert!(answer.header("retry-after").is_some());
    let ready = get(&replica, "/readyz", &[]).await;
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (503, &"starting".into())
    );
    assert!(ready.json()["reason"].is_string());
    assert_eq!(get(&replica, "/livez", &[]).await.status, 200);
}

#[tokio::test]
async fn why_the_log_is_away_is_told_to_this_machine_and_not_to_everyone() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let nats = format!("nats://{address}");
    let flags = ["--nats", &nats];
    let local = Replica::start_unready(&flags);
    let answer = post(&local, "/feeds/a", &[], "x").await;
    assert!(answer.problem(503).contains(&address), "{answer:?}");
    let open = Replica::start_unready(&[&flags[..], &["--anonymous-publish", "a"]].concat());
    let answer = post(&open, "/feeds/a", &[], "x").await;
    let detail = answer.problem(503);
    assert!(detail.contains("nothing was stored"), "{detail}");
    assert!(!detail.contains(&address), "{detail}");
    let line = [("Content-Type", "application/x-ndjson")];
    let answer = post(&open, "/feeds", &line, "{\"feed\":\"a\"}").await;
    assert!(answer.text.contains("nothing was stored"), "{answer:?}");
    assert!(!answer.text.contains(&address), "{answer:?}");
}

#[tokio::test]
async fn a_request_that_comes_in_while_draining_is_told_to_come_back() {
    let replica = Replica::start(&[]).await;
    let id = replica.publish("a", "x").await;
    let mut raw = Raw::send(
        replica.address,
        "GET /feeds/a HTTP/1.1\r\nHost: localhost\r\n",
    )
    .await;
    // Connections are accepted in order: once a later one is answered, that one is being read.
    get(&replica, "/livez", &[]).await;
    let stopping = replica.stop();
    let asking = async {
        raw.write(&format!("Last-Event-ID: {id}\r\n\r\n")).await;
        let head = raw.head().await;
        assert_eq!(head.status, "HTTP/1.1 200 OK");
        assert_eq!(head.field("tidings-refused"), Some("drain"));
        assert_eq!(head.field("connection"), Some("close"));
        raw.rest().await
    };
    let ((), body) = tokio::join!(stopping, asking);
    check(
        std::str::from_utf8(&body).unwrap(),
        Some(&id.to_string()),
        "drain",
    );
}
