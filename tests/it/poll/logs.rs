//! Polls of each log: on disk, and of JetStream, which may be away.

use super::answers::refused;
use super::unread::metric;
use super::{all, page};
use crate::nats_server::{NatsServer, Version};
use crate::outages::{degraded, live};
use crate::replica::Replica;
use serde_json::json;

on_both!(
    pages_of_jetstream_join_without_a_seam,
    an_event_over_the_limit_is_a_gap,
    what_is_at_hand_is_served_while_nats_is_away_and_the_rest_is_503,
);

async fn pages_join_without_a_seam(replica: &Replica) {
    for n in 0..60 {
        replica
            .publish(&format!("x.{}", n % 3), format!("n{n}"))
            .await;
    }
    let whole = page(replica, "/feeds/x.*?after=start").await;
    let expected: Vec<String> = (0..60).map(|n| format!("n{n}")).collect();
    assert_eq!(whole.told(), expected);
    for limit in [13, 59, 60] {
        let parameters = format!("limit={limit}&wait=0");
        let joined = all(replica, "x.*", &parameters, "0-0".to_owned()).await;
        assert_eq!(joined, whole.events, "limit={limit}");
    }
    let single = all(replica, "x.1", "limit=6", "0-0".to_owned()).await;
    let expected: Vec<_> = whole.events.iter().skip(1).step_by(3).collect();
    assert_eq!(single.iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn pages_of_a_log_on_disk_join_without_a_seam() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("text");
    let replica = Replica::start(&["--data", folder, "--window-events", "10"]).await;
    pages_join_without_a_seam(&replica).await;
}

async fn pages_of_jetstream_join_without_a_seam(version: Version) {
    let server = NatsServer::start(version);
    let arguments = ["--nats", &server.url(), "--window-events", "10"];
    pages_join_without_a_seam(&Replica::start(&arguments).await).await;
}

async fn an_event_over_the_limit_is_a_gap(version: Version) {
    let server = NatsServer::start(version);
    let arguments = ["--nats", &server.url(), "--max-event-bytes", "10"];
    let replica = Replica::start(&arguments).await;
    let jetstream = async_nats::jetstream::new(server.client().await);
    for data in ["before", "much more than ten bytes", "after"] {
        let sent = jetstream.publish("feeds.a", data.into()).await;
        sent.expect("it is sent").await.expect("it is stored");
    }
    let end = replica.publish("b", "end").await.to_string();
    let whole = page(&replica, "/feeds/a?after=start").await;
    assert_eq!(whole.told(), ["before", "hub:gap", "after"]);
    assert_eq!(whole.next, end);
    let [before, gap, _] = &whole.events[..] else {
        panic!("three");
    };
    let data = json!({"after": before["id"], "before": gap["id"], "reason": "limit"});
    assert_eq!(
        *gap,
        json!({"type": "hub:gap", "id": gap["id"], "data": data})
    );
    let joined = all(&replica, "a", "limit=1", "0-0".to_owned()).await;
    assert_eq!(joined, whole.events);
    // What a limit has kept back was not told: each of the two was told the gap once.
    assert_eq!(metric(&replica, "tidings_gaps_total ").await, 2);
}

async fn what_is_at_hand_is_served_while_nats_is_away_and_the_rest_is_503(version: Version) {
    let mut server = NatsServer::start(version);
    let arguments = ["--nats", &server.url(), "--window-events", "2"];
    let replica = Replica::start(&arguments).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(replica.publish("a", format!("n{n}")).await.to_string());
    }
    server.stop();
    degraded(&replica).await;
    let at_hand = page(&replica, &format!("/feeds/a?after={}", ids[2])).await;
    assert_eq!((at_hand.told(), &at_hand.next), (vec!["n3", "n4"], &ids[4]));
    let waits = page(&replica, &format!("/feeds/a?wait=1&after={}", ids[4])).await;
    assert_eq!((waits.told(), &waits.next), (vec![], &ids[4]));
    // It can't be asked of whom the id is, nor what comes after one that is everyone's.
    for id in [&ids[0], "0-0"] {
        refused(&replica, &format!("/feeds/a?after={id}"), "unavailable").await;
    }
    server.run();
    live(&replica).await;
    let page = page(&replica, &format!("/feeds/a?after={}", ids[0])).await;
    assert_eq!(page.told(), ["n1", "n2", "n3", "n4"]);
}
