//! What is told of NATS, and of how far behind it this replica is.

use super::{comes_to, value};
use crate::nats_server::{NatsServer, Version};
use crate::replica::{Replica, within};

on_both!(an_outage_of_nats_is_told_and_its_end_too);

async fn an_outage_of_nats_is_told_and_its_end_too(version: Version) {
    let mut server = NatsServer::start(version);
    let replica = Replica::start(&["--nats", &server.url()]).await;
    replica.publish("a", "1").await;
    comes_to(&replica, "tidings_nats_connected", &[], 1.0).await;
    comes_to(&replica, "tidings_status", &["live"], 1.0).await;
    comes_to(&replica, "tidings_follower_behind_seconds", &[], 0.0).await;
    assert_eq!(
        value(&replica, "tidings_nats_connects_total", &[]).await,
        1.0
    );
    server.kill();
    comes_to(&replica, "tidings_nats_connected", &[], 0.0).await;
    comes_to(&replica, "tidings_status", &["degraded"], 1.0).await;
    within("the time behind to grow", async {
        while value(&replica, "tidings_follower_behind_seconds", &[]).await == 0.0 {}
    })
    .await;
    server.run();
    comes_to(&replica, "tidings_status", &["live"], 1.0).await;
    comes_to(&replica, "tidings_nats_connected", &[], 1.0).await;
    comes_to(&replica, "tidings_follower_behind_seconds", &[], 0.0).await;
    assert_eq!(
        value(&replica, "tidings_follower_pending_events", &[]).await,
        0.0
    );
    assert!(value(&replica, "tidings_nats_connects_total", &[]).await >= 2.0);
}
