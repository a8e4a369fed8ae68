//! Reading ranges: complete through their end, or told what is missing.

use super::*;
use crate::nats_server::Version;
use tidings::log::{Batch, Limit, Range, Select};

const ALL: Limit = Limit {
    events: 1_000_000,
    bytes: 64 << 20,
};

on_both!(
    a_range_is_read_from_after_its_start_through_its_end,
    one_feed_of_a_range_is_read_alone,
    a_range_without_events_is_read_through_its_end,
    a_range_beyond_the_logs_end_is_read_through_its_end,
    a_read_stops_at_the_event_that_reaches_a_limit,
    large_events_are_read_whole_within_a_small_limit,
    what_has_expired_of_a_range_is_told,
    ranges_with_holes_are_no_loss,
    a_read_leaves_no_consumer,
    a_hundred_thousand_events_are_read_in_order,
    each_event_of_a_short_stream_is_read_or_told_as_lost,
);

async fn read(log: &Log, after: u64, through: u64, select: &Select, limit: Limit) -> Batch {
    let range = Range { after, through };
    soon(log.read(range, select, limit))
        .await
        .expect("it is read")
}

fn feed(name: &str) -> Select {
    Select::Feed(name.parse().unwrap())
}

/// Events 1 to `count`, in turn on the feeds `f0`, `f1` and `f2`.
async fn three_feeds(log: &Log, count: usize) {
    for n in 0..count {
        let append = on(&format!("f{}", n % 3), &n.to_string());
        log.append(append).await.unwrap();
    }
}

async fn a_range_is_read_from_after_its_start_through_its_end(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    fill(&log, "a", 20).await;
    let batch = read(&log, 5, 15, &Select::All, ALL).await;
    assert_eq!(sequences(&batch.events), (6..=15).collect::<Vec<_>>());
    assert_eq!((batch.through, batch.first), (15, 1));
    let last = batch.events[9].position;
    assert_eq!(log.position_at(15).await.unwrap(), Some(last));
    let nothing = read(&log, 5, 5, &Select::All, ALL).await;
    assert_eq!((nothing.events.len(), nothing.through), (0, 5));
}

async fn one_feed_of_a_range_is_read_alone(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    three_feeds(&log, 30).await;
    let batch = read(&log, 4, 20, &feed("f0"), ALL).await;
    assert_eq!(sequences(&batch.events), [7, 10, 13, 16, 19]);
    assert_eq!((batch.through, batch.first), (20, 1));
}

async fn a_range_without_events_is_read_through_its_end(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    three_feeds(&log, 6).await;
    let batch = read(&log, 0, 6, &feed("other"), ALL).await;
    assert_eq!((batch.events.len(), batch.through, batch.first), (0, 6, 1));
    // The feed's only event lies beyond the range.
    log.append(on("late", "")).await.unwrap();
    let batch = read(&log, 0, 6, &feed("late"), ALL).await;
    assert_eq!((batch.events.len(), batch.through, batch.first), (0, 6, 1));
}

async fn a_range_beyond_the_logs_end_is_read_through_its_end(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    fill(&log, "a", 3).await;
    let batch = read(&log, 1, 100, &Select::All, ALL).await;
    assert_eq!(sequences(&batch.events), [2, 3]);
    assert_eq!((batch.through, batch.first), (100, 1));
    let batch = read(&log, 50, 100, &Select::All, ALL).await;
    assert_eq!((batch.events.len(), batch.through), (0, 100));
}

async fn a_read_stops_at_the_event_that_reaches_a_limit(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    for _ in 0..20 {
        log.append(on("a", &"x".repeat(100))).await.unwrap();
    }
    let limit = Limit { events: 4, ..ALL };
    let batch = read(&log, 2, 20, &Select::All, limit).await;
    assert_eq!(sequences(&batch.events), [3, 4, 5, 6]);
    assert_eq!(batch.through, 6);
    let limit = Limit { bytes: 250, ..ALL };
    let batch = read(&log, 2, 20, &feed("a"), limit).await;
    assert_eq!(sequences(&batch.events), [3, 4, 5]);
    assert_eq!(batch.through, 5);
}

async fn large_events_are_read_whole_within_a_small_limit(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    for n in 0..30 {
        let size = if n % 10 == 5 { 99_000 } else { 20_000 };
        log.append(on("a", &"x".repeat(size))).await.unwrap();
    }
    let mut after = 0;
    let mut all = Vec::new();
    while after < 30 {
        let limit = Limit {
            bytes: 70_000,
            ..ALL
        };
        let batch = read(&log, after, 30, &Select::All, limit).await;
        let bytes: usize = batch.events.iter().map(|e| e.message.heap_bytes()).sum();
        assert!(bytes < 70_000 + 99_000, "{bytes}");
        assert!(batch.through > after);
        after = batch.through;
        all.extend(batch.events);
    }
    assert_eq!(sequences(&all), (1..=30).collect::<Vec<_>>());
}

async fn what_has_expired_of_a_range_is_told(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    create_stream(&client, json!({ "max_msgs": 6 })).await;
    let log = opened(&server).await;
    three_feeds(&log, 20).await;
    let batch = read(&log, 3, 18, &Select::All, ALL).await;
    assert_eq!(batch.first, 15);
    assert_eq!(sequences(&batch.events), [15, 16, 17, 18]);
    let batch = read(&log, 3, 18, &feed("f1"), ALL).await;
    assert_eq!(batch.first, 15);
    assert_eq!(sequences(&batch.events), [17]);
    // Nothing of the range is left.
    let batch = read(&log, 3, 10, &Select::All, ALL).await;
    assert_eq!(
        (batch.events.len(), batch.through, batch.first),
        (0, 10, 11)
    );
    api(&client, "STREAM.PURGE.TIDINGS", json!({})).await;
    let batch = read(&log, 3, 20, &Select::All, ALL).await;
    assert_eq!(
        (batch.events.len(), batch.through, batch.first),
        (0, 20, 21)
    );
}

async fn ranges_with_holes_are_no_loss(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    create_stream(&client, json!({ "subjects": ["feeds.>", "audit"] })).await;
    let log = opened(&server).await;
    for _ in 0..10 {
        fill(&log, "a", 1).await;
        client.request("audit", "".into()).await.unwrap();
    }
    for sequence in [5, 19, 20] {
        delete_message(&client, sequence).await;
    }
    let batch = read(&log, 2, 20, &Select::All, ALL).await;
    assert_eq!(sequences(&batch.events), [3, 7, 9, 11, 13, 15, 17]);
    assert_eq!((batch.through, batch.first), (20, 1));
}

async fn a_read_leaves_no_consumer(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    fill(&log, "a", 20).await;
    let limit = Limit { events: 3, ..ALL };
    for _ in 0..5 {
        read(&log, 0, 20, &Select::All, limit).await;
    }
    let client = server.client().await;
    let count = async || {
        let names = api(&client, "CONSUMER.NAMES.TIDINGS", json!({})).await;
        names["total"].as_u64().unwrap()
    };
    soon(async { while count().await > 0 {} }).await;
}

async fn a_hundred_thousand_events_are_read_in_order(version: Version) {
    const EVENTS: u64 = 100_000;
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    let client = server.client().await;
    for n in 0..EVENTS as usize {
        publish_paced(&client, n).await;
    }
    soon(async { while log.bounds().await.unwrap().last.sequence() < EVENTS {} }).await;
    let batch = read(&log, 0, EVENTS, &Select::All, ALL).await;
    assert_eq!(sequences(&batch.events), (1..=EVENTS).collect::<Vec<_>>());
    let batch = read(&log, 0, EVENTS, &feed("f7"), ALL).await;
    assert_eq!(batch.events.len(), 1000);
    assert_eq!((batch.through, batch.first), (EVENTS, 1));
}

async fn each_event_of_a_short_stream_is_read_or_told_as_lost(version: Version) {
    const EVENTS: usize = 10_000;
    let server = NatsServer::start(version);
    let client = server.client().await;
    create_stream(&client, json!({ "max_msgs": 40 })).await;
    let log = opened(&server).await;
    let publishes = async {
        for n in 0..EVENTS {
            publish_paced(&client, n).await;
        }
        client.request("feeds.f0", "".into()).await.unwrap();
    };
    let limit = Limit { events: 7, ..ALL };
    let reads = async {
        let mut last = 0;
        while last < EVENTS as u64 {
            let through = log.bounds().await.unwrap().last.sequence();
            let batch = read(&log, last, through, &Select::All, limit).await;
            let start = batch.first.max(last + 1).min(batch.through + 1);
            assert_eq!(
                sequences(&batch.events),
                (start..=batch.through).collect::<Vec<_>>()
            );
            // One feed has each hundredth.
            let one = read(&log, last, through, &feed("f7"), ALL).await;
            let start = one.first.max(last + 1);
            let held: Vec<u64> = (start..=through).filter(|s| s % 100 == 8).collect();
            assert_eq!(sequences(&one.events), held);
            last = batch.through;
        }
    };
    soon(async { tokio::join!(publishes, reads) }).await;
}
