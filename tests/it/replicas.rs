//! Replicas that share a JetStream log are one service.

use crate::nats_server::{NatsServer, Version};
use crate::replica::Replica;
use crate::resume::every_other_event_is_read_from_behind_the_window;
use crate::sse::Stream;

on_both!(
    an_event_from_plain_nats_has_one_id_on_every_replica,
    a_reader_that_moves_to_another_replica_misses_nothing,
    a_replica_that_starts_later_serves_what_was_before_it,
    a_key_used_again_at_another_replica_is_the_same_event,
    what_lies_behind_the_window_is_read_from_jetstream,
);

async fn replica(server: &NatsServer, arguments: &[&str]) -> Replica {
    Replica::start(&[&["--nats", &server.url()], arguments].concat()).await
}

async fn an_event_from_plain_nats_has_one_id_on_every_replica(version: Version) {
    let server = NatsServer::start(version);
    let (one, other) = (replica(&server, &[]).await, replica(&server, &[]).await);
    let (mut first, _) = Stream::open(&one, "/feeds/orders.*").await;
    let (mut second, _) = Stream::open(&other, "/feeds/orders.*").await;
    let client = server.client().await;
    client
        .publish("feeds.orders.eu", "{\"n\":2}".into())
        .await
        .unwrap();
    client.flush().await.unwrap();
    let event = first.event().await;
    assert_eq!(event.data, "{\"n\":2}");
    assert_eq!(second.event().await, event);
}

async fn a_reader_that_moves_to_another_replica_misses_nothing(version: Version) {
    let server = NatsServer::start(version);
    let (one, other) = (replica(&server, &[]).await, replica(&server, &[]).await);
    let (mut stream, _) = Stream::open(&one, "/feeds/a").await;
    one.publish("a", "1").await;
    let seen = stream.event().await;
    drop(stream);
    for n in 2..=4 {
        one.publish("b", "not for it").await;
        one.publish("a", n.to_string()).await;
    }
    // Its id is from the other replica, which may be ahead of this one.
    let (mut stream, _) = Stream::resume(&other, "/feeds/a", &seen.id).await;
    assert_eq!(stream.data(3).await, ["2", "3", "4"]);
}

async fn a_replica_that_starts_later_serves_what_was_before_it(version: Version) {
    let server = NatsServer::start(version);
    let one = replica(&server, &[]).await;
    let ids = [
        one.publish("a", "1").await,
        one.publish("a", "2").await,
        one.publish("a", "3").await,
    ];
    let later = replica(&server, &[]).await;
    let (mut stream, _) = Stream::resume(&later, "/feeds/a", &ids[0].to_string()).await;
    assert_eq!(stream.data(2).await, ["2", "3"]);
    let (mut stream, _) = Stream::open(&later, "/feeds/a?last=2").await;
    assert_eq!(stream.data(2).await, ["2", "3"]);
}

async fn a_key_used_again_at_another_replica_is_the_same_event(version: Version) {
    let server = NatsServer::start(version);
    let (one, other) = (replica(&server, &[]).await, replica(&server, &[]).await);
    let publish = async |replica: &Replica, feed: &str| {
        let request = reqwest::Client::new().post(replica.url(&format!("/feeds/{feed}")));
        let response = request
            .header("Idempotency-Key", "k")
            .body("x")
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, receipt) = publish(&one, "a").await;
    assert_eq!(status, 201);
    assert_eq!(publish(&other, "a").await, (200, receipt.clone()));
    let (status, another) = publish(&other, "b").await;
    assert_eq!(status, 201, "another feed is another event");
    assert_ne!(another, receipt);
}

async fn what_lies_behind_the_window_is_read_from_jetstream(version: Version) {
    let server = NatsServer::start(version);
    let replica = replica(&server, &["--window-events", "10"]).await;
    every_other_event_is_read_from_behind_the_window(&replica).await;
}
