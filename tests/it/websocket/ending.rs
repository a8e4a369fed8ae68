//! How connections end: by the client, by the server, or by neither.

use super::{Client, narrow};
use crate::call::get;
use crate::replica::{Replica, within};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// The value of a metric, 0 where there is none yet.
pub(super) async fn metric(replica: &Replica, name: &str) -> u64 {
    let metrics = get(replica, "/metrics", &[]).await.text;
    let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    metrics.lines().find_map(value).unwrap_or(0)
}

/// Waits until a metric has a value.
pub(super) async fn metric_is(replica: &Replica, name: &str, value: u64) {
    within(name, async {
        while metric(replica, name).await != value {}
    })
    .await;
}

#[tokio::test]
async fn a_clients_closing_is_answered_in_kind_and_counted() {
    let replica = Replica::start(&[]).await;
    for code in [1000, 1001, 4000] {
        let mut client = Client::connect(&replica).await;
        let frame = CloseFrame {
            code: code.into(),
            reason: "bye".into(),
        };
        client.socket.close(Some(frame.clone())).await.unwrap();
        let answer = within("an answer", client.socket.next()).await;
        match answer.expect("an answer").expect("a frame") {
            Message::Close(Some(answer)) => assert_eq!(answer, frame),
            answer => panic!("{answer:?}"),
        }
        assert!(within("the end", client.socket.next()).await.is_none());
    }
    metric_is(
        &replica,
        "tidings_websockets_ended_total{code=\"client\"}",
        3,
    )
    .await;
    let open = "tidings_streams{transport=\"websocket\",protocol=\"http/1.1\"}";
    metric_is(&replica, open, 0).await;
    assert_eq!(
        metric(&replica, "tidings_websocket_messages_sent_total").await,
        3
    );
}

#[tokio::test]
async fn a_client_that_goes_without_a_word_leaves_nothing_behind() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    client.subscribe("s", &["a"], json!({})).await;
    drop(client);
    metric_is(&replica, "tidings_websockets_ended_total{code=\"lost\"}", 1).await;
    metric_is(&replica, "tidings_readers ", 0).await;
}

#[tokio::test]
async fn a_server_that_ends_says_so_and_closes_with_1012() {
    let replica = Replica::start(&[]).await;
    let mut with = Client::connect(&replica).await;
    let mut without = Client::connect(&replica).await;
    with.subscribe("s", &["a"], json!({})).await;
    let stopped = tokio::spawn(replica.stop());
    for client in [&mut with, &mut without] {
        let (code, said) = client.close_code().await;
        assert_eq!(code, Some(1012));
        assert_eq!(
            said,
            [json!({"type": "hub:closing", "data": {"reason": "drain"}})]
        );
    }
    stopped.await.unwrap();
}

#[tokio::test]
async fn connections_are_closed_one_after_the_other_and_served_until_then() {
    let mut replica = Replica::start(&["--drain=5"]).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::connect(&replica).await);
    }
    replica.drain();
    let mut first = within("the first to be closed", async {
        let closings = clients
            .iter_mut()
            .map(|client| Box::pin(client.close_code()));
        futures::future::select_all(closings).await.0
    })
    .await;
    assert_eq!(first.0.take(), Some(1012));
    let mut served = 0;
    for mut client in clients {
        let publish = json!({"op": "publish", "ref": 1, "feed": "a", "data": 1});
        let sent = client.socket.send(Message::text(publish.to_string())).await;
        let Some(Ok(Message::Text(text))) = within("a message", client.socket.next()).await else {
            continue; // the first one
        };
        served += usize::from(sent.is_ok() && text.contains("\"result\""));
        let mut last = text;
        while let Some(Ok(Message::Text(text))) = within("the end", client.socket.next()).await {
            last = text;
        }
        assert_eq!(last, r#"{"type":"hub:closing","data":{"reason":"drain"}}"#);
    }
    assert!(served > 0);
    within("the replica to end", replica.ended()).await;
}

#[tokio::test]
async fn who_comes_to_a_replica_that_ends_or_starts_is_sent_on() {
    let mut replica = Replica::start(&["--drain=3600"]).await;
    let mut first = Client::connect(&replica).await;
    first.subscribe("s", &["a"], json!({})).await;
    replica.drain();
    within("readiness to be off", async {
        while get(&replica, "/readyz", &[]).await.status == 200 {}
    })
    .await;
    let mut late = Client::connect(&replica).await;
    let (code, said) = late.close_code().await;
    assert_eq!(
        (code, &said[0]["data"]["reason"]),
        (Some(1012), &json!("drain"))
    );

    let starting = Replica::start_unready(&["--nats=nats://127.0.0.1:1"]);
    let mut early = Client::connect(&starting).await;
    let (code, said) = early.close_code().await;
    assert_eq!(
        (code, &said[0]["data"]["reason"]),
        (Some(1013), &json!("starting"))
    );
}

#[tokio::test]
async fn a_ping_is_answered_and_the_server_pings_too() {
    let replica = Replica::start(&["--ping=1"]).await;
    let mut client = Client::connect(&replica).await;
    client.socket.send(Message::Ping("x".into())).await.unwrap();
    let answer = within("a pong", client.socket.next()).await;
    assert_eq!(answer.unwrap().unwrap(), Message::Pong("x".into()));
    // It lives for as long as it answers, which the library does by itself.
    for _ in 0..5 {
        let ping = within("a ping", client.socket.next()).await;
        assert_eq!(ping.unwrap().unwrap(), Message::Ping("".into()));
    }
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed() {
    let replica = Replica::start(&["--ping=1"]).await;
    let client = Client::connect(&replica).await;
    metric_is(&replica, "tidings_websockets_ended_total{code=\"1008\"}", 1).await;
    drop(client);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed_and_counted() {
    closed_and_counted(Replica::start(&["--stall-timeout=1"]).await).await;
}

#[tokio::test]
async fn one_within_tls_that_takes_nothing_is_too() {
    closed_and_counted(Replica::with_tls(&["--stall-timeout=1"]).await).await;
}

async fn closed_and_counted(replica: Replica) {
    let mut client = Client::over(&replica, narrow(&replica).await).await;
    client.subscribe("s", &["a"], json!({})).await;
    let mut healthy = Client::connect(&replica).await;
    healthy.subscribe("s", &["a"], json!({})).await;
    for n in 0..30 {
        let text = format!("{n} {}", "x".repeat(100_000));
        replica.publish("a", text.clone()).await;
        assert_eq!(healthy.text().await["data"], text);
    }
    metric_is(&replica, "tidings_stalled_total", 1).await;
    metric_is(&replica, "tidings_websockets_ended_total{code=\"lost\"}", 1).await;
    metric_is(&replica, "tidings_readers ", 1).await;
}

#[tokio::test]
async fn one_that_takes_nothing_does_not_hold_the_end_up() {
    let replica = Replica::start(&["--drain=2"]).await;
    let mut client = Client::over(&replica, narrow(&replica).await).await;
    client.subscribe("s", &["a"], json!({})).await;
    for _ in 0..30 {
        replica.publish("a", "x".repeat(100_000)).await;
    }
    within("the replica to end", replica.stop()).await;
    drop(client);
}

#[tokio::test]
async fn a_half_that_is_closed_is_the_end() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    client.socket.get_mut().shutdown().await.unwrap();
    let end = within("the end", client.socket.next()).await;
    assert!(!matches!(end, Some(Ok(_))), "{end:?}");
    metric_is(&replica, "tidings_websockets_ended_total{code=\"lost\"}", 1).await;
}
