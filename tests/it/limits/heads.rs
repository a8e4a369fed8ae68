//! How large a request's head may be, and how long a request may take in all.

use crate::call::{get, post};
use crate::nats_server::{NatsServer, Version};
use crate::raw::Raw;
use crate::replica::Replica;

#[tokio::test]
async fn a_head_may_be_as_large_as_is_set_and_no_larger() {
    let replica = Replica::start(&["--max-head-bytes=65536"]).await;
    let fits = "x".repeat(60_000);
    assert_eq!(
        get(&replica, "/livez", &[("X-Large", &fits)]).await.status,
        200
    );
    let larger = "x".repeat(70_000);
    let request = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Large: {larger}\r\n\r\n");
    let head = Raw::send(replica.address, &request).await.head().await;
    assert!(head.status.contains("431"), "{}", head.status);
}

async fn a_publish_is_answered_in_time_though_nats_is_stuck(version: Version) {
    let server = NatsServer::start(version);
    let url = server.url();
    let replica =
        Replica::start(&["--nats", &url, "--request-timeout=1", "--nats-timeout=60"]).await;
    server.freeze();
    let answer = post(&replica, "/feeds/a", &[], "x").await;
    let detail = answer.problem(504);
    assert!(
        detail.contains("--request-timeout") && detail.contains("Idempotency-Key"),
        "{detail}"
    );
    assert_eq!(answer.header("connection"), Some("close"));
    server.thaw();
}

on_both!(a_publish_is_answered_in_time_though_nats_is_stuck);
