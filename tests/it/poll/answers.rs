//! What an answer says beside its events: its tag, who may read it, and why there is none.

use super::{JSON, Page, filled, page, readers};
use crate::call::{Answer, get};
use crate::raw::Raw;
use crate::replica::{Replica, within};
use crate::sse::Stream;
use reqwest::Client;

/// A page, unless the client has it already under one of these tags.
async fn if_new(replica: &Replica, path: &str, tags: &str) -> Answer {
    get(replica, path, &[JSON, ("If-None-Match", tags)]).await
}

/// The position in an answer that is 304 and nothing but its head.
fn unchanged(answer: &Answer, tag: &str) -> String {
    assert_eq!((answer.status, answer.text.as_str()), (304, ""));
    assert_eq!(answer.header("etag"), Some(tag));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    answer.header("tidings-next").expect("an id").to_owned()
}

#[tokio::test]
async fn a_tag_is_of_the_events_alone_and_304_tells_the_position() {
    let replica = Replica::start(&[]).await;
    let ids = filled(&replica).await;
    let path = format!("/feeds/a?after={}", ids[5]);
    let first = page(&replica, &path).await;
    let tag = first.answer.header("etag").expect("a tag").to_owned();
    assert_eq!(
        unchanged(&if_new(&replica, &path, &tag).await, &tag),
        ids[9]
    );
    let other = replica.publish("b", "for others").await.to_string();
    for tags in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"x\", {tag}"),
        "*".to_owned(),
    ] {
        let answer = if_new(&replica, &path, &tags).await;
        assert_eq!(unchanged(&answer, &tag), other, "{tags}");
    }
    // The same events from elsewhere on have the same tag.
    let path = "/feeds/a?last=2";
    unchanged(&if_new(&replica, path, &tag).await, &tag);
    replica.publish("a", "a6").await;
    let path = format!("/feeds/a?after={}", ids[5]);
    let now = Page::of(if_new(&replica, &path, &tag).await);
    assert_eq!(now.told(), ["a4", "a5", "a6"]);
    assert_ne!(now.answer.header("etag"), Some(tag.as_str()));
}

#[tokio::test]
async fn a_poll_with_an_empty_pages_tag_moves_on_without_a_body() {
    let replica = Replica::start(&[]).await;
    let empty = page(&replica, "/feeds/a").await;
    let tag = empty.answer.header("etag").expect("a tag").to_owned();
    let mut next = empty.next;
    for _ in 0..3 {
        let last = replica.publish("b", "for others").await.to_string();
        let answer = if_new(&replica, &format!("/feeds/a?after={next}"), &tag).await;
        next = unchanged(&answer, &tag);
        assert_eq!(next, last);
    }
    replica.publish("a", "a1").await;
    let answer = if_new(&replica, &format!("/feeds/a?after={next}"), &tag).await;
    assert_eq!(Page::of(answer).told(), ["a1"]);
}

#[tokio::test]
async fn a_poll_that_may_wait_has_no_tag() {
    let replica = Replica::start(&[]).await;
    replica.publish("a", "a1").await;
    let waits = if_new(&replica, "/feeds/a?after=start&wait=1", "*").await;
    let waits = Page::of(waits);
    assert_eq!(
        (waits.told(), waits.answer.header("etag")),
        (vec!["a1"], None)
    );
}

#[tokio::test]
async fn pages_may_read_the_tag_and_the_position() {
    let replica = Replica::start(&[]).await;
    replica.publish("a", "a1").await;
    let origin = ("Origin", "http://localhost:3000");
    for (tag, status) in [("\"none\"", 200), ("*", 304)] {
        let headers = [JSON, origin, ("If-None-Match", tag)];
        let answer = get(&replica, "/feeds/a?after=start", &headers).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin.1));
        let exposed = answer.header("access-control-expose-headers");
        let exposed: Vec<&str> = exposed.expect("a list").split(", ").collect();
        for name in ["etag", "tidings-next", "tidings-refused", "retry-after"] {
            assert!(exposed.contains(&name), "{exposed:?}");
        }
        let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
        assert_eq!(vary, ["Accept, Last-Event-ID", "Origin"]);
    }
}

#[tokio::test]
async fn what_is_accepted_decides_the_form() {
    let replica = Replica::start(&[]).await;
    for (accept, expected) in [
        ("application/json", "application/json"),
        ("Application/JSON;charset=utf-8", "application/json"),
        // That of axios, and that of others who want JSON and take anything.
        ("application/json, text/plain, */*", "application/json"),
        ("application/json, */*;q=0.5", "application/json"),
        (
            "application/json;q=0.9, text/event-stream;q=0.1",
            "application/json",
        ),
        ("application/x-ndjson", "application/x-ndjson"),
        (
            "application/x-ndjson, application/json;q=0.9",
            "application/x-ndjson",
        ),
        ("text/event-stream", "text/event-stream"),
        (
            "application/json;q=0.5, text/event-stream",
            "text/event-stream",
        ),
        ("*/*", "text/event-stream"),
        ("", "text/event-stream"),
    ] {
        let request = Client::new().get(replica.url("/feeds/a"));
        let answer = request.header("Accept", accept).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], expected, "{accept}");
    }
    let refused = get(&replica, "/feeds/a", &[("Accept", "text/html")]).await;
    let detail = refused.problem(406);
    for form in [
        "text/event-stream",
        "application/x-ndjson",
        "application/json",
    ] {
        assert!(detail.contains(form), "{detail}");
    }
}

#[tokio::test]
async fn wrong_parameters_are_400_and_say_what_is_right() {
    let replica = Replica::start(&[]).await;
    let wrong = async |query: String, accept: &str, hint: &str| {
        let path = format!("/feeds/a?{query}");
        let answer = get(&replica, &path, &[("Accept", accept)]).await;
        let detail = answer.problem(400);
        assert!(detail.contains(hint), "{query}: {detail}");
    };
    let wait = "`wait` is a whole number, 0 to 50";
    for text in ["51", "-1", "1.5", ""] {
        wrong(format!("wait={text}"), "application/json", wait).await;
    }
    let limit = "`limit` is a whole number, 1 to 1000";
    for text in ["0", "1001", "01", "all"] {
        wrong(format!("limit={text}"), "application/json", limit).await;
    }
    for name in ["wait", "limit"] {
        for accept in ["text/event-stream", "*/*", "application/x-ndjson"] {
            let hint = format!("`{name}` goes with `Accept: application/json`");
            wrong(format!("{name}=1"), accept, &hint).await;
        }
    }
}

/// Checks that a poll is told to come back, and why.
pub(super) async fn refused(replica: &Replica, path: &str, reason: &str) -> Answer {
    let answer = get(replica, path, &[JSON]).await;
    answer.problem(503);
    assert_eq!(answer.header("tidings-refused"), Some(reason));
    assert!(answer.header("retry-after").is_some());
    answer
}

#[tokio::test]
async fn one_poll_too_many_is_503() {
    let replica = Replica::start(&["--max-streams", "0"]).await;
    refused(&replica, "/feeds/a", "overload").await;
    refused(&replica, "/feeds/a?wait=50", "overload").await;
    let denied = Replica::start(&["--max-streams", "0", "--anonymous-subscribe", "a"]).await;
    get(&denied, "/feeds/b", &[JSON]).await.problem(403);
    // A poll that was answered has given up its place.
    let replica = Replica::start(&["--max-streams", "1"]).await;
    for _ in 0..3 {
        page(&replica, "/feeds/a").await;
    }
}

#[tokio::test]
async fn before_the_log_was_reached_polls_are_503() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nats = format!("nats://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let replica = Replica::start_unready(&["--nats", &nats]);
    refused(&replica, "/feeds/a", "starting").await;
    refused(&replica, "/feeds/a?wait=50&after=7-abcdef", "starting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_answers_polls_that_wait_at_once() {
    let replica = Replica::start(&["--drain", "3600"]).await;
    let id = replica.publish("a", "a1").await.to_string();
    let url = replica.url(&format!("/feeds/a?wait=50&after={id}"));
    let asking = tokio::spawn(Client::new().get(url).header(JSON.0, JSON.1).send());
    readers(&replica, 1).await;
    within("the end", replica.stop()).await;
    let answer = within("the answer", asking).await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16()), 200);
    assert_eq!(answer.headers()["connection"], "close");
    let body = answer.text().await.unwrap();
    assert_eq!(body, format!("{{\"events\":[],\"next\":\"{id}\"}}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_comes_in_while_draining_is_to_come_back_elsewhere() {
    let mut replica = Replica::start(&["--drain=3600"]).await;
    let (stream, _) = Stream::open(&replica, "/feeds/a").await;
    replica.drain();
    within("readiness to be off", async {
        while get(&replica, "/readyz", &[]).await.status == 200 {}
    })
    .await;
    let answer = refused(&replica, "/feeds/a?wait=50", "drain").await;
    assert_eq!(answer.header("connection"), Some("close"));
    drop(stream);
    replica.ended().await;
}

#[tokio::test]
async fn old_clients_have_pages_too() {
    let replica = Replica::start(&[]).await;
    let id = replica.publish("a", "a1").await.to_string();
    let request = "GET /feeds/a?after=start&wait=1 HTTP/1.0\r\nAccept: application/json\r\n\r\n";
    let mut raw = Raw::send(replica.address, request).await;
    let head = raw.head().await;
    assert!(head.status.ends_with("200 OK"), "{head:?}");
    assert_eq!(head.field("transfer-encoding"), None);
    let length = head.field("content-length").expect("a length").to_owned();
    let body = raw.rest().await;
    assert_eq!(body.len().to_string(), length);
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&body["events"][0]["data"], &body["next"]),
        (&"a1".into(), &id.into())
    );
}

#[tokio::test]
async fn many_wait_on_one_connection_of_http_2() {
    let replica = Replica::start(&[]).await;
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    let request = client
        .get(replica.url("/feeds/a?wait=50"))
        .header(JSON.0, JSON.1);
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(tokio::spawn(request.try_clone().unwrap().send()));
    }
    readers(&replica, 20).await;
    let id = replica.publish("a", "a1").await.to_string();
    for answer in waiting {
        let answer = within("an answer", answer).await.unwrap().unwrap();
        assert_eq!(answer.headers()["tidings-next"], id.as_str());
        assert!(answer.text().await.unwrap().contains("\"data\":\"a1\""));
    }
    readers(&replica, 0).await;
}
