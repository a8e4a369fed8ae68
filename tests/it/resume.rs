//! A reader that comes back gets exactly what it missed, or is told what it can't get.

use crate::replica::Replica;
use crate::sse::Stream;
use serde_json::{Value, json};

#[tokio::test]
async fn a_reader_cut_before_its_first_event_misses_nothing() {
    let replica = Replica::start(&[]).await;
    replica.publish("a", "before").await;
    let (stream, first) = Stream::open(&replica, "/feeds/a").await;
    drop(stream);
    for n in 1..=3 {
        replica.publish("a", n.to_string()).await;
        replica.publish("b", "other").await;
    }
    let (mut stream, again) = Stream::resume(&replica, "/feeds/a", &first.id).await;
    assert_eq!(again.id, first.id);
    assert_eq!(stream.data(3).await, ["1", "2", "3"]);
    replica.publish("a", "live").await;
    assert_eq!(stream.data(1).await, ["live"]);
}

#[tokio::test]
async fn what_the_window_has_dropped_is_read_from_the_log() {
    let replica = Replica::start(&["--window-events", "10"]).await;
    every_other_event_is_read_from_behind_the_window(&replica).await;
}

/// On a replica with nothing published yet, and a window of ten events.
pub(crate) async fn every_other_event_is_read_from_behind_the_window(replica: &Replica) {
    for n in 0..100 {
        let feed = if n % 2 == 0 { "even" } else { "odd" };
        replica.publish(feed, n.to_string()).await;
    }
    let expected: Vec<String> = (0..100).step_by(2).map(|n| n.to_string()).collect();
    for path in [
        "/feeds/even?after=start",
        "/feeds?feed=even&feed=none&after=0-0",
    ] {
        let (mut stream, _) = Stream::open(replica, path).await;
        assert_eq!(stream.data(expected.len()).await, expected);
    }
}

#[tokio::test]
async fn what_the_log_has_dropped_is_one_gap_with_its_bounds() {
    let replica = Replica::start(&["--window-events", "2", "--memory-events", "4"]).await;
    let first = replica.publish("a", "1").await;
    let mut ids = Vec::new();
    for n in 2..=9 {
        ids.push(replica.publish("a", n.to_string()).await);
    }
    let (mut stream, _) = Stream::resume(&replica, "/feeds/*", &first.to_string()).await;
    let gap = stream.event().await;
    assert_eq!(gap.kind, "hub:gap");
    let told: Value = serde_json::from_str(&gap.data).unwrap();
    assert_eq!(
        told,
        json!({"after": first.to_string(), "before": ids[4].to_string(), "reason": "expired"})
    );
    assert_eq!(stream.data(4).await, ["6", "7", "8", "9"]);

    // Cut off right after the gap, a client comes back with its id, and misses and repeats nothing.
    let (mut stream, _) = Stream::resume(&replica, "/feeds/*", &gap.id).await;
    assert_eq!(stream.data(4).await, ["6", "7", "8", "9"]);
}

#[tokio::test]
async fn an_id_of_another_log_is_a_reset_and_everything_there_is() {
    let other = Replica::start(&[]).await;
    let foreign = [
        other.publish("a", "x").await,
        other.publish("a", "y").await,
        other.publish("a", "z").await,
    ];
    let replica = Replica::start(&[]).await;
    replica.publish("a", "1").await;
    replica.publish("a", "2").await;
    let ids = foreign
        .iter()
        .map(ToString::to_string)
        .chain(["nonsense".to_owned(), "2-aaaaaa".to_owned()]);
    for id in ids {
        let (mut stream, first) = Stream::resume(&replica, "/feeds/a", &id).await;
        assert_eq!(stream.event().await.kind, "hub:reset", "{id}");
        assert_eq!(stream.data(2).await, ["1", "2"]);
        drop(stream);
        // The id of the first block brings the reset again, for a client that was cut off before it.
        let (mut stream, _) = Stream::resume(&replica, "/feeds/a", &first.id).await;
        assert_eq!(stream.event().await.kind, "hub:reset", "{id}");
    }
}

#[tokio::test]
async fn what_the_log_still_holds_comes_after_the_gap_even_if_the_log_has_moved_on_since_it_was_read()
 {
    let replica = Replica::start(&["--window-events", "2", "--memory-events", "4"]).await;
    let first = replica.publish("a", "1").await.to_string();
    for n in 2..=9 {
        replica.publish("a", n.to_string()).await;
    }
    // What this one reads is kept for others.
    let (mut stream, _) = Stream::resume(&replica, "/feeds/*", &first).await;
    assert_eq!(stream.event().await.kind, "hub:gap");
    assert_eq!(stream.data(4).await, ["6", "7", "8", "9"]);
    for n in 10..=13 {
        replica.publish("a", n.to_string()).await;
    }
    let (mut stream, _) = Stream::resume(&replica, "/feeds/*", &first).await;
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "13") {
        let event = stream.event().await;
        heard.push(match event.kind.as_str() {
            "message" => event.data,
            kind => kind.to_owned(),
        });
    }
    let expected = ["hub:gap", "6", "7", "hub:gap", "10", "11", "12", "13"];
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn what_the_window_still_holds_is_in_no_gap() {
    let replica = Replica::start(&["--window-events", "4", "--memory-events", "2"]).await;
    let first = replica.publish("a", "1").await.to_string();
    let mut ids = Vec::new();
    for n in 2..=9 {
        ids.push(replica.publish("a", n.to_string()).await);
    }
    let (mut stream, _) = Stream::resume(&replica, "/feeds/a", &first).await;
    let gap = stream.event().await;
    let told: Value = serde_json::from_str(&gap.data).unwrap();
    let before = ids[4].to_string();
    assert_eq!(
        told,
        json!({"after": first, "before": before, "reason": "expired"})
    );
    assert_eq!(stream.data(4).await, ["6", "7", "8", "9"]);
    let (mut stream, _) = Stream::resume(&replica, "/feeds/a", &gap.id).await;
    assert_eq!(stream.data(4).await, ["6", "7", "8", "9"]);
}
