//! A client whose tokens run out brings others in time.

use super::{Driver, numbers};
use crate::auth::{bearer, guarded, publish, right, short};
use crate::call::get;
use crate::replica::{Replica, within};
use serde_json::{Value, json};

fn start(replica: &Replica, tokens: &[&str], how: &[&str]) -> Driver {
    let options = json!({ "tokens": tokens });
    Driver::start(replica.address, &options, &[&["tokens"], how].concat())
}

/// Waits until a token has run out.
async fn over(replica: &Replica, token: &str) {
    let shown = bearer(token);
    let headers = [("Authorization", shown.as_str())];
    within("its end", async {
        while get(replica, "/explain?feed=a", &headers).await.status != 401 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn is_token(told: &Value) -> bool {
    told["told"] == "token"
}

fn is_refused(told: &Value) -> bool {
    told["told"] == "refused"
}

#[tokio::test]
async fn a_stream_goes_on_with_the_next_one_and_none_is_refused() {
    let replica = guarded(&[]).await;
    let (first, next) = (short(), right());
    let mut client = start(&replica, &[&first, &next], &[]);
    client.feed_from_now("all", "a.>").await;
    publish(&replica, &next, "a.b", "1").await;
    over(&replica, &first).await;
    publish(&replica, &next, "a.b", "2").await;
    assert_eq!(numbers(&client.events("all", 2).await), [1, 2]);
    publish(&replica, &next, "a.b", "3").await;
    assert_eq!(numbers(&client.events("all", 1).await), [3]);
    let (told, _) = client.end().await;
    assert_eq!(told.iter().filter(|told| is_token(told)).count(), 2);
    assert!(!told.iter().any(is_refused), "{told:?}");
}

#[tokio::test]
async fn a_websocket_is_kept_with_the_next_one() {
    let replica = guarded(&[]).await;
    let (first, next) = (short(), right());
    let mut client = start(&replica, &[&first, &next], &["websocket"]);
    client.publish("a.b", &json!(1)).await;
    client.next(is_token).await;
    client.next(is_token).await;
    over(&replica, &first).await;
    client.publish("a.b", &json!(2)).await;
    let shown = bearer(&next);
    let headers = [
        ("Accept", "application/json"),
        ("Authorization", shown.as_str()),
    ];
    let page = get(&replica, "/feeds/a.b?after=start", &headers)
        .await
        .json();
    let events = page["events"].as_array().expect("events");
    assert_eq!(numbers(events), [1, 2]);
    assert!(events[0]["connection"].is_string());
    assert_eq!(events[0]["connection"], events[1]["connection"]);
    client.end().await;
}

/// A poll says nothing ahead: the one that is refused is asked again.
#[tokio::test]
async fn a_poll_goes_on_with_the_next_one() {
    let replica = guarded(&[]).await;
    let (first, next) = (short(), right());
    let options = json!({"tokens": [first, next], "transport": "poll"});
    let mut client = Driver::start(replica.address, &options, &["tokens"]);
    client.feed("all", "a.>", &json!({})).await;
    client.joined().await;
    publish(&replica, &next, "a.b", "1").await;
    over(&replica, &first).await;
    publish(&replica, &next, "a.b", "2").await;
    assert_eq!(numbers(&client.events("all", 2).await), [1, 2]);
    client.end().await;
}
