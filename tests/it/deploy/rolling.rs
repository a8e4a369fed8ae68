//! A new version of each replica, one after the other, behind deploy/haproxy.cfg.

use super::front::haproxy_in_the_clear;
use crate::nats_server::{NatsServer, Version};
use crate::rolling::{Server, more_deliveries, sound};
use crate::seed;
use std::time::Duration;
use tidings::verify::{NatsTarget, Plan, Run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_behind_haproxy_loses_and_doubles_nothing() {
    let nats = NatsServer::start(Version::V2_15);
    let url = nats.url();
    let arguments = [
        "--nats",
        &url,
        "--drain",
        "3",
        "--anonymous-subscribe",
        ">",
        "--anonymous-publish",
        ">",
    ];
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Server::start(&arguments).await);
    }
    let addresses = [0, 1, 2].map(|n: usize| servers[n].address);
    let proxy = haproxy_in_the_clear(addresses).await;
    let run = Run::start(Plan {
        readers: 60,
        rate: 200.0,
        cut: Some(Duration::from_secs(1)),
        slow: 0.1,
        seed: seed::rng().u64(..),
        nats: Some(NatsTarget::new(nats.url())),
        ..Plan::at(&[proxy.address()])
    })
    .expect("a run");
    more_deliveries(&run, 2_000).await;
    for server in &mut servers {
        assert_eq!(server.end("TERM").await, Some(0));
        more_deliveries(&run, 500).await;
        server.run().await;
        more_deliveries(&run, 500).await;
    }
    let report = sound(run).await;
    let announced = report.tally.gaps.count + report.tally.resets.count;
    assert_eq!(announced, 0, "{report}");
    assert_eq!(report.progress.unknown, 0, "{report}");
}
