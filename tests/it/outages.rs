//! NATS goes away, comes back, and comes back with another past.

use crate::nats_server::{NatsServer, Version, copy_folder};
use crate::replica::{Replica, within};
use crate::sse::Stream;
use serde_json::{Value, json};
use tidings::hub::Status;

on_both!(
    a_replica_starts_without_nats_and_is_ready_when_nats_is,
    streams_stay_open_over_an_outage_and_lose_nothing,
    a_store_rolled_back_under_a_replica_resets_its_readers_to_what_both_share,
    a_store_rolled_back_while_all_were_down_resets_those_who_were_beyond_it,
    a_stream_that_was_made_anew_resets_all_readers,
    a_store_rolled_back_whose_beginning_has_expired_resets_its_readers_to_what_both_share,
    who_joins_where_the_end_of_the_stream_is_of_others_gets_what_comes_and_nothing_older,
);

async fn replica(server: &NatsServer) -> Replica {
    Replica::start(&["--nats", &server.url()]).await
}

pub(crate) async fn live(replica: &Replica) {
    let mut status = replica.hub().status();
    within("the log", status.wait_for(|status| *status == Status::Live))
        .await
        .unwrap();
}

pub(crate) async fn degraded(replica: &Replica) {
    let mut status = replica.hub().status();
    let gone = status.wait_for(|status| matches!(status, Status::Degraded { .. }));
    within("the outage to be noticed", gone).await.unwrap();
}

pub(crate) async fn readiness(replica: &Replica, path: &str) -> (u16, Value) {
    let response = reqwest::get(replica.url(path)).await.unwrap();
    let status = response.status().as_u16();
    (
        status,
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
    )
}

async fn a_replica_starts_without_nats_and_is_ready_when_nats_is(version: Version) {
    let mut server = NatsServer::start(version);
    server.stop();
    let replica = Replica::start_unready(&["--nats", &server.url()]);
    let (status, told) = readiness(&replica, "/readyz").await;
    assert_eq!(
        (status, &told["status"]),
        (503, &json!("starting")),
        "{told}"
    );
    let response = reqwest::get(replica.url("/feeds/a")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["tidings-refused"], "starting");
    let body = response.text().await.unwrap();
    assert!(
        body.contains("event: hub:closing\ndata: {\"reason\":\"starting\"}\n\n"),
        "{body}"
    );
    server.run();
    live(&replica).await;
    assert_eq!(
        readiness(&replica, "/readyz").await,
        (200, json!({"status": "ready"}))
    );
    replica.publish("a", "1").await;
}

async fn streams_stay_open_over_an_outage_and_lose_nothing(version: Version) {
    let mut server = NatsServer::start(version);
    let replica = replica(&server).await;
    let (mut stream, _) = Stream::open(&replica, "/feeds/a").await;
    replica.publish("a", "1").await;
    assert_eq!(stream.data(1).await, ["1"]);
    server.stop();
    degraded(&replica).await;
    let (status, told) = readiness(&replica, "/readyz").await;
    assert_eq!(
        (status, &told["status"]),
        (200, &json!("degraded")),
        "{told}"
    );
    assert_eq!(readiness(&replica, "/readyz?strict=1").await.0, 503);
    let response = reqwest::Client::new()
        .post(replica.url("/feeds/a"))
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    server.run();
    live(&replica).await;
    let client = server.client().await;
    client.publish("feeds.a", "2".into()).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(stream.data(1).await, ["2"]);
}

/// Events 1 to 3 are in both; then the older store goes on without 4 and 5.
async fn a_store_rolled_back_under_a_replica_resets_its_readers_to_what_both_share(
    version: Version,
) {
    let mut server = NatsServer::start(version);
    let replica = replica(&server).await;
    let (mut stream, _) = Stream::open(&replica, "/feeds/a").await;
    let mut ids = Vec::new();
    for n in 1..=3 {
        ids.push(replica.publish("a", n.to_string()).await);
    }
    let older = older_store(&mut server);
    live_again(&replica).await;
    for n in 4..=5 {
        ids.push(replica.publish("a", n.to_string()).await);
    }
    assert_eq!(stream.data(5).await, ["1", "2", "3", "4", "5"]);
    restore(&mut server, older.path());
    let reset = stream.event().await;
    assert_eq!(
        (reset.kind.as_str(), reset.id),
        ("hub:reset", ids[2].to_string())
    );
    replica.publish("a", "other 4").await;
    assert_eq!(stream.data(1).await, ["other 4"]);
    // An id of what is gone is foreign, one of what is shared is not.
    let (mut gone, _) = Stream::resume(&replica, "/feeds/a", &ids[3].to_string()).await;
    assert_eq!(gone.event().await.kind, "hub:reset");
    assert_eq!(gone.data(4).await, ["1", "2", "3", "other 4"]);
    let (mut kept, _) = Stream::resume(&replica, "/feeds/a", &ids[1].to_string()).await;
    assert_eq!(kept.data(2).await, ["3", "other 4"]);
}

async fn a_store_rolled_back_while_all_were_down_resets_those_who_were_beyond_it(version: Version) {
    let mut server = NatsServer::start(version);
    let before = replica(&server).await;
    let mut ids = vec![
        before.publish("a", "1").await,
        before.publish("a", "2").await,
    ];
    let older = older_store(&mut server);
    live_again(&before).await;
    ids.push(before.publish("a", "3").await);
    before.stop().await;
    restore(&mut server, older.path());
    let after = replica(&server).await;
    let (mut beyond, _) = Stream::resume(&after, "/feeds/a", &ids[2].to_string()).await;
    assert_eq!(beyond.event().await.kind, "hub:reset");
    assert_eq!(beyond.data(2).await, ["1", "2"]);
    after.publish("a", "other 3").await;
    assert_eq!(beyond.data(1).await, ["other 3"]);
    // The same sequence now, but another event: the check tells.
    let (mut reused, _) = Stream::resume(&after, "/feeds/a", &ids[2].to_string()).await;
    assert_eq!(reused.event().await.kind, "hub:reset");
    let (mut kept, _) = Stream::resume(&after, "/feeds/a", &ids[1].to_string()).await;
    assert_eq!(kept.data(1).await, ["other 3"]);
}

async fn a_stream_that_was_made_anew_resets_all_readers(version: Version) {
    let server = NatsServer::start(version);
    let replica = replica(&server).await;
    let (mut stream, _) = Stream::open(&replica, "/feeds/a").await;
    for n in 1..=3 {
        replica.publish("a", n.to_string()).await;
    }
    assert_eq!(stream.data(3).await, ["1", "2", "3"]);
    let client = server.client().await;
    client
        .request("$JS.API.STREAM.DELETE.TIDINGS", "".into())
        .await
        .unwrap();
    assert_eq!(stream.event().await.kind, "hub:reset");
    live(&replica).await;
    replica.publish("a", "new").await;
    assert_eq!(stream.data(1).await, ["new"]);
}

/// The window holds events that the log has lost since: they say nothing about what both share.
async fn a_store_rolled_back_whose_beginning_has_expired_resets_its_readers_to_what_both_share(
    version: Version,
) {
    let mut server = NatsServer::start(version);
    let replica = replica(&server).await;
    let (mut stream, _) = Stream::open(&replica, "/feeds/a").await;
    let mut ids = Vec::new();
    for n in 1..=10 {
        ids.push(replica.publish("a", n.to_string()).await);
    }
    let client = server.client().await;
    client
        .request("$JS.API.STREAM.PURGE.TIDINGS", r#"{"keep":2}"#.into())
        .await
        .unwrap();
    let older = older_store(&mut server);
    live_again(&replica).await;
    replica.publish("a", "11").await;
    stream.data(11).await;
    restore(&mut server, older.path());
    let reset = stream.event().await;
    assert_eq!(
        (reset.kind.as_str(), reset.id),
        ("hub:reset", ids[9].to_string())
    );
}

/// The stream has other subjects too, and more of them than the window reaches back.
async fn who_joins_where_the_end_of_the_stream_is_of_others_gets_what_comes_and_nothing_older(
    version: Version,
) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    let config = r#"{"name":"TIDINGS","subjects":["feeds.>","others"],"storage":"file","duplicate_window":120000000000}"#;
    client
        .request("$JS.API.STREAM.CREATE.TIDINGS", config.into())
        .await
        .unwrap();
    let publish = async |subject: &'static str, data: &'static str| {
        let reply = client.request(subject, data.into());
        reply.await.expect("it is stored");
    };
    publish("feeds.a", "old").await;
    for _ in 0..20 {
        publish("others", "-").await;
    }
    let replica = Replica::start(&["--nats", &server.url(), "--window-events", "10"]).await;
    let (mut stream, first) = Stream::open(&replica, "/feeds/a").await;
    assert!(first.id.starts_with("21-"), "{first:?}");
    publish("feeds.a", "new").await;
    assert_eq!(stream.data(1).await, ["new"]);
}

/// A copy of the server's store as it is now.
fn older_store(server: &mut NatsServer) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    server.stop();
    copy_folder(&server.store(), copy.path());
    server.run();
    copy
}

/// Puts an older copy in the place of the server's store.
pub(crate) fn restore(server: &mut NatsServer, older: &std::path::Path) {
    server.stop();
    std::fs::remove_dir_all(server.store()).unwrap();
    copy_folder(older, &server.store());
    server.run();
}

/// After an outage that may not have been noticed yet.
async fn live_again(replica: &Replica) {
    degraded(replica).await;
    live(replica).await;
}
