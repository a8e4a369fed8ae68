//! Requests to backends over NATS, and what else a connection says of itself there.

use super::{Client, refusal};
use crate::nats_server::{NatsServer, Version};
use crate::replica::{Replica, within};
use async_nats::HeaderMap;
use futures::StreamExt;
use serde_json::{Value, json};

on_both!(
    a_backends_answer_comes_back_under_the_ref,
    a_request_in_a_binary_message_is_answered_in_one,
    where_nobody_answers_it_is_told_which_way,
    a_services_error_is_an_error_with_its_code,
    a_request_that_nats_does_not_take_is_not_sent,
    events_bear_their_connection_on_nats_too,
);

/// A replica on a server, and a client of each.
async fn all(server: &NatsServer) -> (Replica, Client, async_nats::Client) {
    let replica = Replica::start(&["--nats", &server.url()]).await;
    let client = Client::connect(&replica).await;
    (replica, client, server.client().await)
}

/// Listens to a subject, once the server knows that.
async fn subscribe(backend: &async_nats::Client, subject: &'static str) -> async_nats::Subscriber {
    let subscriber = backend.subscribe(subject).await.unwrap();
    // Its answer comes after all that was sent before.
    let asked = backend.request("$JS.API.INFO", "".into());
    within("a round trip", asked).await.unwrap();
    subscriber
}

/// Answers the next request to a subject, with what `answer` makes of it.
async fn answer_next(
    backend: &async_nats::Client,
    subject: &'static str,
    answer: impl FnOnce(&async_nats::Message) -> (HeaderMap, Vec<u8>) + Send + 'static,
) {
    let mut requests = subscribe(backend, subject).await;
    let backend = backend.clone();
    tokio::spawn(async move {
        let request = requests.next().await.expect("a request");
        let (headers, data) = answer(&request);
        let reply = request.reply.expect("a reply subject");
        let sent = backend.publish_with_headers(reply, headers, data.into());
        sent.await.unwrap();
    });
}

async fn a_backends_answer_comes_back_under_the_ref(version: Version) {
    let server = NatsServer::start(version);
    let (_replica, mut client, backend) = all(&server).await;
    let id = client.id.clone();
    answer_next(&backend, "requests.users.get", move |request| {
        let headers = request.headers.as_ref().expect("headers");
        let named = headers.get("Tidings-Connection").expect("the connection");
        assert_eq!(named.as_str(), id);
        assert_eq!(
            headers.get("Content-Type").unwrap().as_str(),
            "application/json"
        );
        assert_eq!(&request.payload[..], br#"{"id":7}"#);
        (HeaderMap::new(), br#"{"name":"Ada"}"#.to_vec())
    })
    .await;
    let request =
        json!({"op": "request", "ref": 4, "name": "users.get", "data": {"id": 7}, "timeout": 20});
    let result = client.result(request.clone()).await;
    assert_eq!(result, json!({"data": {"name": "Ada"}}));
    answer_next(&backend, "requests.users.get", |_| {
        (HeaderMap::new(), vec![0xff])
    })
    .await;
    let result = client.result(request).await;
    assert_eq!(result, json!({"data": "/w==", "encoding": "base64"}));
}

async fn a_request_in_a_binary_message_is_answered_in_one(version: Version) {
    let server = NatsServer::start(version);
    let (_replica, mut client, backend) = all(&server).await;
    answer_next(&backend, "requests.echo", |request| {
        (HeaderMap::new(), request.payload.to_vec())
    })
    .await;
    let head = json!({"op": "request", "ref": "b", "name": "echo"});
    client.send_binary(&head, b"\xff\nplain").await;
    let (head, bytes) = client.binary().await;
    assert_eq!(head, json!({"ref": "b", "result": {}}));
    assert_eq!(bytes, b"\xff\nplain");
}

async fn where_nobody_answers_it_is_told_which_way(version: Version) {
    let mut server = NatsServer::start(version);
    let (_replica, mut client, backend) = all(&server).await;
    let request = json!({"op": "request", "ref": 1, "name": "silent", "timeout": 0.2});
    let (status, detail) = client.refusal(request.clone()).await;
    assert_eq!(status, 503, "{detail}");
    assert!(detail.contains("nobody answers"), "{detail}");
    let _silent = subscribe(&backend, "requests.silent").await;
    let (status, detail) = client.refusal(request.clone()).await;
    assert_eq!(status, 504, "{detail}");
    assert!(detail.contains("0.2 s"), "{detail}");
    // A backend that is silent is no silent NATS: publishes go on.
    client.publish("a", json!(1)).await;
    server.kill();
    within("it to be noticed", async {
        while client.refusal(request.clone()).await.0 != 503 {}
    })
    .await;
}

async fn a_services_error_is_an_error_with_its_code(version: Version) {
    let server = NatsServer::start(version);
    let (_replica, mut client, backend) = all(&server).await;
    for (code, text, status) in [
        ("404", "no such user", 404),
        ("7", "odd", 500),
        ("x", "", 500),
    ] {
        answer_next(&backend, "requests.users.get", move |_| {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Service-Error", text);
            headers.insert("Nats-Service-Error-Code", code);
            (headers, Vec::new())
        })
        .await;
        let request = json!({"op": "request", "ref": 1, "name": "users.get", "timeout": 20});
        let (found, detail) = client.refusal(request).await;
        assert_eq!(found, status, "{detail}");
        assert!(detail.contains(text), "{detail}");
    }
}

async fn a_request_that_nats_does_not_take_is_not_sent(version: Version) {
    let server = NatsServer::with(
        version,
        "max_payload: 1000\njetstream { store_dir: $STORE }",
    );
    let (_replica, mut client, _) = all(&server).await;
    let data = "x".repeat(1000);
    let request = json!({"op": "request", "ref": 1, "name": "a", "data": data});
    let (status, detail) = client.refusal(request).await;
    assert_eq!(status, 413, "{detail}");
}

async fn events_bear_their_connection_on_nats_too(version: Version) {
    let server = NatsServer::start(version);
    let (replica, mut client, backend) = all(&server).await;
    let mut seen = subscribe(&backend, "feeds.a").await;
    client.subscribe("s", &["a"], json!({"echo": false})).await;
    let publish = json!({"op": "publish", "ref": 1, "feed": "a", "data": 1});
    client.send(&publish).await;
    let mut both = [client.text().await, client.text().await];
    both.sort_by_key(|message| message["sub"].is_string());
    let [answer, position] = both;
    let id = answer["result"]["id"].as_str().expect("an id").to_owned();
    let message = within("the message", seen.next()).await.unwrap();
    let headers = message.headers.expect("headers");
    assert_eq!(
        headers.get("Tidings-Connection").unwrap().as_str(),
        client.id
    );
    assert_eq!(
        (&position["type"], &position["id"]),
        (&json!("hub:position"), &json!(id))
    );
    let mut other = Client::connect(&replica).await;
    other
        .subscribe("s", &["a"], json!({"after": "start"}))
        .await;
    let event = other.text().await;
    assert_eq!(
        (&event["connection"], &event["id"]),
        (&json!(client.id), &json!(id))
    );
}

#[tokio::test]
async fn where_every_subject_is_a_feed_there_are_no_requests() {
    let server = NatsServer::start(Version::V2_15);
    let replica = Replica::start(&["--nats", &server.url(), "--nats-prefix", "requests"]).await;
    let mut client = Client::connect(&replica).await;
    let answer: Value = client
        .ask(json!({"op": "request", "ref": 1, "name": "a"}))
        .await;
    let (status, detail) = refusal(&answer);
    assert_eq!(status, 501, "{detail}");
    assert!(detail.contains("--nats-prefix"), "{detail}");
}
