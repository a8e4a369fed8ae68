//! What the client tells of itself: gaps, resets, refusals, and errors of others.

use super::{Driver, numbers};
use crate::replica::Replica;
use serde_json::{Value, json};

/// A replica whose log holds no more than four events, the first of which was this one's id.
async fn forgetful() -> (Replica, String) {
    let replica = Replica::start(&["--window-events", "2", "--memory-events", "4"]).await;
    let first = replica.publish("a", "0").await.to_string();
    for n in 1..=8 {
        replica.publish("a", n.to_string()).await;
    }
    (replica, first)
}

fn subscribe(name: &str, after: &str, heard: bool) -> Value {
    json!({"do": "feed", "name": name, "pattern": "a", "options": {"after": after}, "heard": heard})
}

#[tokio::test]
async fn a_gap_is_told_before_what_comes_after_it() {
    let (replica, first) = forgetful().await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    client.tell(&subscribe("a", &first, true)).await;
    let gap = client.next(|told| told["name"] == "a").await;
    assert_eq!(gap["told"], "onGap");
    assert_eq!(gap["after"], first);
    assert_eq!(gap["reason"], "expired");
    assert_eq!(numbers(&client.events("a", 4).await), [5, 6, 7, 8]);
    let gap = client.next(|told| told["told"] == "gap").await;
    assert_eq!(gap["pattern"], "a");
    client.end().await;
}

#[tokio::test]
async fn a_reset_is_told_before_everything_that_there_is() {
    let (replica, _) = forgetful().await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    client.tell(&subscribe("a", "7-nosuch", true)).await;
    let reset = client.next(|told| told["name"] == "a").await;
    assert_eq!(reset["told"], "onReset");
    assert_eq!(numbers(&client.events("a", 4).await), [5, 6, 7, 8]);
    client.next(|told| told["told"] == "reset").await;
    let (_, errors) = client.end().await;
    assert_eq!(errors, "");
}

#[tokio::test]
async fn what_nobody_listens_for_is_told_to_the_console() {
    let (replica, first) = forgetful().await;
    let mut client = Driver::start(replica.address, &json!({}), &["unheard"]);
    client.tell(&subscribe("a", &first, false)).await;
    client.tell(&subscribe("b", "no id", false)).await;
    client.events("a", 4).await;
    client.events("b", 4).await;
    let (_, errors) = client.end().await;
    assert!(errors.contains("tidings: gap in a"), "{errors}");
    assert!(errors.contains("tidings: reset in a"), "{errors}");
}

#[tokio::test]
async fn a_log_made_anew_is_a_reset_for_every_subscription() {
    for options in [json!({}), json!({"transport": "poll"})] {
        let replica = Replica::start(&[]).await;
        let address = replica.address;
        let mut client = Driver::start(address, &options, &[]);
        client.feed("a", "a", &json!({})).await;
        client.feed("b", "b", &json!({})).await;
        client.joined().await;
        for n in 0..3 {
            replica.publish("a", n.to_string()).await;
        }
        client.events("a", 3).await;
        replica.stop().await;
        let listen = address.to_string();
        let replica = Replica::start(&["--listen", &listen]).await;
        for pattern in ["a", "b"] {
            client
                .next(|told| told["told"] == "reset" && told["pattern"] == pattern)
                .await;
        }
        replica.publish("a", "10").await;
        replica.publish("b", "11").await;
        assert_eq!(numbers(&client.events("a", 1).await), [10]);
        assert_eq!(numbers(&client.events("b", 1).await), [11]);
        client.end().await;
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_its_reason() {
    let arguments = ["--anonymous-subscribe", "public.>"];
    let replica = Replica::start(&arguments).await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    client.feed("a", "private", &json!({})).await;
    let refused = client.state("refused").await;
    assert_eq!(refused["error"]["status"], 403, "{refused}");
    let detail = refused["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains("private"), "{detail}");
    client.next(|told| told["told"] == "error").await;
    client.end().await;
}

#[tokio::test]
async fn a_feed_that_is_refused_stops_no_other() {
    let everyone = "public.>";
    let arguments = [
        "--anonymous-subscribe",
        everyone,
        "--anonymous-publish",
        everyone,
    ];
    for newcomer in [json!({}), json!({"last": 1})] {
        let replica = Replica::start(&arguments).await;
        let mut client = Driver::start(replica.address, &json!({}), &[]);
        client.feed_from_now("good", "public.a").await;
        client.feed("bad", "private", &newcomer).await;
        let refused = client.next(|told| told["told"] == "error").await;
        assert_eq!(refused["error"]["status"], 403, "{refused}");
        client.feed("also good", "public.*", &json!({})).await;
        replica.publish("public.a", "0").await;
        assert_eq!(numbers(&client.events("good", 1).await), [0]);
        let mut n = 0;
        // It begins at some time from now on.
        while client.no_event("also good") {
            n += 1;
            replica.publish("public.a", n.to_string()).await;
            client.event("good").await;
        }
        let (rest, _) = client.end().await;
        assert!(
            rest.iter().all(|told| told["state"] != "refused"),
            "{rest:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_pattern_is_thrown_back() {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    for pattern in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a*",
        "a.b>",
        ">.a",
        "a/b",
        "a b",
        "a\u{85}",
        "a\u{3000}",
    ] {
        client.feed("bad", pattern, &json!({})).await;
        let thrown = client.next(|told| told["name"] == "bad").await;
        assert_eq!(thrown["told"], "TypeError", "{pattern:?}: {thrown}");
    }
    client.feed_from_now("good", "a.*.ä.\u{feff}.>").await;
    client.end().await;
}

#[tokio::test]
async fn a_log_made_anew_is_a_reset_for_a_tab_that_hears_of_it_late_too() {
    let replica = Replica::start(&[]).await;
    let address = replica.address;
    let mut client = Driver::start(address, &json!({}), &["tabs"]);
    // The tab that is there from the start leads, then the next one.
    for (tab, pattern) in [("next", "a"), ("late", "b")] {
        client.tell(&json!({"do": "open", "tab": tab})).await;
        let feed = json!({"do": "feed", "name": tab, "pattern": pattern, "tab": tab});
        client.tell(&feed).await;
        client
            .next(|told| told["tab"] == tab && told["state"] == "live")
            .await;
    }
    while client.no_event("late") || client.no_event("next") {
        replica.publish("a", "0").await;
        replica.publish("b", "0").await;
        client
            .tell(&json!({"do": "position", "name": "late"}))
            .await;
        client.next(|told| told["told"] == "position").await;
    }
    let busy = json!({"do": "busy", "tab": "late", "is": true});
    client.tell(&busy).await;
    replica.stop().await;
    client.tell(&json!({"do": "leave"})).await;
    let replica = Replica::start(&["--listen", &address.to_string()]).await;
    client
        .next(|told| told["told"] == "reset" && told["tab"] == "next")
        .await;
    let busy = json!({"do": "busy", "tab": "late", "is": false});
    client.tell(&busy).await;
    client
        .next(|told| told["told"] == "reset" && told["tab"] == "late")
        .await;
    replica.publish("b", "1").await;
    client
        .next(|told| told["name"] == "late" && told["data"] == 1)
        .await;
    client.end().await;
}

#[tokio::test]
async fn a_tab_that_has_gone_without_a_word_wants_nothing_more() {
    let replica = Replica::start(&["--max-patterns", "2"]).await;
    let mut client = Driver::start(replica.address, &json!({}), &["tabs"]);
    // The tab that is there from the start leads.
    client.feed_from_now("leader", "a").await;
    for tab in ["gone", "next", "last"] {
        client.tell(&json!({"do": "open", "tab": tab})).await;
        let feed = json!({"do": "feed", "name": tab, "pattern": tab, "tab": tab});
        client.tell(&feed).await;
        while client.no_event(tab) {
            replica.publish(tab, "0").await;
            replica.publish("a", "0").await;
            client.event("leader").await;
        }
        // Nothing that it says of its end comes to the others.
        client
            .tell(&json!({"do": "busy", "tab": tab, "is": true}))
            .await;
        client.tell(&json!({"do": "leave", "tab": tab})).await;
    }
    client.end().await;
}

#[tokio::test]
async fn a_feed_may_be_named_as_what_every_object_has() {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    for feed in ["constructor", "toString", "__proto__"] {
        client.feed_from_now(feed, feed).await;
        replica.publish(feed, "1").await;
        assert_eq!(numbers(&client.events(feed, 1).await), [1]);
        client.tell(&json!({"do": "close", "name": feed})).await;
        client.state("connecting").await;
    }
    let (rest, _) = client.end().await;
    assert!(rest.iter().all(|told| told["told"] == "state"), "{rest:?}");
}

#[tokio::test]
async fn without_feeds_nothing_is_known_of_the_connection() {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    client.feed_from_now("a", "a").await;
    client.tell(&json!({"do": "close", "name": "a"})).await;
    client.state("connecting").await;
    client.feed_from_now("a", "a").await;
    client.end().await;
}

#[tokio::test]
async fn too_many_patterns_are_refused_with_their_bound() {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    for n in 0..101 {
        let name = n.to_string();
        client.feed(&name, &name, &json!({})).await;
    }
    let refused = client.state("refused").await;
    let detail = refused["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains("100"), "{detail}");
    client.end().await;
}

#[tokio::test]
async fn a_server_that_is_away_is_told_and_come_back_to() {
    let replica = Replica::start(&[]).await;
    let address = replica.address;
    replica.stop().await;
    let mut client = Driver::start(address, &json!({}), &[]);
    client.feed("a", "a", &json!({})).await;
    let offline = client.state("offline").await;
    assert!(offline["error"]["message"].is_string(), "{offline}");
    assert!(offline["error"]["retryAt"].is_number(), "{offline}");
    let _replica = Replica::start(&["--listen", &address.to_string()]).await;
    client.state("live").await;
    client.end().await;
}

#[tokio::test]
async fn a_server_that_is_full_is_left_alone_for_as_long_as_it_asks() {
    for transport in ["stream", "poll"] {
        let replica = Replica::start(&["--max-streams", "0"]).await;
        let options = json!({"transport": transport});
        let mut client = Driver::start(replica.address, &options, &["pauses"]);
        client.feed("a", "a", &json!({})).await;
        let offline = client.state("offline").await;
        assert_eq!(offline["error"]["status"], 503, "{offline}");
        client.next(|told| told["told"] == "pause").await;
        client.end().await;
    }
}

#[tokio::test]
async fn what_a_handler_throws_is_reported_and_stops_nothing() {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    let throws = json!({"do": "feed", "name": "throws", "pattern": "a", "throws": true});
    client.tell(&throws).await;
    client.feed_from_now("a", "a").await;
    for n in 0..3 {
        replica.publish("a", n.to_string()).await;
    }
    assert_eq!(numbers(&client.events("throws", 3).await), [0, 1, 2]);
    assert_eq!(numbers(&client.events("a", 3).await), [0, 1, 2]);
    let (_, errors) = client.end().await;
    assert_eq!(errors.matches("Error: thrown by a handler").count(), 3);
}
