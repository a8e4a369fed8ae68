//! Appends: stored once, told apart where they failed.

use super::*;
use crate::nats_server::Version;
use tidings::log::AppendError;

on_both!(
    an_appended_event_is_followed_and_read_as_it_was,
    the_same_key_on_the_same_feed_is_the_same_event,
    an_event_over_the_servers_payload_is_refused_before_it_is_sent,
    an_event_over_the_streams_message_size_is_too_large,
    a_full_stream_that_takes_no_more_stores_nothing,
    a_feed_that_another_stream_takes_in_is_not_stored,
    without_a_connection_nothing_is_stored,
    an_answer_that_never_comes_leaves_it_unknown,
    once_an_answer_has_not_come_nothing_is_handed_over_until_one_does,
);

async fn an_appended_event_is_followed_and_read_as_it_was(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    let mut append = on("orders.eu", r#"{"n":1}"#);
    append.message.kind = "created".parse().unwrap();
    append.message.key = Some("käy 1".parse().unwrap());
    append.message.content_type = Some("application/json".into());
    append.message.sender = Some("alice".into());
    append.message.connection = Some("c1".into());
    let appended = log.append(append.clone()).await.unwrap();
    assert_eq!((appended.sequence, appended.repeated), (1, false));
    let mut follow = log.follow(0).await.unwrap();
    let event = next_events(&mut follow, 1).await.remove(0);
    assert_eq!(event.message, append.message);
    assert_eq!(log.position_at(1).await.unwrap(), Some(event.position));
    assert_eq!(log.bounds().await.unwrap().last, event.position);
    assert_eq!(log.position_at(2).await.unwrap(), None);
}

async fn the_same_key_on_the_same_feed_is_the_same_event(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    let keyed = |feed, data| Append {
        idempotency_key: Some("k".to_owned()),
        ..on(feed, data)
    };
    let first = log.append(keyed("a", "1")).await.unwrap();
    let again = log.append(keyed("a", "2")).await.unwrap();
    let other = log.append(keyed("b", "3")).await.unwrap();
    assert_eq!((first.sequence, first.repeated), (1, false));
    assert_eq!((again.sequence, again.repeated), (1, true));
    assert_eq!((other.sequence, other.repeated), (2, false));
}

async fn an_event_over_the_servers_payload_is_refused_before_it_is_sent(version: Version) {
    let config = "max_payload: 2000\njetstream { store_dir: $STORE }";
    let server = NatsServer::with(version, config);
    let log = opened(&server).await;
    let mut append = on("a", &"x".repeat(1900));
    append.message.kind = "t".parse().unwrap();
    // `NATS/1.0`, one header and three line ends beside the data.
    let headers = "NATS/1.0\r\nEvent-Type: t\r\n\r\n".len();
    append.message.data = Data::Bytes("x".repeat(2000 - headers).into());
    log.append(append.clone()).await.expect("it just fits");
    append.message.data = Data::Bytes("x".repeat(2001 - headers).into());
    let error = log.append(append).await.unwrap_err();
    assert_eq!(
        error,
        AppendError::TooLarge {
            bytes: 2001,
            max: 2000
        }
    );
    log.append(on("a", &"x".repeat(2000)))
        .await
        .expect("no headers");
}

async fn an_event_over_the_streams_message_size_is_too_large(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    create_stream(&client, json!({ "max_msg_size": 100 })).await;
    let (log, jetstream) = log_of(server.settings());
    log.open().await.unwrap();
    let error = log.append(on("a", &"x".repeat(101))).await.unwrap_err();
    assert_eq!(
        error,
        AppendError::TooLarge {
            bytes: 101,
            max: 100
        }
    );
    assert_eq!(jetstream.largest_event(), 0);
    log.append(on("a", &"x".repeat(100))).await.unwrap();
}

async fn a_full_stream_that_takes_no_more_stores_nothing(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    create_stream(&client, json!({ "max_msgs": 2, "discard": "new" })).await;
    let log = opened(&server).await;
    fill(&log, "a", 2).await;
    let error = log.append(on("a", "3")).await.unwrap_err();
    let AppendError::NotStored(text) = error else {
        panic!("{error}");
    };
    assert!(text.contains("maximum messages exceeded"), "{text}");
}

async fn a_feed_that_another_stream_takes_in_is_not_stored(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    create_stream(&client, json!({ "subjects": ["a.>"] })).await;
    create_stream(&client, json!({ "name": "OTHER", "subjects": ["b.>"] })).await;
    let mut settings = server.settings();
    settings.prefix = String::new();
    let (log, _) = log_of(settings);
    log.open().await.unwrap();
    log.append(on("a.1", "")).await.unwrap();
    for (feed, why) in [
        ("b.1", "the stream `OTHER` takes in `b.1`"),
        ("c.1", "no stream takes in `c.1`"),
        ("$JS.API.STREAM.DELETE.TIDINGS", "one of NATS's own"),
    ] {
        let error = log.append(on(feed, "")).await.unwrap_err();
        let AppendError::NotStored(text) = error else {
            panic!("{error}");
        };
        assert!(text.contains(why), "{text}");
    }
}

async fn without_a_connection_nothing_is_stored(version: Version) {
    let mut server = NatsServer::start(version);
    let log = opened(&server).await;
    let mut follow = log.follow(0).await.unwrap();
    server.stop();
    end_of(&mut follow).await;
    let error = log.append(on("a", "1")).await.unwrap_err();
    assert!(matches!(error, AppendError::NotStored(_)), "{error}");
    server.run();
    let bounds = reopened(&log).await;
    assert_eq!(bounds.last.sequence(), 0);
}

async fn an_answer_that_never_comes_leaves_it_unknown(version: Version) {
    let server = NatsServer::start(version);
    let mut settings = server.settings();
    settings.timeout_seconds = 1;
    let (log, _) = log_of(settings);
    log.open().await.unwrap();
    server.freeze();
    let error = soon(log.append(on("a", "1"))).await.unwrap_err();
    server.thaw();
    assert!(matches!(error, AppendError::Unknown(_)), "{error}");
    // And indeed it comes to be stored.
    let mut follow = log.follow(0).await.unwrap();
    assert_eq!(texts(&next_events(&mut follow, 1).await), ["1"]);
}

async fn once_an_answer_has_not_come_nothing_is_handed_over_until_one_does(version: Version) {
    let server = NatsServer::start(version);
    let mut settings = server.settings();
    settings.timeout_seconds = 1;
    let (log, _) = log_of(settings);
    log.open().await.unwrap();
    server.freeze();
    let error = soon(log.append(on("a", "1"))).await.unwrap_err();
    assert!(matches!(error, AppendError::Unknown(_)), "{error}");
    let error = soon(log.append(on("a", "2"))).await.unwrap_err();
    let AppendError::NotStored(text) = error else {
        panic!("{error}");
    };
    assert!(text.ends_with("no answer within 1 s"), "{text}");
    server.thaw();
    reopened(&log).await;
    log.append(on("a", "3")).await.unwrap();
    let mut follow = log.follow(0).await.unwrap();
    assert_eq!(texts(&next_events(&mut follow, 2).await), ["1", "3"]);
}
