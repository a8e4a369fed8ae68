//! What a subscription brings, and in which order.

use super::Client;
use crate::replica::Replica;
use serde_json::json;

#[tokio::test]
async fn what_is_published_comes_to_those_who_have_subscribed() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    let opening = client.subscribe("a", &["orders.*"], json!({})).await;
    assert_eq!(opening, "0-0");
    let id = replica.publish("orders.eu", r#"{"n":1}"#).await.to_string();
    let event = client.text().await;
    assert_eq!(
        (&event["sub"], &event["id"], &event["feed"], &event["data"]),
        (
            &json!("a"),
            &json!(id),
            &json!("orders.eu"),
            &json!({"n": 1})
        )
    );
    assert_eq!(event["connection"], json!(null));
}

#[tokio::test]
async fn what_a_connection_publishes_bears_its_id() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    let mut other = Client::connect(&replica).await;
    assert_ne!(client.id, other.id);
    other.subscribe("b", &["chat.>"], json!({})).await;
    let id = client.publish("chat.lobby", json!({"text": "hello"})).await;
    let event = other.text().await;
    assert_eq!(
        (&event["id"], &event["connection"], &event["data"]),
        (&json!(id), &json!(client.id), &json!({"text": "hello"}))
    );
}
