//! How large a request's head may be, and how long a request may take in all.

use crate::call::{get, post};
use crate::nats_server::{NatsServer, Version};
use crate::raw::Raw;
use crate::replica::{Replica, within};

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

/// The server tells its clients so (RFC 9113, section 6.5.2), and holds those to it that do not listen.
#[tokio::test]
async fn an_http_2_connection_has_so_many_streams_and_the_next_one_waits_for_one_to_end() {
    let replica = Replica::start(&["--max-http2-streams=2"]).await;
    let client = replica.client().http2_prior_knowledge();
    let client = client.build().expect("a client");
    let open = || client.get(replica.url("/feeds/a")).send();
    let first = within("a head", open()).await.expect("an answer");
    let _second = within("a head", open()).await.expect("an answer");
    let third = tokio::spawn(open());
    // What is published is heard while the third one waits, which the server has not seen yet.
    replica.publish("a", "x").await;
    assert_eq!(replica.hub().usage().readers, 2);
    assert!(!third.is_finished());
    drop(first);
    let third = within("its turn", third).await.expect("a task");
    assert_eq!(third.expect("an answer").status(), 200);
}
