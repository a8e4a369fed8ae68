//! Messages that can't be read: each is answered, and none closes the connection but too many in a row.

use super::{Client, refusal};
use crate::replica::Replica;
use serde_json::{Value, json};

/// Messages; under which `ref` each is answered, with which status, and with what in the detail.
const UNREADABLE: &[(&str, &str, u64, &str)] = &[
    ("", "null", 422, "not one JSON object"),
    ("[1]", "null", 422, "not one JSON object"),
    ("{\"ref\":1", "null", 422, "not one JSON object"),
    ("{}", "null", 422, "no `ref`"),
    (r#"{"ref":""}"#, "null", 422, "`ref` is a string of 1 to 64"),
    (r#"{"ref":1.5}"#, "null", 422, "`ref` is"),
    (r#"{"ref":1e3}"#, "null", 422, "`ref` is"),
    (r#"{"ref":99999999999999999999}"#, "null", 422, "`ref` is"),
    (r#"{"ref":[1]}"#, "null", 422, "`ref` is"),
    (r#"{"ref":1}"#, "1", 422, "`` is no op"),
    (
        r#"{"ref":"é","op":"sing"}"#,
        r#""é""#,
        422,
        "`sing` is no op",
    ),
    (r#"{"ref":-7,"op":1}"#, "-7", 422, "`op` is not a string"),
    (
        r#"{"ref":1,"op":"auth","op":"auth"}"#,
        "1",
        422,
        "`op` is there twice",
    ),
    (r#"{"ref":1,"ref":2,"op":"auth"}"#, "1", 422, "`ref`"),
    (
        r#"{"ref":1,"op":"auth","token":"x","user":"y"}"#,
        "1",
        422,
        "`user` is no field",
    ),
    (
        r#"{"ref":1,"op":"auth","token":"x"}"#,
        "1",
        501,
        "no authentication",
    ),
    (r#"{"ref":1,"op":"subscribe"}"#, "1", 400, "no `feeds`"),
    (
        r#"{"ref":1,"op":"subscribe","feeds":[]}"#,
        "1",
        400,
        "no `feeds`",
    ),
    (
        r#"{"ref":1,"op":"subscribe","feeds":"a"}"#,
        "1",
        422,
        "a list of patterns",
    ),
    (
        r#"{"ref":1,"op":"subscribe","feeds":["a b"]}"#,
        "1",
        400,
        "no pattern",
    ),
    (
        r#"{"ref":1,"op":"subscribe","feeds":["a","b","c"]}"#,
        "1",
        400,
        "3 patterns",
    ),
    (
        r#"{"ref":1,"op":"subscribe","feeds":["a"],"after":7}"#,
        "1",
        422,
        "`after`",
    ),
    (
        r#"{"ref":1,"op":"subscribe","feeds":["a"],"after":"now","last":1}"#,
        "1",
        400,
        "both",
    ),
    (
        r#"{"ref":1,"op":"subscribe","feeds":["a"],"last":1001}"#,
        "1",
        400,
        "0 to 1000",
    ),
    (
        r#"{"ref":1,"op":"subscribe","feeds":["a"],"last":-1}"#,
        "1",
        422,
        "`last`",
    ),
    (
        r#"{"ref":1,"op":"subscribe","feeds":["a"],"echo":1}"#,
        "1",
        422,
        "`echo`",
    ),
    (
        r#"{"ref":1,"op":"subscribe","feeds":["a"],"feed":"b"}"#,
        "1",
        422,
        "`feed` is no field",
    ),
    (r#"{"ref":1,"op":"unsubscribe"}"#, "1", 422, "no `sub`"),
    (
        r#"{"ref":1,"op":"unsubscribe","sub":2.5}"#,
        "1",
        422,
        "`sub` is",
    ),
    (
        r#"{"ref":1,"op":"unsubscribe","sub":2}"#,
        "1",
        404,
        "no subscription 2",
    ),
    (r#"{"ref":1,"op":"request"}"#, "1", 422, "no `name`"),
    (r#"{"ref":1,"op":"request","name":"a."}"#, "1", 400, "name"),
    (
        r#"{"ref":1,"op":"request","name":"a","timeout":0}"#,
        "1",
        400,
        "`timeout`",
    ),
    (
        r#"{"ref":1,"op":"request","name":"a","timeout":61}"#,
        "1",
        400,
        "`timeout`",
    ),
    (
        r#"{"ref":1,"op":"request","name":"a","feed":"b"}"#,
        "1",
        422,
        "`feed` is no field",
    ),
    (r#"{"ref":1,"op":"request","name":"a"}"#, "1", 501, "--nats"),
];

#[tokio::test]
async fn what_can_not_be_read_is_answered_under_its_ref_or_under_none() {
    let replica = Replica::start(&["--max-patterns=2"]).await;
    let mut client = Client::connect(&replica).await;
    for &(text, reference, status, part) in UNREADABLE {
        client.send_text(text).await;
        let answer = client.text().await;
        assert_eq!(answer["ref"].to_string(), reference, "{text}: {answer}");
        let (found, detail) = refusal(&answer);
        assert_eq!(found, status, "{text}: {answer}");
        assert!(detail.contains(part), "{text}: {answer}");
        assert!(answer["error"]["title"].is_string());
    }
    client.publish("a", json!(1)).await;
}

#[tokio::test]
async fn the_longest_ref_is_64_bytes() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    let auth = |length: usize| json!({"op": "auth", "ref": "x".repeat(length)});
    client.ask(auth(64)).await;
    client.send(&auth(65)).await;
    assert_eq!(client.text().await["ref"], Value::Null);
}

#[tokio::test]
async fn a_thousand_in_a_row_close_the_connection_and_one_that_is_read_begins_the_row_anew() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    for _ in 0..2 {
        for _ in 0..999 {
            client.send_text("x").await;
            assert_eq!(client.text().await["ref"], Value::Null);
        }
        client.ask(json!({"op": "auth", "ref": 1})).await;
    }
    for _ in 0..1000 {
        client.send_text("x").await;
    }
    let (code, said) = client.close_code().await;
    assert_eq!((code, said.len()), (Some(1008), 999));
}

#[tokio::test]
async fn a_binary_message_without_its_line_closes_the_connection() {
    let replica = Replica::start(&[]).await;
    for bytes in [
        &b""[..],
        b"\xff\xfe",
        b"{\"op\":\"publish\"}",
        b"x\n",
        b"[]\n{}",
    ] {
        let mut client = Client::connect(&replica).await;
        let message = tokio_tungstenite::tungstenite::Message::binary(bytes.to_vec());
        futures::SinkExt::send(&mut client.socket, message)
            .await
            .unwrap();
        assert_eq!(client.close_code().await.0, Some(1003), "{bytes:?}");
    }
}

#[tokio::test]
async fn a_binary_message_says_nothing_of_data_in_its_line_and_only_sends_data() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    for (head, part) in [
        (
            json!({"ref": 1, "op": "publish", "feed": "a", "data": 1}),
            "after its line",
        ),
        (
            json!({"ref": 1, "op": "publish", "feed": "a", "encoding": "base64"}),
            "after its line",
        ),
        (
            json!({"ref": 1, "op": "subscribe", "feeds": ["a"]}),
            "binary messages",
        ),
    ] {
        client.send_binary(&head, b"x").await;
        let answer = client.text().await;
        let (status, detail) = refusal(&answer);
        assert_eq!((&answer["ref"], status), (&json!(1), 422), "{answer}");
        assert!(detail.contains(part), "{answer}");
    }
}
