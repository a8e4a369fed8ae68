//! Following: every event once and in order, and every loss told.

use super::*;
use crate::nats_server::Version;
use tidings::event::Position;

on_both!(
    an_empty_log_answers_at_once_and_then_waits,
    a_follower_begins_after_the_sequence_it_is_given,
    plain_publishes_are_followed,
    deleted_messages_and_other_subjects_are_no_loss,
    retention_that_overtakes_a_follower_is_told_before_what_is_left,
    a_log_that_has_expired_altogether_is_told_at_once,
    a_purge_between_two_events_is_told_between_them,
    a_consumer_that_is_deleted_ends_the_follower,
    a_recreated_stream_ends_the_follower,
    a_follower_ahead_of_the_log_is_refused,
    a_dropped_follower_leaves_no_consumer,
    a_stream_that_is_edited_so_that_it_fits_no_more_ends_the_follower_and_reads,
    a_larger_message_may_be_stored_once_the_stream_is_edited,
    following_keeps_up_with_a_hundred_thousand_events,
    each_event_of_a_short_stream_is_followed_or_told_as_lost,
);

async fn an_empty_log_answers_at_once_and_then_waits(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    let mut follow = log.follow(0).await.unwrap();
    let first = soon(follow.next()).await.unwrap();
    assert!(first.events.is_empty() && first.lost_before.is_none());
    assert_eq!(first.pending, 0);
    // Dropped again and again, `next` loses nothing.
    let appends = fill(&log, "a", 200);
    let mut events = Vec::new();
    let follows = async {
        while events.len() < 200 {
            let step = Duration::from_micros(50);
            if let Ok(next) = tokio::time::timeout(step, follow.next()).await {
                events.extend(next.unwrap().events);
            }
        }
    };
    soon(async { tokio::join!(appends, follows) }).await;
    assert_eq!(sequences(&events), (1..=200).collect::<Vec<_>>());
}

async fn a_follower_begins_after_the_sequence_it_is_given(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    fill(&log, "a", 10).await;
    let mut follow = log.follow(7).await.unwrap();
    let first = soon(follow.next()).await.unwrap();
    assert_eq!(first.pending, 3 - first.events.len() as u64);
    let mut events = first.events;
    if events.len() < 3 {
        let rest = next_events(&mut follow, 3 - events.len()).await;
        events.extend(rest);
    }
    assert_eq!(texts(&events), ["7", "8", "9"]);
    assert_eq!(events[2].position, log.bounds().await.unwrap().last);
    let mut at_end = log.follow(10).await.unwrap();
    assert!(soon(at_end.next()).await.unwrap().events.is_empty());
}

async fn plain_publishes_are_followed(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    let mut follow = log.follow(0).await.unwrap();
    let client = server.client().await;
    for n in 0..100 {
        let data = n.to_string().into();
        client.publish("feeds.orders.eu", data).await.unwrap();
    }
    let events = next_events(&mut follow, 100).await;
    assert_eq!(sequences(&events), (1..=100).collect::<Vec<_>>());
    assert_eq!(text(&events[99]), "99");
    assert_eq!(events[0].message.feed.as_str(), "orders.eu");
    assert_eq!(events[0].message.content_type, None);
}

async fn deleted_messages_and_other_subjects_are_no_loss(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    create_stream(&client, json!({ "subjects": ["feeds.>", "audit.*"] })).await;
    let log = opened(&server).await;
    for n in 0..30 {
        fill(&log, "a", 1).await;
        let other = client.request(format!("audit.{n}"), "".into());
        other.await.unwrap();
    }
    for sequence in [3, 5, 7, 59] {
        delete_message(&client, sequence).await;
    }
    let mut follow = log.follow(0).await.unwrap();
    let events = next_events(&mut follow, 26).await;
    let held = (1..59).step_by(2).filter(|s| ![3, 5, 7].contains(s));
    assert_eq!(sequences(&events), held.collect::<Vec<u64>>());
    fill(&log, "a", 1).await;
    assert_eq!(sequences(&next_events(&mut follow, 1).await), [61]);
}

async fn retention_that_overtakes_a_follower_is_told_before_what_is_left(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    create_stream(&client, json!({ "max_msgs": 5 })).await;
    let log = opened(&server).await;
    fill(&log, "a", 20).await;
    let mut follow = log.follow(3).await.unwrap();
    let first = soon(follow.next()).await.unwrap();
    assert_eq!(first.lost_before, Some(16));
    let mut events = first.events;
    if events.len() < 5 {
        let rest = next_events(&mut follow, 5 - events.len()).await;
        events.extend(rest);
    }
    assert_eq!(sequences(&events), [16, 17, 18, 19, 20]);
    fill(&log, "a", 3).await;
    assert_eq!(sequences(&next_events(&mut follow, 3).await), [21, 22, 23]);
}

async fn a_log_that_has_expired_altogether_is_told_at_once(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    let log = opened(&server).await;
    fill(&log, "a", 20).await;
    api(&client, "STREAM.PURGE.TIDINGS", json!({})).await;
    let mut follow = log.follow(3).await.unwrap();
    let first = soon(follow.next()).await.unwrap();
    assert_eq!((first.lost_before, first.events.len()), (Some(21), 0));
    fill(&log, "a", 1).await;
    assert_eq!(sequences(&next_events(&mut follow, 1).await), [21]);
    // One that had everything has lost nothing.
    api(&client, "STREAM.PURGE.TIDINGS", json!({})).await;
    let mut follow = log.follow(21).await.unwrap();
    let first = soon(follow.next()).await.unwrap();
    assert_eq!((first.lost_before, first.events.len()), (None, 0));
}

async fn a_purge_between_two_events_is_told_between_them(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    let log = opened(&server).await;
    fill(&log, "a", 4).await;
    api(&client, "STREAM.PURGE.TIDINGS", json!({ "seq": 4 })).await;
    let mut follow = log.follow(2).await.unwrap();
    let first = soon(follow.next()).await.unwrap();
    assert_eq!(first.lost_before, Some(4));
    assert_eq!(sequences(&first.events), [4]);
    // And a follower that has had it all knows of no loss.
    fill(&log, "a", 1).await;
    api(&client, "STREAM.PURGE.TIDINGS", json!({})).await;
    assert_eq!(sequences(&next_events(&mut follow, 1).await), [5]);
}

async fn a_consumer_that_is_deleted_ends_the_follower(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    let mut follow = log.follow(0).await.unwrap();
    let client = server.client().await;
    let names = api(&client, "CONSUMER.NAMES.TIDINGS", json!({})).await;
    let name = names["consumers"][0].as_str().unwrap();
    assert!(name.starts_with("tidings-follow-"), "{name}");
    api(
        &client,
        &format!("CONSUMER.DELETE.TIDINGS.{name}"),
        json!({}),
    )
    .await;
    let text = end_of(&mut follow).await;
    assert!(text.contains(name), "{text}");
    assert_eq!(end_of(&mut follow).await, text, "it stays ended");
}

async fn edit_stream(client: &Client, changes: Value) {
    let mut config = api(client, "STREAM.INFO.TIDINGS", json!({})).await["config"].take();
    for (name, value) in changes.as_object().expect("an object") {
        config[name] = value.clone();
    }
    api(client, "STREAM.UPDATE.TIDINGS", config).await;
}

async fn a_stream_that_is_edited_so_that_it_fits_no_more_ends_the_follower_and_reads(
    version: Version,
) {
    for (changes, why) in [
        (json!({ "max_msgs_per_subject": 1 }), "max_msgs_per_subject"),
        (json!({ "allow_rollup_hdrs": true }), "allow_rollup_hdrs"),
        (
            json!({ "duplicate_window": 1_000_000_000 }),
            "duplicate_window",
        ),
        (json!({ "subjects": ["feeds.a"] }), "subjects"),
    ] {
        // A server of its own: one that has deleted a stream may fail to make the next of its name (2.15: code 10049).
        let server = NatsServer::start(version);
        let client = server.client().await;
        create_stream(&client, json!({})).await;
        let log = opened(&server).await;
        fill(&log, "a", 3).await;
        let mut follow = log.follow(0).await.unwrap();
        next_events(&mut follow, 3).await;
        edit_stream(&client, changes).await;
        let text = end_of(&mut follow).await;
        assert!(text.contains(why), "{text}");
        let range = tidings::log::Range {
            after: 0,
            through: 3,
        };
        let limit = tidings::log::Limit {
            events: 9,
            bytes: 1 << 20,
        };
        let read = log.read(range, &tidings::log::Select::All, limit).await;
        let text = unavailable(read);
        assert!(text.contains(why), "{text}");
    }
}

async fn a_larger_message_may_be_stored_once_the_stream_is_edited(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    create_stream(&client, json!({ "max_msg_size": 100 })).await;
    let (log, jetstream) = log_of(server.settings());
    log.open().await.unwrap();
    let _follow = log.follow(0).await.unwrap();
    let large = on("a", &"x".repeat(200));
    log.append(large.clone()).await.unwrap_err();
    edit_stream(&client, json!({ "max_msg_size": -1 })).await;
    soon(async {
        while jetstream.largest_event() < 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    log.append(large).await.unwrap();
}

/// Servers from 2.11 on can pause a consumer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_paused_ends_the_follower() {
    let server = NatsServer::start(Version::V2_15);
    let client = server.client().await;
    let log = opened(&server).await;
    let mut follow = log.follow(0).await.unwrap();
    soon(follow.next()).await.unwrap();
    let names = api(&client, "CONSUMER.NAMES.TIDINGS", json!({})).await;
    let name = names["consumers"][0].as_str().unwrap().to_owned();
    let until = json!({ "pause_until": "2100-01-01T00:00:00Z" });
    api(&client, &format!("CONSUMER.PAUSE.TIDINGS.{name}"), until).await;
    fill(&log, "a", 1).await;
    let text = end_of(&mut follow).await;
    assert!(text.contains("brings nothing"), "{text}");
}

async fn a_recreated_stream_ends_the_follower(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    fill(&log, "a", 3).await;
    let before = log.bounds().await.unwrap();
    let mut follow = log.follow(0).await.unwrap();
    next_events(&mut follow, 3).await;
    let client = server.client().await;
    api(&client, "STREAM.DELETE.TIDINGS", json!({})).await;
    create_stream(&client, json!({})).await;
    for n in 0..5 {
        client
            .publish("feeds.new", n.to_string().into())
            .await
            .unwrap();
    }
    client.flush().await.unwrap();
    // Not opened since: neither may be mistaken for the log that was.
    let text = unavailable(log.follow(3).await);
    assert!(text.contains("re-created"), "{text}");
    let range = tidings::log::Range {
        after: 0,
        through: 3,
    };
    let limit = tidings::log::Limit {
        events: 10,
        bytes: 1 << 20,
    };
    let text = unavailable(log.read(range, &tidings::log::Select::All, limit).await);
    assert!(text.contains("re-created"), "{text}");
    end_of(&mut follow).await;
    let after = log.open().await.unwrap();
    assert_ne!(before.created, after.created);
    assert_ne!(log.position_at(3).await.unwrap(), Some(before.last));
    log.follow(0).await.expect("it is the log now");
}

async fn a_follower_ahead_of_the_log_is_refused(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    fill(&log, "a", 3).await;
    let text = unavailable(log.follow(10).await);
    assert!(text.contains("ends at 3, before 10"), "{text}");
    assert_ne!(log.bounds().await.unwrap().last, Position::START);
}

async fn a_dropped_follower_leaves_no_consumer(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    let follow = log.follow(0).await.unwrap();
    let client = server.client().await;
    let count = async || {
        let names = api(&client, "CONSUMER.NAMES.TIDINGS", json!({})).await;
        names["total"].as_u64().unwrap()
    };
    assert_eq!(count().await, 1);
    drop(follow);
    soon(async { while count().await > 0 {} }).await;
}

async fn following_keeps_up_with_a_hundred_thousand_events(version: Version) {
    const EVENTS: usize = 100_000;
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    let mut follow = log.follow(0).await.unwrap();
    let client = server.client().await;
    let publishes = async {
        for n in 0..EVENTS {
            publish_paced(&client, n).await;
        }
    };
    let (events, ()) = tokio::join!(next_events(&mut follow, EVENTS), publishes);
    assert_eq!(sequences(&events), (1..=EVENTS as u64).collect::<Vec<_>>());
    // And once more from the start, as fast as the server sends.
    let mut follow = log.follow(0).await.unwrap();
    assert_eq!(next_events(&mut follow, EVENTS).await, events);
}

async fn each_event_of_a_short_stream_is_followed_or_told_as_lost(version: Version) {
    const EVENTS: usize = 20_000;
    let server = NatsServer::start(version);
    let client = server.client().await;
    create_stream(&client, json!({ "max_msgs": 20 })).await;
    let log = opened(&server).await;
    let publishes = async {
        for n in 0..EVENTS {
            publish_paced(&client, n).await;
        }
        client.request("feeds.f0", "".into()).await.unwrap();
    };
    let follows = async {
        let mut last = 0;
        let mut follow = log.follow(last).await.unwrap();
        let mut steps = 0;
        while last <= EVENTS as u64 {
            let next = follow.next().await.unwrap();
            if let Some(first) = next.lost_before {
                assert!(first > last + 1, "{first} after {last}");
                last = first - 1;
            }
            for event in next.events {
                assert_eq!(event.position.sequence(), last + 1);
                last += 1;
            }
            steps += 1;
            if steps % 20 == 0 {
                follow = log.follow(last).await.unwrap();
            }
        }
    };
    soon(async { tokio::join!(publishes, follows) }).await;
}
