//! What other publishers send, as events.

use super::*;
use crate::nats_server::Version;
use async_nats::HeaderMap;
use std::sync::atomic::Ordering::Relaxed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

on_both!(
    headers_become_type_key_and_content_type,
    cloud_events_attributes_stand_in_for_our_headers,
    a_type_or_key_that_may_not_be_sent_is_dropped_and_counted,
    an_event_over_the_limit_is_known_by_its_size,
    subjects_that_are_no_feeds_are_skipped_and_counted,
    a_message_that_the_client_can_not_read_stops_nobody,
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

/// Headers that are not UTF-8 make async-nats end the connection, each time that they come.
async fn a_message_that_the_client_can_not_read_stops_nobody(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    fill(&log, "a", 3).await;
    let address = ("127.0.0.1", server.port());
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let headers: &[u8] = b"NATS/1.0\r\nEvent-Type: caf\xe9\r\nEvent-Key: k\r\n\r\n";
    let mut bytes = b"CONNECT {\"verbose\":false,\"headers\":true}\r\n".to_vec();
    let length = headers.len();
    bytes.extend(format!("HPUB feeds.a {length} {}\r\n", length + 4).bytes());
    bytes.extend(headers);
    bytes.extend(b"data\r\nPING\r\n");
    socket.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|part| part == b"PONG") {
        assert!(soon(socket.read_buf(&mut answer)).await.unwrap() > 0);
    }
    fill(&log, "a", 3).await;

    let mut events: Vec<Arc<Event>> = Vec::new();
    soon(async {
        while events.len() < 7 {
            if log.open().await.is_err() {
                continue;
            }
            let after = events.last().map_or(0, |event| event.position.sequence());
            let Ok(mut follow) = log.follow(after).await else {
                continue;
            };
            while events.len() < 7
                && let Ok(next) = follow.next().await
            {
                assert_eq!(next.lost_before, None);
                events.extend(next.events);
            }
        }
    })
    .await;
    assert_eq!(sequences(&events), (1..=7).collect::<Vec<_>>());
    assert_eq!(text(&events[3]), "data");
    assert_eq!(events[3].message.key.as_ref().unwrap().as_str(), "k");

    let limit = tidings::log::Limit {
        events: 100,
        bytes: 1 << 20,
    };
    let mut again = Vec::new();
    let mut after = 1;
    soon(async {
        while after < 7 {
            reopened(&log).await;
            let range = tidings::log::Range { after, through: 7 };
            if let Ok(batch) = log.read(range, &tidings::log::Select::All, limit).await {
                after = batch.through;
                again.extend(batch.events);
            }
        }
    })
    .await;
    assert_eq!(again, events[1..]);
}
