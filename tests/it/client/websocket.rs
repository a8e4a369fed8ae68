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
