//! A client whose tokens run out brings others in time.

use super::{Driver, numbers};
use crate::auth::{LEEWAY, bearer, below_a, guarded, now, publish, right, token};
use crate::call::get;
use crate::replica::{Replica, within};
use serde_json::{Value, json};

fn start(replica: &Replica, tokens: &Value, how: &[&str]) -> Driver {
    let options = json!({ "tokens": tokens });
    Driver::start(replica.address, &options, &[&["tokens"], how].concat())
}

/// A token that lasts for 7 to 8 seconds, with which a client has begun long before it is half over: then it is told.
fn soon_over() -> String {
    token(&json!({"tidings": below_a(), "exp": now() + 8 - LEEWAY}))
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

/// The states that it has told.
fn states(told: &[Value]) -> Vec<&str> {
    let states = told.iter().filter(|told| told["told"] == "state");
    states.filter_map(|told| told["state"].as_str()).collect()
}

#[tokio::test]
async fn a_stream_goes_on_with_the_next_one_and_a_page_sees_nothing_of_it() {
    let replica = guarded(&[]).await;
    let (first, next) = (soon_over(), right());
    let mut client = start(&replica, &json!([first, next]), &[]);
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
    // It was live before.
    assert_eq!(states(&told), ["closed"]);
}

/// The stream lasts while the one that brings tokens fails, and is not ended before there is one.
#[tokio::test]
async fn a_token_that_can_not_be_had_is_told_and_asked_for_again() {
    let replica = guarded(&[]).await;
    let first = soon_over();
    let tokens = json!([first, ["the issuer is away"], right()]);
    let mut client = start(&replica, &tokens, &[]);
    client.feed_from_now("all", "a.>").await;
    let error = client.next(|told| told["told"] == "error").await;
    let message = "no token could be had: the issuer is away";
    assert_eq!(error["error"], json!({ "message": message }));
    over(&replica, &first).await;
    publish(&replica, &right(), "a.b", "1").await;
    assert_eq!(numbers(&client.events("all", 1).await), [1]);
    let (told, _) = client.end().await;
    assert_eq!(states(&told), ["closed"]);
}

#[tokio::test]
async fn the_first_token_is_waited_for_as_a_server_is() {
    let replica = guarded(&[]).await;
    // Also what is no error is thrown.
    let mut client = start(&replica, &json!([[null], right()]), &[]);
    client.feed("all", "a.>", &json!({})).await;
    let offline = client.state("offline").await;
    assert_eq!(offline["error"]["message"], "no token could be had: null");
    assert!(offline["error"]["retryAt"].is_number(), "{offline}");
    client.next(|told| told["told"] == "error").await;
    client.state("live").await;
    client.end().await;
}

#[tokio::test]
async fn a_new_one_that_is_no_good_ends_in_refused() {
    let replica = guarded(&[]).await;
    let mut client = start(&replica, &json!([soon_over(), "no token"]), &[]);
    client.feed_from_now("all", "a.>").await;
    let refused = client.state("refused").await;
    assert_eq!(refused["error"]["status"], 401);
    client.end().await;
}

#[tokio::test]
async fn a_websocket_is_kept_with_the_next_one() {
    let replica = guarded(&[]).await;
    let (first, next) = (soon_over(), right());
    let mut client = start(&replica, &json!([first, next]), &["websocket"]);
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
    let (first, next) = (soon_over(), right());
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
