//! What is read: everything after a position, in order and once, by whatever way it comes.

use super::{Driver, numbers};
use crate::call::post;
use crate::cutting_proxy::{Cut, CuttingProxy};
use crate::replica::Replica;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// The claims of this file for each way in which a client reads.
macro_rules! by_each_way {
    ($($name:ident: $options:expr, $how:expr;)*) => {
        mod a_client_that_is_cut_off_misses_nothing_and_doubles_nothing {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                cut_off(&$options, $how).await;
            })*
        }

        mod what_catches_up_while_somebody_publishes_is_given_each_event_once {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                catches_up(&$options, $how).await;
            })*
        }

        mod a_feed_that_is_added_takes_nothing_from_the_others {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                added(&$options, $how).await;
            })*
        }
    };
}

by_each_way! {
    fetch: json!({}), &[];
    long_polls: json!({"transport": "poll"}), &[];
}

/// Publishes numbers to a feed, many at once.
async fn publish_numbers(replica: &Replica, feed: &str, numbers: std::ops::Range<u64>) {
    let lines: String = numbers
        .map(|n| format!("{}\n", json!({"feed": feed, "data": n})))
        .collect();
    let headers = [("content-type", "application/x-ndjson")];
    let answer = post(replica, "/feeds", &headers, lines).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Publishes numbers from 0 on to these feeds, one after the other, until it is told to stop; returns how many.
async fn keep_publishing(
    replica: &Replica,
    feeds: &[&str],
    mut stopped: oneshot::Receiver<()>,
) -> u64 {
    for n in 0.. {
        if stopped.try_recv().is_ok() {
            return n;
        }
        for feed in feeds {
            replica.publish(feed, n.to_string()).await;
        }
    }
    unreachable!("it is told to stop before")
}

async fn cut_off(options: &Value, how: &[&str]) {
    let replica = Replica::start(&[]).await;
    let proxy = CuttingProxy::start(replica.address).await;
    let mut client = Driver::start(proxy.address(), options, how);
    client.feed("a", "a.*", &json!({})).await;
    client.joined().await;
    proxy.hold();
    proxy.cut(Cut::Reset);
    publish_numbers(&replica, "a.b", 0..200).await;
    for cut in [Cut::Close, Cut::Reset, Cut::Close] {
        proxy.cut_after(3_000, cut);
    }
    proxy.release();
    publish_numbers(&replica, "a.c", 200..300).await;

    let heard = client.events("a", 300).await;
    assert_eq!(numbers(&heard), (0..300).collect::<Vec<_>>());
    assert_eq!(proxy.cuts(), 4);
    let (rest, _) = client.end().await;
    assert!(rest.iter().all(|told| told["told"] == "state"), "{rest:?}");
}

async fn catches_up(options: &Value, how: &[&str]) {
    let replica = Replica::start(&[]).await;
    publish_numbers(&replica, "old.a", 0..2_500).await;
    let mut client = Driver::start(replica.address, options, how);
    client.feed("live", "new.*", &json!({})).await;
    let (stop, stopped) = oneshot::channel();
    let reading = async {
        client.event("live").await;
        client.feed("all", ">", &json!({"after": "start"})).await;
        let mut heard = client.events("all", 2_500).await;
        // It is given what is published, whether it catches up still or not.
        heard.extend(client.events("all", 100).await);
        stop.send(()).expect("it is published");
        (client, heard)
    };
    let publishing = keep_publishing(&replica, &["new.a"], stopped);
    let ((mut client, mut heard), published) = tokio::join!(reading, publishing);
    let published = usize::try_from(published).expect("few");
    heard.extend(client.events("all", 2_500 + published - heard.len()).await);
    let expected: Vec<u64> = (0..2_500).chain(0..published as u64).collect();
    assert_eq!(numbers(&heard), expected);
    let (rest, _) = client.end().await;
    assert!(rest.iter().all(|told| told["name"] != "all"), "{rest:?}");
}

async fn added(options: &Value, how: &[&str]) {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, options, how);
    client.feed("first", "a", &json!({})).await;
    client.joined().await;
    let (stop, stopped) = oneshot::channel();
    let reading = async {
        let mut given = Vec::new();
        for name in ["second", "third"] {
            client.feed(name, "b", &json!({})).await;
            given.push(client.events(name, 20).await);
        }
        stop.send(()).expect("it is published");
        (client, given)
    };
    let publishing = keep_publishing(&replica, &["a", "b"], stopped);
    let ((mut client, given), published) = tokio::join!(reading, publishing);
    replica.publish("b", published.to_string()).await;

    let has_all = |told: &Value| told["name"] == "third" && told["data"] == published;
    let last = client.next(has_all).await;
    let (rest, _) = client.end().await;
    let of = |name: &str, before: &[Value]| {
        let is_its = |told: &&Value| told["told"] == "event" && told["name"] == name;
        numbers(
            &[
                before,
                &rest.iter().filter(is_its).cloned().collect::<Vec<_>>(),
            ]
            .concat(),
        )
    };
    assert_eq!(of("first", &[]), (0..published).collect::<Vec<_>>());
    let second = of("second", &given[0]);
    assert_eq!(second, (second[0]..=published).collect::<Vec<_>>());
    let mut third = of("third", &given[1]);
    third.extend(numbers(&[last]));
    assert_eq!(third, (third[0]..=published).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_newest_events_come_first_where_they_are_asked_for() {
    let replica = Replica::start(&[]).await;
    publish_numbers(&replica, "a", 0..10).await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    client.feed("a", "a", &json!({"last": 3})).await;
    assert_eq!(numbers(&client.events("a", 3).await), [7, 8, 9]);
    client.state("live").await;
    publish_numbers(&replica, "a", 10..12).await;
    assert_eq!(numbers(&client.events("a", 2).await), [10, 11]);
    client.end().await;
}

#[tokio::test]
async fn a_log_that_is_empty_is_followed_from_its_start() {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    client.feed("a", "a", &json!({"after": "start"})).await;
    client.state("live").await;
    publish_numbers(&replica, "a", 0..3).await;
    assert_eq!(numbers(&client.events("a", 3).await), [0, 1, 2]);
    client.end().await;
}

#[tokio::test]
async fn each_subscription_is_given_what_its_pattern_matches() {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    let patterns = ["a", "a.*", "a.>", "*.b", ">", "ä.*", "a+c.$", "*.*.c"];
    for pattern in patterns {
        client.feed(pattern, pattern, &json!({})).await;
    }
    client.state("live").await;
    let feeds = ["a", "a.b", "a.b.c", "ä.b", "a+c.$", "aac.$", "x", "end"];
    for feed in feeds {
        replica.publish(feed, "0").await;
    }
    client
        .next(|told| told["name"] == ">" && told["feed"] == "end")
        .await;
    let (rest, _) = client.end().await;
    for (pattern, expected) in [
        ("a", vec!["a"]),
        ("a.*", vec!["a.b"]),
        ("a.>", vec!["a.b", "a.b.c"]),
        ("*.b", vec!["a.b", "ä.b"]),
        ("ä.*", vec!["ä.b"]),
        ("a+c.$", vec!["a+c.$"]),
        ("*.*.c", vec!["a.b.c"]),
    ] {
        let given: Vec<_> = rest
            .iter()
            .filter(|told| told["told"] == "event" && told["name"] == pattern)
            .map(|told| told["feed"].as_str().expect("a feed"))
            .collect();
        assert_eq!(given, expected, "{pattern}");
    }
}

#[tokio::test]
async fn where_a_proxy_holds_streams_back_it_polls() {
    let replica = Replica::start(&[]).await;
    let options = json!({"firstByte": 50});
    let mut client = Driver::start(replica.address, &options, &["buffering"]);
    client.feed("a", "a", &json!({})).await;
    client.state("polling").await;
    publish_numbers(&replica, "a", 0..3).await;
    assert_eq!(numbers(&client.events("a", 3).await), [0, 1, 2]);
    let (rest, _) = client.end().await;
    let states: Vec<_> = rest.iter().map(|told| &told["state"]).collect();
    assert_eq!(states, ["closed"]);
}

#[tokio::test]
async fn a_subscription_that_is_closed_is_given_nothing_more() {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    client.feed("one", "a", &json!({})).await;
    client.feed_from_now("other", "a").await;
    publish_numbers(&replica, "a", 0..1).await;
    client.event("one").await;
    client.tell(&json!({"do": "close", "name": "one"})).await;
    client.tell(&json!({"do": "position", "name": "one"})).await;
    client.next(|told| told["told"] == "position").await;
    publish_numbers(&replica, "a", 1..2).await;
    assert_eq!(numbers(&client.events("other", 2).await), [0, 1]);
    let (rest, _) = client.end().await;
    assert!(rest.iter().all(|told| told["told"] == "state"), "{rest:?}");
}

#[tokio::test]
async fn a_stream_that_has_died_silently_is_opened_anew() {
    for options in [json!({}), json!({"silence": 90_000})] {
        let replica = Replica::start(&[]).await;
        let mut client = Driver::start(replica.address, &options, &["silent"]);
        client.feed("a", "a", &json!({})).await;
        client.state("live").await;
        publish_numbers(&replica, "a", 0..3).await;
        client.state("offline").await;
        assert_eq!(numbers(&client.events("a", 3).await), [0, 1, 2]);
        client.end().await;
    }
}

#[tokio::test]
async fn what_catches_up_holds_no_poll_open() {
    let replica = Replica::start(&[]).await;
    publish_numbers(&replica, "old", 0..10).await;
    let mut client = Driver::start(replica.address, &json!({}), &["polls"]);
    client.feed_from_now("busy", "busy").await;
    let (stop, stopped) = oneshot::channel();
    let reading = async {
        for n in 0..20 {
            let name = n.to_string();
            client.feed(&name, "old", &json!({"last": 3})).await;
            assert_eq!(numbers(&client.events(&name, 3).await), [7, 8, 9]);
        }
        stop.send(()).expect("it is published");
        client
    };
    let publishing = keep_publishing(&replica, &["busy"], stopped);
    let (mut client, _) = tokio::join!(reading, publishing);
    publish_numbers(&replica, "old", 10..11).await;
    for n in 0..20 {
        assert_eq!(numbers(&client.events(&n.to_string(), 1).await), [10]);
    }
    let (rest, _) = client.end().await;
    let waits: Vec<_> = rest.iter().filter(|told| told["told"] == "poll").collect();
    assert!(waits.len() >= 20, "{waits:?}");
    assert!(waits.iter().all(|told| told["wait"] == "0"), "{waits:?}");
}

#[tokio::test]
async fn where_tabs_can_share_nothing_each_reads_for_itself() {
    for forbidden in ["no locks", "no channels"] {
        let replica = Replica::start(&[]).await;
        let how = ["tabs", forbidden];
        let mut client = Driver::start(replica.address, &json!({}), &how);
        client.feed_from_now("a", "a").await;
        publish_numbers(&replica, "a", 0..1).await;
        assert_eq!(numbers(&client.events("a", 1).await), [0]);
        client.end().await;
    }
}
