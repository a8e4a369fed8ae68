//! What a subscription brings, and in which order.

use super::{Client, refusal};
use crate::replica::{Replica, within};
use serde_json::{Value, json};

async fn readers(replica: &Replica, count: usize) {
    within("the number of readers", async {
        while replica.hub().usage().readers != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The name of an event's subscription, and its data.
fn brief(event: &Value) -> (&str, &Value) {
    let name = event["sub"].as_str().unwrap_or_else(|| panic!("{event}"));
    (name, &event["data"])
}

#[tokio::test]
async fn what_is_published_comes_to_those_who_have_subscribed() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    let opening = client.subscribe("a", &["orders.*"], json!({})).await;
    assert_eq!(opening, "0-0");
    let id = replica.publish("orders.eu", r#"{"n":1}"#).await.to_string();
    let event = client.text().await;
    let time = event["time"].as_str().expect("a time");
    let expected = json!({
        "sub": "a", "id": id, "feed": "orders.eu", "type": "message", "time": time, "data": {"n": 1}
    });
    assert_eq!(event, expected);
}

#[tokio::test]
async fn a_subscription_goes_on_after_an_id_or_begins_with_the_first_or_with_the_newest() {
    let replica = Replica::start(&[]).await;
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(replica.publish("a", n.to_string()).await.to_string());
    }
    let mut client = Client::connect(&replica).await;
    for (more, first) in [
        (json!({"after": ids[1]}), 2),
        (json!({"after": "start"}), 0),
        (json!({"last": 1}), 3),
    ] {
        let opening = client.subscribe("s", &["a"], more.clone()).await;
        if let Some(after) = more["after"].as_str().filter(|id| *id != "start") {
            assert_eq!(opening, after);
        }
        for (n, id) in ids.iter().enumerate().skip(first) {
            let event = client.text().await;
            assert_eq!(
                (&event["data"], &event["id"]),
                (&json!(n), &json!(id)),
                "{more}"
            );
        }
        client
            .result(json!({"op": "unsubscribe", "ref": 1, "sub": "s"}))
            .await;
    }
    let now = client.subscribe("s", &["a"], json!({"after": "now"})).await;
    assert_eq!(now, ids[3]);
}

#[tokio::test]
async fn an_id_that_is_none_of_the_logs_is_a_reset_and_then_all_comes() {
    let replica = Replica::start(&[]).await;
    replica.publish("a", "1").await;
    let mut client = Client::connect(&replica).await;
    for after in ["1-foreign", "1-zzzzzz"] {
        client.subscribe("s", &["a"], json!({"after": after})).await;
        let reset = client.text().await;
        assert_eq!(
            (&reset["sub"], &reset["type"], &reset["data"]),
            (&json!("s"), &json!("hub:reset"), &json!({}))
        );
        assert_eq!(client.text().await["data"], 1);
        client
            .result(json!({"op": "unsubscribe", "ref": 1, "sub": "s"}))
            .await;
    }
}

#[tokio::test]
async fn what_the_log_holds_no_more_is_a_gap() {
    let replica = Replica::start(&["--memory-events=2", "--window-events=1"]).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(replica.publish("a", n.to_string()).await.to_string());
    }
    let mut client = Client::connect(&replica).await;
    client
        .subscribe("s", &["a"], json!({"after": ids[0]}))
        .await;
    let gap = client.text().await;
    let data = json!({"after": ids[0], "before": ids[3], "reason": "expired"});
    assert_eq!(
        (&gap["sub"], &gap["type"], &gap["data"]),
        (&json!("s"), &json!("hub:gap"), &data)
    );
    assert_eq!(client.text().await["data"], 3);
    assert_eq!(client.text().await["data"], 4);
}

#[tokio::test]
async fn an_event_comes_once_for_each_subscription_that_it_matches() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    client
        .subscribe("both", &["a.*", "a.b", ">"], json!({}))
        .await;
    client.subscribe("one", &["a.b"], json!({})).await;
    client.subscribe("other", &["c"], json!({})).await;
    replica.publish("a.b", "1").await;
    replica.publish("c", "2").await;
    let mut heard = Vec::new();
    for _ in 0..4 {
        let event = client.text().await;
        let (name, data) = brief(&event);
        heard.push((name.to_owned(), data.clone()));
    }
    for name in ["both", "one", "other"] {
        let data: Vec<u64> = heard
            .iter()
            .filter(|(one, _)| one == name)
            .map(|(_, data)| data.as_u64().unwrap())
            .collect();
        let expected: &[u64] = match name {
            "both" => &[1, 2],
            "one" => &[1],
            _ => &[2],
        };
        assert_eq!(data, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_of_a_subscription_after_its_end_though_events_flow() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    let mut publisher = Client::connect(&replica).await;
    for round in 0..20 {
        client.subscribe("s", &["a"], json!({})).await;
        for n in 0..20 {
            let publish = json!({"op": "publish", "ref": n, "feed": "a", "data": n});
            publisher.send(&publish).await;
        }
        assert_eq!(brief(&client.text().await), ("s", &json!(0)), "{round}");
        client
            .send(&json!({"op": "unsubscribe", "ref": "end", "sub": "s"}))
            .await;
        let mut next = 1;
        loop {
            let message = client.text().await;
            if message["ref"] == "end" {
                assert_eq!(message["result"], json!({}));
                break;
            }
            assert_eq!(brief(&message), ("s", &json!(next)));
            next += 1;
        }
        for _ in 0..20 {
            publisher.text().await;
        }
        // An answer is the next that comes.
        let gone = json!({"op": "unsubscribe", "ref": "again", "sub": "s"});
        assert_eq!(client.refusal(gone).await.0, 404);
    }
    readers(&replica, 0).await;
}

#[tokio::test]
async fn a_name_is_one_subscriptions_while_it_lasts_and_numbers_are_no_strings() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    client.subscribe("1", &["a"], json!({})).await;
    let again = json!({"op": "subscribe", "ref": "1", "feeds": ["b"]});
    assert_eq!(client.refusal(again.clone()).await.0, 409);
    client
        .result(json!({"op": "subscribe", "ref": 1, "feeds": ["b"]}))
        .await;
    replica.publish("b", "1").await;
    assert_eq!(client.text().await["sub"], 1);
    client
        .result(json!({"op": "unsubscribe", "ref": 1, "sub": "1"}))
        .await;
    client.result(again).await;
}

#[tokio::test]
async fn what_a_connection_publishes_bears_its_id_and_can_be_left_out_of_its_own_subscriptions() {
    let replica = Replica::start(&["--heartbeat=3600"]).await;
    let mut client = Client::connect(&replica).await;
    let mut other = Client::connect(&replica).await;
    assert_ne!(client.id, other.id);
    client
        .subscribe("deaf", &["chat.>"], json!({"echo": false}))
        .await;
    other
        .subscribe("b", &["chat.>"], json!({"echo": true}))
        .await;
    let publish = json!({"op": "publish", "ref": 1, "feed": "chat.lobby", "data": "hello"});
    client.send(&publish).await;
    // Answers and events come in any order.
    let mut both = [client.text().await, client.text().await];
    both.sort_by_key(|message| message["sub"].is_string());
    let [answer, position] = both;
    let own = answer["result"]["id"].as_str().expect("an id");
    let expected = json!({"sub": "deaf", "type": "hub:position", "id": own, "data": {}});
    assert_eq!(position, expected);
    let event = other.text().await;
    assert_eq!(
        (&event["id"], &event["connection"], &event["data"]),
        (&json!(own), &json!(client.id), &json!("hello"))
    );
    other
        .send(&json!({"op": "publish", "ref": 1, "feed": "chat.lobby", "data": "hi"}))
        .await;
    let event = client.text().await;
    assert_eq!(event["connection"], json!(other.id));
    let (one, another) = (other.text().await, other.text().await);
    let answers = [&one, &another];
    assert!(answers.iter().any(|message| message["ref"] == 1));
    assert!(answers.iter().any(|message| message["data"] == "hi"));
}

#[tokio::test]
async fn bytes_that_are_no_text_come_as_base64_or_in_a_binary_message() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    let mut raw = Client::connect(&replica).await;
    client.subscribe("s", &["a"], json!({})).await;
    raw.subscribe("r", &["a"], json!({"binary": true})).await;
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for data in [&b"\xff\x00"[..], &bytes] {
        let id = replica.publish("a", data.to_vec()).await.to_string();
        let event = client.text().await;
        assert_eq!(event["encoding"], "base64");
        let (head, data_there) = raw.binary().await;
        assert_eq!(data_there, data);
        assert_eq!(
            (&head["sub"], &head["id"], &head["feed"], &head["data"]),
            (&json!("r"), &json!(id), &json!("a"), &Value::Null)
        );
        assert_eq!(head["encoding"], Value::Null);
    }
    replica.publish("a", "text").await;
    assert_eq!(raw.text().await["data"], "text");
}

#[tokio::test]
async fn events_as_large_as_may_be_come_whole() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    client.subscribe("s", &["a"], json!({})).await;
    for text in ["€".repeat(333_333), "\u{1}".repeat(1_000_000)] {
        replica.publish("a", text.clone()).await;
        assert_eq!(client.text().await["data"].as_str(), Some(&*text));
    }
}

#[tokio::test]
async fn a_quiet_subscriptions_place_moves_on_with_the_log() {
    let replica = Replica::start(&["--heartbeat=1"]).await;
    let mut client = Client::connect(&replica).await;
    client.subscribe("s", &["a"], json!({})).await;
    let id = replica.publish("b", "1").await.to_string();
    let expected = json!({"sub": "s", "type": "hub:position", "id": id, "data": {}});
    assert_eq!(client.text().await, expected);
}

#[tokio::test]
async fn there_may_be_so_many_subscriptions_and_no_more() {
    let replica = Replica::start(&["--max-subscriptions=2", "--max-streams=3"]).await;
    let subscribe = |name: u64| json!({"op": "subscribe", "ref": name, "feeds": ["a"]});
    let mut client = Client::connect(&replica).await;
    client.result(subscribe(1)).await;
    client.result(subscribe(2)).await;
    let (status, detail) = client.refusal(subscribe(3)).await;
    assert_eq!(status, 429);
    assert!(detail.contains("--max-subscriptions"), "{detail}");
    let mut other = Client::connect(&replica).await;
    other.result(subscribe(1)).await;
    assert_eq!(other.refusal(subscribe(2)).await.0, 503);
    client
        .result(json!({"op": "unsubscribe", "ref": 4, "sub": 1}))
        .await;
    readers(&replica, 2).await;
    other.result(subscribe(2)).await;
    drop(other);
    readers(&replica, 1).await;
}

#[tokio::test]
async fn everyone_may_read_what_is_meant_for_everyone_and_nothing_else() {
    let replica = Replica::start(&["--anonymous-subscribe=open.>"]).await;
    let mut client = Client::connect(&replica).await;
    client.subscribe("s", &["open.a"], json!({})).await;
    for feeds in [json!(["secret"]), json!(["open.a", ">"])] {
        let asked = json!({"op": "subscribe", "ref": 1, "feeds": feeds});
        assert_eq!(client.refusal(asked).await.0, 403);
    }
    let publish = json!({"op": "publish", "ref": 1, "feed": "open.a", "data": 1});
    assert_eq!(client.refusal(publish).await.0, 403);
    let request = json!({"op": "request", "ref": 1, "name": "a"});
    let answer = client.ask(request).await;
    assert_eq!(refusal(&answer).0, 403, "{answer}");
}
