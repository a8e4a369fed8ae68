//! Tokens over a WebSocket: shown late, renewed, and run out.

use super::{SECRET, bearer, below_a, guarded, publish, right, short, token};
use crate::call::get;
use crate::replica::{Replica, within};
use crate::websocket::{Client as Socket, refusal};
use serde_json::{Value, json};

fn auth(token: &str) -> Value {
    json!({"op": "auth", "ref": "auth", "token": token})
}

#[tokio::test]
async fn who_says_not_who_he_is_is_sent_away() {
    let replica = guarded(&["--head-timeout", "1"]).await;
    let mut silent = Socket::connect(&replica).await;
    assert_eq!(silent.close_code().await, (Some(1008), vec![]));
    let mut known = Socket::connect(&replica).await;
    let result = known.result(auth(&right())).await;
    assert_eq!(result["subject"], "ann");
    let rest = result["expires_in"].as_u64().expect("seconds");
    assert!((600..=630).contains(&rest), "{rest}");
}

#[tokio::test]
async fn what_is_meant_for_everyone_takes_no_token_and_more_takes_one() {
    let replica = guarded(&["--anonymous-subscribe", "news"]).await;
    let mut socket = Socket::connect(&replica).await;
    socket.subscribe("news", &["news"], json!({})).await;
    let more = json!({"op": "subscribe", "ref": "a", "feeds": ["a.b"]});
    assert_eq!(socket.refusal(more.clone()).await.0, 401);
    // The token does not cover what is meant for everyone.
    socket.send(&auth(&right())).await;
    let ended = socket.text().await;
    assert_eq!(
        (&ended["sub"], &ended["data"]["reason"]),
        (&json!("news"), &json!("forbidden"))
    );
    assert!(socket.text().await["result"].is_object());
    socket.result(more).await;
}

#[tokio::test]
async fn a_token_that_covers_less_ends_what_it_does_not_cover() {
    let replica = guarded(&[]).await;
    let mut socket = Socket::connect(&replica).await;
    socket.result(auth(&right())).await;
    socket.subscribe("one", &["a.b"], json!({})).await;
    socket.subscribe("two", &["a.c"], json!({})).await;
    let less = token(&json!({"tidings": {"subscribe": ["a.c"]}}));
    socket.send(&auth(&less)).await;
    let ended = socket.text().await;
    assert_eq!(
        ended,
        json!({"sub": "one", "type": "hub:closing", "data": {"reason": "forbidden"}})
    );
    assert_eq!(socket.text().await["ref"], "auth");
    for feed in ["a.b", "a.c"] {
        publish(&replica, &right(), feed, feed).await;
    }
    assert_eq!(socket.text().await["data"], "a.c");
    let publish = json!({"op": "publish", "ref": 1, "feed": "a.c"});
    assert_eq!(socket.refusal(publish).await.0, 403);
}

#[tokio::test]
async fn a_token_that_is_refused_leaves_all_as_it_was() {
    let replica = guarded(&[]).await;
    let mut socket = Socket::connect(&replica).await;
    socket.result(auth(&right())).await;
    socket.subscribe("one", &["a.b"], json!({})).await;
    let other = token(&json!({"sub": "bob", "tidings": below_a()}));
    assert_eq!(socket.refusal(auth(&other)).await.0, 403);
    assert_eq!(socket.refusal(auth("x.y.z")).await.0, 401);
    let nothing = json!({"op": "auth", "ref": "auth"});
    assert_eq!(socket.refusal(nothing).await.0, 422);
    publish(&replica, &right(), "a.b", "1").await;
    assert_eq!(socket.text().await["sub"], "one");
}

#[tokio::test]
async fn a_websocket_ends_with_its_token() {
    let replica = guarded(&[]).await;
    let mut socket = Socket::connect(&replica).await;
    socket.result(auth(&short())).await;
    socket.subscribe("one", &["a.b"], json!({})).await;
    let warning = socket.text().await;
    assert_eq!(warning["type"], "hub:token-expiring");
    assert!(
        warning["data"]["in"].as_u64().is_some_and(|rest| rest <= 1),
        "{warning}"
    );
    assert_eq!(socket.close_code().await, (Some(1008), vec![]));
    let operator = bearer(&token(&json!({"tidings": {"admin": true}})));
    let ended = "tidings_streams_closed_total{transport=\"websocket\",reason=\"token\"} 1\n";
    within("it to be counted", async {
        while !get(&replica, "/metrics", &[("Authorization", &operator)])
            .await
            .text
            .contains(ended)
        {}
    })
    .await;
}

#[tokio::test]
async fn one_that_is_renewed_in_time_goes_on() {
    let replica = guarded(&[]).await;
    let mut socket = Socket::connect(&replica).await;
    socket.result(auth(&short())).await;
    socket.subscribe("one", &["a.b"], json!({})).await;
    assert_eq!(socket.text().await["type"], "hub:token-expiring");
    socket.result(auth(&right())).await;
    let mut other = Socket::connect(&replica).await;
    other.result(auth(&short())).await;
    // The other's token ends after the first one's.
    while other.text().await["type"] != "hub:token-expiring" {}
    other.close_code().await;
    publish(&replica, &right(), "a.b", "1").await;
    assert_eq!(socket.text().await["sub"], "one");
}

#[tokio::test]
async fn what_is_published_over_it_bears_its_subject() {
    let replica = guarded(&[]).await;
    let mut socket = Socket::connect(&replica).await;
    socket.result(auth(&right())).await;
    socket.subscribe("one", &["a.b"], json!({})).await;
    socket
        .send(&json!({"op": "publish", "ref": 1, "feed": "a.b", "data": 1}))
        .await;
    let event = loop {
        let message = socket.text().await;
        if message["sub"] == "one" {
            break message;
        }
    };
    assert_eq!(event["sender"], "ann");
}

#[tokio::test]
async fn where_there_is_no_authentication_it_is_501() {
    let replica = Replica::start(&[]).await;
    let mut socket = Socket::connect(&replica).await;
    let answer = socket.ask(auth(SECRET)).await;
    assert_eq!(refusal(&answer).0, 501);
}
