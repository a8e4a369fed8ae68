//! What other publishers send, as events.

use super::*;
use crate::nats_server::Version;
use async_nats::HeaderMap;
use std::sync::atomic::Ordering::Relaxed;

on_both!(
    headers_become_type_key_and_content_type,
    cloud_events_attributes_stand_in_for_our_headers,
    a_type_or_key_that_may_not_be_sent_is_dropped_and_counted,
    an_event_over_the_limit_is_known_by_its_size,
    subjects_that_are_no_feeds_are_skipped_and_counted,
);

async fn publish(client: &Client, subject: &str, headers: &[(&'static str, &str)], data: &str) {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, *value);
    }
    let (subject, data) = (subject.to_owned(), data.to_owned().into());
    let answer = client.request_with_headers(subject, map, data).await;
    answer.expect("it is stored");
}

async fn headers_become_type_key_and_content_type(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    let client = server.client().await;
    let headers = [
        ("Event-Type", "created"),
        ("event-key", "42"),
        ("Content-Type", "text/csv"),
        ("Other", "x"),
        ("Nats-Msg-Id", "unique"),
    ];
    publish(&client, "feeds.a", &headers, "1,2").await;
    publish(&client, "feeds.a", &[("Event-Type", "message")], "").await;
    let mut follow = log.follow(0).await.unwrap();
    let events = next_events(&mut follow, 2).await;
    let message = &events[0].message;
    assert_eq!(message.kind.as_str(), "created");
    assert_eq!(message.key.as_ref().unwrap().as_str(), "42");
    assert_eq!(message.content_type.as_deref(), Some("text/csv"));
    assert_eq!(text(&events[0]), "1,2");
    assert!(events[1].message.kind.is_default());
    assert_eq!(text(&events[1]), "");
}

async fn cloud_events_attributes_stand_in_for_our_headers(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    let client = server.client().await;
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-type", "com.example.caf%C3%A9"),
        ("ce-id", "a%20b"),
        ("content-type", "application/json"),
    ];
    publish(&client, "feeds.a", &headers, "{}").await;
    let both = [("ce-type", "theirs"), ("Event-Type", "ours%20")];
    publish(&client, "feeds.a", &both, "{}").await;
    let mut follow = log.follow(0).await.unwrap();
    let events = next_events(&mut follow, 2).await;
    let message = &events[0].message;
    assert_eq!(message.kind.as_str(), "com.example.café");
    assert_eq!(message.key.as_ref().unwrap().as_str(), "a b");
    assert_eq!(message.content_type.as_deref(), Some("application/json"));
    assert_eq!(events[1].message.kind.as_str(), "ours%20");
}

async fn a_type_or_key_that_may_not_be_sent_is_dropped_and_counted(version: Version) {
    let server = NatsServer::start(version);
    let (log, jetstream) = log_of(server.settings());
    log.open().await.unwrap();
    let client = server.client().await;
    let long = "k".repeat(1025);
    for headers in [
        [("Event-Type", "hub:reset")],
        [("Event-Type", "error")],
        [("ce-type", "a%0Aid: 1")],
        [("ce-type", "%FF")],
        [("Event-Key", &long)],
        [("ce-id", "a%00b")],
    ] {
        publish(&client, "feeds.a", &headers, "data").await;
    }
    let mut follow = log.follow(0).await.unwrap();
    for event in next_events(&mut follow, 6).await {
        assert!(event.message.kind.is_default());
        assert_eq!(event.message.key, None);
        assert_eq!(text(&event), "data");
    }
    let counters = jetstream.counters();
    assert_eq!(counters.dropped_types.load(Relaxed), 4);
    assert_eq!(counters.dropped_keys.load(Relaxed), 2);
    assert_eq!(counters.skipped_subjects.load(Relaxed), 0);
}

async fn an_event_over_the_limit_is_known_by_its_size(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    let client = server.client().await;
    publish(&client, "feeds.a", &[], &"x".repeat(MAX_EVENT_BYTES)).await;
    publish(&client, "feeds.a", &[], &"x".repeat(MAX_EVENT_BYTES + 1)).await;
    let mut follow = log.follow(0).await.unwrap();
    let events = next_events(&mut follow, 2).await;
    assert_eq!(text(&events[0]).len(), MAX_EVENT_BYTES);
    let bytes = MAX_EVENT_BYTES + 1;
    assert_eq!(events[1].message.data, Data::Oversize { bytes });
}

async fn subjects_that_are_no_feeds_are_skipped_and_counted(version: Version) {
    let server = NatsServer::start(version);
    let (log, jetstream) = log_of(server.settings());
    log.open().await.unwrap();
    let client = server.client().await;
    let long = "x".repeat(256);
    for name in ["a", "a/b", "b\u{a0}c", "*", &long, "z"] {
        publish(&client, &format!("feeds.{name}"), &[], "").await;
    }
    let mut follow = log.follow(0).await.unwrap();
    let events = next_events(&mut follow, 2).await;
    assert_eq!(sequences(&events), [1, 6]);
    assert_eq!(jetstream.counters().skipped_subjects.load(Relaxed), 4);
}
