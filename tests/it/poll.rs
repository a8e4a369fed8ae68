//! Polls and long polls: what there is after an id, in pages that join without a seam.

mod answers;
mod logs;
mod unread;

use crate::call::{Answer, get, post};
use crate::replica::{Replica, within};
use serde_json::{Value, json};

pub(crate) const JSON: (&str, &str) = ("Accept", "application/json");

/// A page as it came.
#[derive(Debug)]
struct Page {
    answer: Answer,
    events: Vec<Value>,
    next: String,
}

impl Page {
    fn of(answer: Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        let body = answer.json();
        let members: Vec<&String> = body.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["events", "next"]);
        let next = body["next"].as_str().expect("an id").to_owned();
        assert_eq!(answer.header("tidings-next"), Some(next.as_str()));
        Self {
            events: body["events"].as_array().expect("a list").clone(),
            next,
            answer,
        }
    }

    /// What events said, and of what the hub had to say the types.
    fn told(&self) -> Vec<&str> {
        let told = |event: &Value| match event["type"].as_str().expect("a type") {
            "message" => "data",
            _ => "type",
        };
        let events = self.events.iter();
        events
            .map(|event| event[told(event)].as_str().expect("text"))
            .collect()
    }
}

async fn page(replica: &Replica, path: &str) -> Page {
    Page::of(get(replica, path, &[JSON]).await)
}

/// All that there is after an id, in pages with these parameters.
async fn all(replica: &Replica, feed: &str, parameters: &str, mut next: String) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let path = format!("/feeds/{feed}?{parameters}&after={next}");
        let page = page(replica, &path).await;
        if page.events.is_empty() {
            return all;
        }
        all.extend(page.events);
        next = page.next;
    }
}

/// Waits until so many polls and streams are there.
async fn readers(replica: &Replica, count: usize) {
    within("the number of readers", async {
        while replica.hub().usage().readers != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Five events on `a`, each after one on `b`; the ids of all, in order.
async fn filled(replica: &Replica) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 1..=5 {
        ids.push(replica.publish("b", format!("b{n}")).await.to_string());
        ids.push(replica.publish("a", format!("a{n}")).await.to_string());
    }
    ids
}

#[tokio::test]
async fn what_there_is_comes_at_once_from_where_it_was_asked_for() {
    let replica = Replica::start(&[]).await;
    let ids = filled(&replica).await;
    let (second, last) = (&ids[3], &ids[9]);
    for (query, expected) in [
        (String::new(), &[][..]),
        ("after=now".to_owned(), &[]),
        ("last=0".to_owned(), &[]),
        (format!("after={last}"), &[]),
        ("after=start".to_owned(), &["a1", "a2", "a3", "a4", "a5"]),
        ("after=0-0".to_owned(), &["a1", "a2", "a3", "a4", "a5"]),
        ("last=2".to_owned(), &["a4", "a5"]),
        ("last=1000".to_owned(), &["a1", "a2", "a3", "a4", "a5"]),
        (format!("after={second}"), &["a3", "a4", "a5"]),
        (format!("lastEventId={second}"), &["a3", "a4", "a5"]),
        // The id of an event on another feed.
        (format!("after={}", ids[4]), &["a3", "a4", "a5"]),
    ] {
        for wait in ["", "&wait=0", "&wait=1"] {
            let page = page(&replica, &format!("/feeds/a?{query}{wait}")).await;
            assert_eq!(page.told(), expected, "{query}{wait}");
            assert_eq!(page.next, *last, "{query}{wait}");
        }
    }
    let headers = [JSON, ("Last-Event-ID", second.as_str())];
    let page = Page::of(get(&replica, "/feeds/a?after=start", &headers).await);
    assert_eq!(page.told(), ["a3", "a4", "a5"]);
}

#[tokio::test]
async fn an_event_is_the_envelope_that_streams_have() {
    let replica = Replica::start(&[]).await;
    let headers = [("Event-Type", "created"), ("Event-Key", "k")];
    let answer = post(&replica, "/feeds/a.b", &headers, "{\"n\":1}").await;
    let page = page(&replica, "/feeds/a.*?after=start&envelope=1").await;
    let time = page.events[0]["time"].as_str().expect("a time");
    let id = &answer.json()["id"];
    let expected = json!({
        "id": id, "feed": "a.b", "type": "created", "key": "k", "time": time, "data": {"n": 1}
    });
    assert_eq!(page.events, [expected]);
}

#[tokio::test]
async fn a_limit_cuts_a_page_and_next_goes_on_exactly() {
    let replica = Replica::start(&[]).await;
    let line = |n| format!("{{\"feed\":\"b\"}}\n{{\"feed\":\"a\",\"data\":\"a{n}\"}}\n");
    let lines: String = (0..120).map(line).collect();
    let headers = [("Content-Type", "application/x-ndjson")];
    let stored = post(&replica, "/feeds", &headers, lines).await;
    assert_eq!(stored.text.matches("\"id\"").count(), 240);
    replica.publish("b", "other").await;
    let whole = page(&replica, "/feeds/a?after=start&limit=1000").await;
    assert_eq!(whole.events.len(), 120);
    let first = page(&replica, "/feeds/a?after=start").await;
    assert_eq!(first.events, whole.events[..100]);
    assert_eq!(whole.events[99]["id"], first.next);
    let ones = all(&replica, "a", "limit=1", first.next).await;
    assert_eq!(ones, whole.events[100..]);
    for limit in [19, 60, 119, 120, 121] {
        let limited = page(&replica, &format!("/feeds/a?after=start&limit={limit}")).await;
        assert_eq!(limited.events, whole.events[..limit.min(120)]);
        let parameters = format!("limit={limit}");
        let joined = all(&replica, "a", &parameters, "0-0".to_owned()).await;
        assert_eq!(joined, whole.events, "limit={limit}");
    }
}

#[tokio::test]
async fn a_page_holds_8_mib_or_a_single_event() {
    let replica = Replica::start(&["--max-event-bytes", "2000000"]).await;
    for n in 0..10 {
        replica
            .publish("a", format!("{n}{}", "x".repeat(999_000)))
            .await;
    }
    // Each NUL takes six bytes in JSON.
    replica.publish("a", "\0".repeat(1_500_000)).await;
    replica.publish("a", "small").await;
    let mut next = "0-0".to_owned();
    for expected in [8, 2, 1, 1, 0] {
        let page = page(&replica, &format!("/feeds/a?after={next}")).await;
        assert_eq!(page.events.len(), expected);
        assert!(expected == 1 || page.answer.text.len() < (8 << 20) + 100);
        next = page.next;
    }
}

#[tokio::test]
async fn what_the_window_has_dropped_is_read_from_the_log() {
    let replica = Replica::start(&["--window-events", "10"]).await;
    for n in 0..100 {
        let feed = if n % 2 == 0 { "even" } else { "odd" };
        replica.publish(feed, format!("n{n}")).await;
    }
    let expected: Vec<String> = (0..100).step_by(2).map(|n| format!("n{n}")).collect();
    let whole = page(&replica, "/feeds/even?after=start").await;
    assert_eq!(whole.told(), expected);
    for limit in [3, 49] {
        let parameters = format!("limit={limit}");
        let joined = all(&replica, "even", &parameters, "0-0".to_owned()).await;
        assert_eq!(joined, whole.events);
    }
}

#[tokio::test]
async fn a_poll_that_waits_is_answered_as_soon_as_something_comes() {
    let replica = Replica::start(&[]).await;
    let before = replica.publish("a", "before").await.to_string();
    // Longer than a test waits for anything.
    let path = format!("/feeds/a?wait=50&after={before}");
    let publishing = async {
        readers(&replica, 1).await;
        replica.publish("b", "for others").await;
        replica.publish("a", "now").await
    };
    let (page, id) = tokio::join!(page(&replica, &path), publishing);
    assert_eq!(page.told(), ["now"]);
    assert_eq!(page.next, id.to_string());
    assert_eq!(page.answer.header("etag"), None);
}

#[tokio::test]
async fn a_poll_that_waits_in_vain_is_an_empty_page_and_has_moved_over_what_was_for_others() {
    let replica = Replica::start(&[]).await;
    within("a page as far as what came meanwhile", async {
        // On a busy machine what is published may come before it or after it.
        loop {
            let publishing = async {
                readers(&replica, 1).await;
                replica.publish("b", "for others").await.to_string()
            };
            let (page, id) = tokio::join!(page(&replica, "/feeds/a?wait=1"), publishing);
            assert_eq!(page.events, [] as [Value; 0]);
            if page.next == id {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_cursor_of_a_quiet_feed_moves_with_the_log() {
    let limits = ["--window-events", "2", "--memory-events", "4"];
    let replica = Replica::start(&limits).await;
    let mut next = replica.publish("quiet", "first").await.to_string();
    for _ in 0..10 {
        let last = replica.publish("b", "for others").await.to_string();
        let page = page(&replica, &format!("/feeds/quiet?after={next}")).await;
        assert_eq!((page.told(), &page.next), (vec![], &last));
        next = page.next;
    }
    replica.publish("quiet", "second").await;
    let page = page(&replica, &format!("/feeds/quiet?after={next}")).await;
    assert_eq!(
        page.told(),
        ["second"],
        "no gap, though the log has dropped much"
    );
}

#[tokio::test]
async fn what_the_log_has_dropped_is_a_gap_among_the_events() {
    let limits = ["--window-events", "2", "--memory-events", "4"];
    let replica = Replica::start(&limits).await;
    let first = replica.publish("a", "1").await.to_string();
    let mut ids = Vec::new();
    for n in 2..=9 {
        ids.push(replica.publish("a", format!("a{n}")).await.to_string());
    }
    let path = format!("/feeds/*?after={first}");
    let whole = page(&replica, &path).await;
    assert_eq!(whole.told(), ["hub:gap", "a6", "a7", "a8", "a9"]);
    let gap = &whole.events[0];
    let data = json!({"after": first, "before": ids[4], "reason": "expired"});
    assert_eq!(
        *gap,
        json!({"type": "hub:gap", "id": gap["id"], "data": data})
    );
    // It counts, and what comes next is behind it.
    let alone = page(&replica, &format!("{path}&limit=1")).await;
    assert_eq!(alone.events, whole.events[..1]);
    assert_eq!(gap["id"], alone.next);
    let rest = all(&replica, "*", "limit=3", alone.next).await;
    assert_eq!(rest, whole.events[1..]);
}

#[tokio::test]
async fn an_id_of_another_log_is_a_reset_among_the_events() {
    let other = Replica::start(&[]).await;
    let foreign = other.publish("a", "x").await.to_string();
    let replica = Replica::start(&[]).await;
    replica.publish("a", "a1").await;
    replica.publish("a", "a2").await;
    for id in [&foreign, "nonsense", "2-aaaaaa"] {
        let whole = page(&replica, &format!("/feeds/a?after={id}")).await;
        assert_eq!(whole.told(), ["hub:reset", "a1", "a2"], "{id}");
        let alone = page(&replica, &format!("/feeds/a?limit=1&after={id}")).await;
        assert_eq!(alone.told(), ["hub:reset"], "{id}");
        let rest = all(&replica, "a", "limit=1", alone.next).await;
        assert_eq!(rest, whole.events[1..], "{id}");
        // A reset is something that has come: nobody waits for more.
        let waits = page(&replica, &format!("/feeds/none?wait=50&after={id}")).await;
        assert_eq!(waits.told(), ["hub:reset"], "{id}");
    }
}
