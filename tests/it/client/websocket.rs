//! What is sent over a WebSocket.

use super::{Driver, numbers};
use crate::call::get;
use crate::cutting_proxy::{Cut, CuttingProxy};
use crate::replica::Replica;
use serde_json::json;

#[tokio::test]
async fn what_a_cut_falls_into_is_repeated_in_its_order_and_stored_once() {
    let replica = Replica::start(&[]).await;
    let proxy = CuttingProxy::start(replica.address).await;
    let mut client = Driver::start(proxy.address(), &json!({}), &["websocket"]);
    for cut in [Cut::Reset, Cut::Close, Cut::Reset] {
        proxy.cut_after(2_000, cut);
    }
    for n in 0..200 {
        let command = json!({"do": "publish", "feed": "a", "data": n});
        client.tell(&command).await;
    }
    for _ in 0..200 {
        let settled = |told: &serde_json::Value| told["told"] != "state";
        let told = client.next(settled).await;
        assert_eq!(told["told"], "resolved", "{told}");
    }
    assert_eq!(proxy.cuts(), 3);
    let accept = [("accept", "application/json")];
    let path = "/feeds/a?after=start&limit=1000";
    let stored = get(&replica, path, &accept).await.json();
    let events = stored["events"].as_array().expect("events");
    assert_eq!(numbers(events), (0..200).collect::<Vec<_>>());
    assert!(events.iter().all(|event| event["connection"].is_string()));
    client.end().await;
}

#[tokio::test]
async fn a_feed_without_echo_is_given_what_others_publish() {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, &json!({}), &["websocket"]);
    client.feed("others", "a", &json!({"echo": false})).await;
    client.feed_from_now("all", "a").await;
    client.publish("a", &json!(0)).await;
    replica.publish("a", "1").await;
    assert_eq!(numbers(&client.events("all", 2).await), [0, 1]);
    assert_eq!(numbers(&client.events("others", 1).await), [1]);
    client.end().await;
}

#[tokio::test]
async fn a_request_that_fails_says_why() {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, &json!({}), &["websocket"]);
    let command = json!({"do": "request", "name": "users.get", "data": 1});
    client.tell(&command).await;
    let told = client.next(|told| told["told"] == "rejected").await;
    assert_eq!(told["status"], 501, "{told}");
    assert_eq!(told["detail"], told["message"], "{told}");
    client.end().await;
}

#[tokio::test]
async fn a_websocket_that_has_died_silently_is_opened_anew() {
    let replica = Replica::start(&[]).await;
    let options = json!({"firstByte": 1_000});
    let mut client = Driver::start(replica.address, &options, &["dead"]);
    let told = client.publish("a", &json!(7)).await;
    assert_eq!(told["told"], "resolved", "{told}");
    client.end().await;
}

#[tokio::test]
async fn a_publish_that_is_too_large_is_refused_and_stops_no_other() {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, &json!({}), &["websocket"]);
    let large = json!({"do": "publish", "feed": "a", "data": "x".repeat(2_000_000)});
    let small = json!({"do": "publish", "feed": "a", "data": 1});
    for command in [&small, &large, &small] {
        client.tell(command).await;
    }
    let told = client.next(|told| told["told"] == "rejected").await;
    assert_eq!(told["status"], 413, "{told}");
    for _ in 0..2 {
        client.next(|told| told["told"] == "resolved").await;
    }
    client.end().await;
}

#[tokio::test]
async fn a_blob_is_not_overtaken_by_what_is_published_after_it() {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, &json!({}), &["websocket"]);
    client.feed_from_now("a", "a").await;
    let blob = json!({"do": "publish", "feed": "a", "blob": "x".repeat(10_000)});
    client.tell(&blob).await;
    client.publish("a", &json!(2)).await;
    let events = client.events("a", 2).await;
    assert_eq!(events[1]["data"], 2, "{events:?}");
    client.end().await;
}
