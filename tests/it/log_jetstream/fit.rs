//! Opening: created where there is none, adopted where it fits, and told exactly where not.

use super::*;
use crate::nats_server::{Version, settings};
use tidings::config::CreateStream;
use tidings::event::Position;
use tidings::log::ConnectionState;

on_both!(
    a_missing_stream_is_created_with_the_documented_settings,
    replicas_that_create_the_stream_at_once_all_succeed,
    a_stream_that_is_there_is_adopted,
    a_missing_stream_stays_missing_where_it_may_not_be_created,
    without_a_prefix_no_stream_is_created,
    each_thing_that_does_not_fit_is_named,
    a_mirror_does_not_fit,
    subjects_that_overlap_with_another_stream_are_named,
    a_stream_larger_than_the_server_allows_is_refused_by_its_setting,
    more_replicas_than_there_are_servers_are_refused_by_their_setting,
    without_jetstream_the_reason_is_told,
    a_server_that_is_not_there_is_named_and_found_later,
    bounds_reach_beyond_what_was_deleted,
);

async fn a_missing_stream_is_created_with_the_documented_settings(version: Version) {
    let server = NatsServer::start(version);
    let (log, jetstream) = log_of(server.settings());
    let bounds = log.open().await.unwrap();
    assert_eq!((bounds.first, bounds.last), (1, Position::START));
    assert!(bounds.created > 1_700_000_000_000_000_000);
    assert_eq!(jetstream.state(), ConnectionState::Connected);
    let client = server.client().await;
    let info = api(&client, "STREAM.INFO.TIDINGS", json!({})).await;
    let config = &info["config"];
    assert_eq!(config["subjects"], json!(["feeds.>"]));
    assert_eq!(config["storage"], "file");
    assert_eq!(config["retention"], "limits");
    assert_eq!(config["discard"], "old");
    assert_eq!(config["max_age"], 72 * 3600 * 1_000_000_000_u64);
    assert_eq!(config["max_bytes"], 1 << 30);
    assert_eq!(config["duplicate_window"], 120_000_000_000_u64);
    assert_eq!(config["deny_delete"], true);
}

async fn replicas_that_create_the_stream_at_once_all_succeed(version: Version) {
    let server = NatsServer::start(version);
    let logs: Vec<Log> = (0..8).map(|_| log_of(server.settings()).0).collect();
    let all = futures::future::join_all(logs.iter().map(Log::open)).await;
    let created: Vec<u64> = all.into_iter().map(|b| b.unwrap().created).collect();
    assert!(created.iter().all(|one| *one == created[0]), "{created:?}");
}

async fn a_stream_that_is_there_is_adopted(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    let subjects = json!({ "subjects": ["feeds.>", "audit.*"], "max_msgs": 5 });
    create_stream(&client, subjects).await;
    let mut settings = server.settings();
    settings.create = CreateStream::Never;
    let (log, _) = log_of(settings);
    log.open().await.expect("it fits");
    let info = api(&client, "STREAM.INFO.TIDINGS", json!({})).await;
    assert_eq!(info["config"]["max_msgs"], 5);
}

async fn a_missing_stream_stays_missing_where_it_may_not_be_created(version: Version) {
    let server = NatsServer::start(version);
    let mut settings = server.settings();
    settings.create = CreateStream::Never;
    let text = unavailable(log_of(settings).0.open().await);
    assert!(text.contains("there is no stream `TIDINGS`"), "{text}");
    assert!(text.contains("--nats-create"), "{text}");
}

async fn without_a_prefix_no_stream_is_created(version: Version) {
    let server = NatsServer::start(version);
    let mut settings = server.settings();
    settings.prefix = String::new();
    let (log, _) = log_of(settings);
    let text = unavailable(log.open().await);
    assert!(text.contains("--nats-prefix"), "{text}");
    let client = server.client().await;
    create_stream(&client, json!({ "subjects": ["orders.>", "users"] })).await;
    log.open().await.expect("an existing stream is taken");
    log.append(on("orders.eu", "1")).await.unwrap();
    let mut follow = log.follow(0).await.unwrap();
    let event = next_events(&mut follow, 1).await.remove(0);
    assert_eq!(event.message.feed.as_str(), "orders.eu");
}

async fn each_thing_that_does_not_fit_is_named(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    let mut cases = vec![
        (
            json!({ "retention": "interest" }),
            "its retention is `interest`",
        ),
        (
            json!({ "retention": "workqueue" }),
            "its retention is `workqueue`",
        ),
        (
            json!({ "max_msgs_per_subject": 7 }),
            "its max_msgs_per_subject is 7",
        ),
        (
            json!({ "allow_rollup_hdrs": true }),
            "its allow_rollup_hdrs is on",
        ),
        (json!({ "no_ack": true }), "its no_ack is on"),
        (
            json!({ "duplicate_window": 60_000_000_000_u64 }),
            "its duplicate_window is 60s; it must be 120s or more",
        ),
        (
            json!({ "subjects": ["feeds.*"] }),
            "its subjects are [feeds.*]; one of them must cover `feeds.>`",
        ),
        (
            json!({ "subjects": ["feeds.a.>", "feeds.b.>"] }),
            "its subjects are [feeds.a.>, feeds.b.>]",
        ),
    ];
    if version == Version::V2_15 {
        cases.push((json!({ "allow_msg_ttl": true }), "its allow_msg_ttl is on"));
        let transform = json!({ "subject_transform": { "src": "feeds.>", "dest": "x.>" } });
        cases.push((transform, "it has a subject_transform"));
        let counter = json!({ "allow_msg_counter": true });
        cases.push((counter, "its allow_msg_counter is on"));
    }
    let (log, _) = log_of(server.settings());
    for (changes, reason) in cases {
        create_stream(&client, changes).await;
        let text = unavailable(log.open().await);
        assert!(text.contains(reason), "{text}");
        api(&client, "STREAM.DELETE.TIDINGS", json!({})).await;
    }
    create_stream(
        &client,
        json!({ "max_msgs_per_subject": 7, "no_ack": true }),
    )
    .await;
    let text = unavailable(log.open().await);
    assert!(
        text.contains("no_ack") && text.contains("max_msgs_per_subject"),
        "{text}"
    );
}

async fn a_mirror_does_not_fit(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    create_stream(&client, json!({ "name": "ORIGIN" })).await;
    let mirror = json!({ "name": "TIDINGS", "storage": "file", "mirror": { "name": "ORIGIN" } });
    api(&client, "STREAM.CREATE.TIDINGS", mirror).await;
    let text = unavailable(log_of(server.settings()).0.open().await);
    assert!(text.contains("it is a mirror"), "{text}");
}

async fn subjects_that_overlap_with_another_stream_are_named(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    create_stream(&client, json!({ "name": "OTHER", "subjects": ["feeds.a"] })).await;
    let text = unavailable(log_of(server.settings()).0.open().await);
    assert!(
        text.contains("another stream has subjects under `feeds.>`"),
        "{text}"
    );
}

async fn a_stream_larger_than_the_server_allows_is_refused_by_its_setting(version: Version) {
    let config = "jetstream { store_dir: $STORE, max_file_store: 10MB }";
    let server = NatsServer::with(version, config);
    let text = unavailable(log_of(server.settings()).0.open().await);
    assert!(text.contains("--nats-max-bytes is 1073741824"), "{text}");
}

async fn more_replicas_than_there_are_servers_are_refused_by_their_setting(version: Version) {
    let server = NatsServer::start(version);
    let mut settings = server.settings();
    settings.replicas = 3;
    let text = unavailable(log_of(settings).0.open().await);
    assert!(text.contains("--nats-replicas is 3"), "{text}");
}

async fn without_jetstream_the_reason_is_told(version: Version) {
    let server = NatsServer::with(version, "");
    let text = unavailable(log_of(server.settings()).0.open().await);
    assert!(text.contains("JetStream is not enabled"), "{text}");
    let accounts = "jetstream { store_dir: $STORE }
        accounts { WITH { jetstream: enabled }, WITHOUT { users: [{ user: u, password: p }] } }
        no_auth_user: u";
    let server = NatsServer::with(version, accounts);
    let text = unavailable(log_of(server.settings()).0.open().await);
    assert!(text.contains("JetStream is not enabled"), "{text}");
}

async fn a_server_that_is_not_there_is_named_and_found_later(version: Version) {
    let mut server = NatsServer::start(version);
    server.stop();
    let mut settings = settings(&server.url().replace("nats://", "nats://alice:s3cret@"));
    settings.timeout_seconds = 1;
    let (log, jetstream) = log_of(settings);
    let text = unavailable(log.open().await);
    let ConnectionState::Disconnected(state) = jetstream.state() else {
        panic!("it is connected");
    };
    for text in [&text, &state] {
        assert!(text.contains(&server.url()), "{text}");
        assert!(text.contains("refused"), "{text}");
        assert!(
            !text.contains("s3cret") && !text.contains("alice"),
            "{text}"
        );
    }
    server.run();
    reopened(&log).await;
    assert_eq!(jetstream.state(), ConnectionState::Connected);
}

async fn bounds_reach_beyond_what_was_deleted(version: Version) {
    let mut server = NatsServer::start(version);
    let client = server.client().await;
    create_stream(&client, json!({})).await;
    let log = opened(&server).await;
    fill(&log, "a", 5).await;
    let last = log.position_at(5).await.unwrap().unwrap();
    assert_eq!(log.bounds().await.unwrap().last, last);
    delete_message(&client, 5).await;
    assert_eq!(log.bounds().await.unwrap().last, last);
    let created = log.bounds().await.unwrap().created;
    server.stop();
    server.run();
    // 2.9 no longer knows the time of a message that was deleted.
    let known = match version {
        Version::V2_9 => Position::before(6),
        Version::V2_15 => last,
    };
    let bounds = reopened(&log).await;
    assert_eq!(
        (bounds.first, bounds.last, bounds.created),
        (1, known, created)
    );
    let client = server.client().await;
    api(&client, "STREAM.PURGE.TIDINGS", json!({})).await;
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.first, bounds.last), (6, known));
}
