//! How much one client may do.

use super::metric;
use crate::auth::{api_key, bearer, guarded, right, token};
use crate::call::{Answer, post};
use crate::replica::Replica;
use crate::websocket::Client as Socket;
use futures::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// More than any test does within a second and a burst, on however slow a machine.
const MANY: usize = 200;
const SLOW: [&str; 2] = ["--publish-rate=1", "--publish-burst=3"];

async fn publish(replica: &Replica, token: &str) -> Answer {
    let shown = bearer(token);
    post(replica, "/feeds/a.b", &[("Authorization", &shown)], "x").await
}

/// Publishes until one is refused, and gives that answer and how many were taken.
async fn exhaust(replica: &Replica, token: &str) -> (usize, Answer) {
    for taken in 0..MANY {
        let answer = publish(replica, token).await;
        if answer.status != 201 {
            return (taken, answer);
        }
        assert!(
            answer
                .header("ratelimit")
                .expect("what is left")
                .starts_with("\"publish\";r=")
        );
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"publish\";q=3;w=3")
        );
    }
    panic!("{MANY} were taken");
}

#[tokio::test]
async fn a_subject_publishes_so_many_and_is_told_when_to_come_back() {
    let replica = guarded(&SLOW).await;
    let (taken, refused) = exhaust(&replica, &right()).await;
    assert!(taken >= 3, "{taken}");
    let detail = refused.problem(429);
    assert!(detail.contains("--publish-rate"), "{detail}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("ratelimit"), Some("\"publish\";r=0"));
    assert_eq!(refused.json()["retry_after"], 1);
    let bob = token(&json!({"sub": "bob", "tidings": {"publish": ["a.>"]}}));
    assert_eq!(publish(&replica, &bob).await.status, 201);
    assert_eq!(
        metric(&replica, "tidings_publish_rate_refused_total").await,
        1
    );
    assert_eq!(replica.hub().head(), taken as u64 + 1);
}

#[tokio::test]
async fn who_has_no_subject_is_known_by_his_address() {
    let more = [
        &SLOW[..],
        &["--anonymous-publish=a.>", "--trusted-proxies=127.0.0.1"],
    ]
    .concat();
    let replica = Replica::start(&more).await;
    let from = async |address: &str| {
        let headers = [("X-Forwarded-For", address)];
        post(&replica, "/feeds/a.b", &headers, "x").await.status
    };
    let mut refused = false;
    for _ in 0..MANY {
        refused |= from("198.51.100.7").await == 429;
        if refused {
            break;
        }
    }
    assert!(refused);
    assert_eq!(from("198.51.100.8").await, 201);
    // What comes from this machine itself is not counted.
    for _ in 0..10 {
        assert_eq!(post(&replica, "/feeds/a.b", &[], "x").await.status, 201);
    }
}

#[tokio::test]
async fn a_backend_with_an_api_key_publishes_as_much_as_it_likes() {
    let (key, record) = api_key("backend", "publish=a.>");
    let replica = guarded(&[&SLOW[..], &["--api-key", &record]].concat()).await;
    for _ in 0..20 {
        let answer = publish(&replica, &key).await;
        assert_eq!((answer.status, answer.header("ratelimit")), (201, None));
    }
}

#[tokio::test]
async fn each_line_of_a_batch_counts_and_those_that_are_too_many_say_so() {
    let replica = guarded(&SLOW).await;
    let lines = "{\"feed\":\"a.b\",\"data\":1}\n".repeat(MANY);
    let shown = bearer(&right());
    let headers = [
        ("Authorization", shown.as_str()),
        ("Content-Type", "application/x-ndjson"),
    ];
    let answer = post(&replica, "/feeds", &headers, lines).await;
    let results: Vec<Value> = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(results.len(), MANY);
    let taken = results.iter().filter(|one| one["id"].is_string()).count();
    let refused = results
        .iter()
        .filter(|one| one["status"] == 429 && one["retry_after"] == 1)
        .count();
    assert!(taken >= 3 && refused > 0, "{answer:?}");
    assert_eq!(taken + refused, MANY);
    assert_eq!(replica.hub().head(), taken as u64);
}

#[tokio::test]
async fn messages_over_all_websockets_of_a_subject_count_together() {
    let replica = guarded(&["--message-rate=1", "--message-burst=3"]).await;
    let shown = bearer(&right());
    let headers = [("Authorization", shown.as_str())];
    let mut one = Socket::open(&replica, &headers).await.expect("a WebSocket");
    let mut other = Socket::open(&replica, &headers).await.expect("a WebSocket");
    let publish =
        |number: usize| json!({"op": "publish", "ref": number, "feed": "a.b", "data": number});
    let mut taken = 0;
    let refused = 'refused: {
        for number in 0..MANY {
            let socket = if number % 2 == 0 {
                &mut one
            } else {
                &mut other
            };
            let answer = socket.ask(publish(number)).await;
            match answer["error"].is_null() {
                true => taken += 1,
                false => break 'refused answer,
            }
        }
        panic!("{MANY} were taken");
    };
    assert_eq!(refused["error"]["status"], 429, "{refused}");
    assert_eq!(refused["error"]["retry_after"], 1, "{refused}");
    assert!(taken >= 3, "{taken}");
    assert_eq!(replica.hub().head(), taken);
}

#[tokio::test]
async fn who_goes_on_sending_too_much_is_sent_away() {
    let replica = guarded(&["--message-rate=1", "--message-burst=1"]).await;
    let shown = bearer(&right());
    let headers = [("Authorization", shown.as_str())];
    let mut socket = Socket::open(&replica, &headers).await.expect("a WebSocket");
    // One or two are taken, and one for each second that the machine takes for it.
    let text = r#"{"op":"unsubscribe","ref":1,"sub":"x"}"#;
    for _ in 0..20_000 {
        if socket.socket.send(Message::text(text)).await.is_err() {
            break;
        }
    }
    let (code, _) = socket.close_code().await;
    assert_eq!(code, Some(1008));
}
