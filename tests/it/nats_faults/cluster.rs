//! Three servers, of which one is lost at a time, and three replicas, each of which begins at another.

use super::*;
use crate::log_jetstream::cluster::{cluster, leader};
use crate::nats_server::Version;

on_both!(the_leader_and_then_a_follower_are_killed_and_come_back_and_nothing_is_lost,);

async fn the_leader_and_then_a_follower_are_killed_and_come_back_and_nothing_is_lost(
    version: Version,
) {
    let mut servers = cluster(version);
    let mut replicas = Vec::new();
    for server in &servers {
        let arguments = ["--nats", &server.url(), "--nats-replicas", "3"];
        replicas.push(Replica::start_unready(&arguments));
    }
    all_live(&replicas).await;
    let run = begin(plan(&replicas, &servers[0])).await;
    for after_the_leader in [0, 1] {
        let lost = (leader(&servers, 0).await + after_the_leader) % 3;
        servers[lost].kill();
        // Two of three go on, and take what is published.
        goes_on(&run).await;
        assert_ne!(leader(&servers, (lost + 1) % 3).await, lost);
        servers[lost].run();
        all_live(&replicas).await;
        goes_on(&run).await;
    }
    let report = finish_without_a_word(run).await;
    assert_eq!(report.progress.unknown, 0, "{report}");
}
