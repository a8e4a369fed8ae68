//! What is sent: once, however often it had to be repeated.

use super::{Driver, numbers};
use crate::auth::{guarded, token};
use crate::call::get;
use crate::cutting_proxy::{Cut, CuttingProxy};
use crate::replica::Replica;
use serde_json::json;

#[tokio::test]
async fn a_publish_whose_answer_is_lost_is_repeated_and_stored_once() {
    for bytes in [1, 60, 120] {
        let replica = Replica::start(&[]).await;
        let proxy = CuttingProxy::start(replica.address).await;
        let mut client = Driver::start(proxy.address(), &json!({}), &[]);
        proxy.cut_after(bytes, Cut::Reset);
        let told = client.publish("a", &json!(7)).await;
        assert_eq!(told["told"], "resolved", "{told}");
        assert_eq!(proxy.cuts(), 1);
        let accept = [("accept", "application/json")];
        let stored = get(&replica, "/feeds/a?after=start", &accept).await.json();
        let events = stored["events"].as_array().expect("events");
        assert_eq!(numbers(events), [7]);
        assert_eq!(events[0]["id"], told["result"]["id"]);
        client.end().await;
    }
}

#[tokio::test]
async fn what_is_published_comes_as_what_it_was() {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    client.feed_from_now("a", ">").await;
    for data in [
        json!({"n": [1, null, "ä\u{1f600}"]}),
        json!("text"),
        json!(""),
        json!(null),
        json!("{\"n\":1}"),
    ] {
        client.publish("a", &data).await;
        assert_eq!(client.event("a").await["data"], data);
    }
    let bytes = json!([255, 0, 10, 128]);
    let command = json!({"do": "publish", "feed": "b", "bytes": bytes,
        "options": {"type": "änderung", "key": "ключ", "contentType": "image/png"}});
    client.tell(&command).await;
    let event = client.event("a").await;
    assert_eq!(event["data"], bytes);
    assert_eq!(event["type"], "änderung");
    assert_eq!(event["key"], "ключ");
    client.end().await;
}

#[tokio::test]
async fn a_publish_that_is_refused_says_why_and_is_not_repeated() {
    let arguments = ["--anonymous-publish", "public.>"];
    let replica = Replica::start(&arguments).await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    let told = client.publish("private", &json!(1)).await;
    assert_eq!(told["told"], "rejected", "{told}");
    assert_eq!(told["status"], 403, "{told}");
    assert_eq!(told["detail"], told["message"], "{told}");
    let told = client.publish("public.a", &json!(1)).await;
    assert_eq!(told["told"], "resolved", "{told}");
    client.end().await;
}

#[tokio::test]
async fn a_publish_to_a_server_that_is_away_is_given_up_in_time() {
    let replica = Replica::start(&[]).await;
    let address = replica.address;
    replica.stop().await;
    let mut client = Driver::start(address, &json!({"timeout": 100}), &[]);
    let told = client.publish("a", &json!(1)).await;
    assert_eq!(told["told"], "rejected", "{told}");
    assert!(told["message"].is_string(), "{told}");
    client.end().await;
}

#[tokio::test]
async fn a_publish_over_the_rate_is_repeated_once_the_server_takes_it_again() {
    for how in [&["pauses"][..], &["pauses", "websocket"]] {
        let replica = guarded(&["--publish-rate", "1", "--publish-burst", "1"]).await;
        let token = token(&json!({"tidings": {"publish": ["a"]}}));
        let mut client = Driver::start(replica.address, &json!({"token": token}), how);
        for n in 0..2 {
            client
                .tell(&json!({"do": "publish", "feed": "a", "data": n}))
                .await;
        }
        client.next(|told| told["told"] == "pause").await;
        for _ in 0..2 {
            client.next(|told| told["told"] == "resolved").await;
        }
        client.end().await;
    }
}

#[tokio::test]
async fn what_is_under_way_when_the_client_is_closed_is_rejected() {
    let replica = Replica::start(&[]).await;
    let proxy = CuttingProxy::start(replica.address).await;
    proxy.hold();
    let mut client = Driver::start(proxy.address(), &json!({}), &[]);
    let command = json!({"do": "publish", "feed": "a", "data": 1});
    client.tell(&command).await;
    let (told, _) = client.end().await;
    let rejected = told.iter().find(|told| told["told"] == "rejected");
    let message = &rejected.expect("it was rejected")["message"];
    assert_eq!(message, "the client is closed");
}

#[tokio::test]
async fn a_request_without_a_websocket_says_what_it_needs() {
    let replica = Replica::start(&[]).await;
    let mut client = Driver::start(replica.address, &json!({}), &[]);
    let command = json!({"do": "request", "name": "users.get", "data": 1});
    client.tell(&command).await;
    let told = client.next(|told| told["told"] == "rejected").await;
    let message = told["message"].as_str().expect("a message");
    assert!(message.contains("WebSocket"), "{message}");
    client.end().await;
}
