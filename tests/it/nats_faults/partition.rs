//! The network between the replicas and NATS loses packets, without a word to either.

use super::*;
use crate::nats_server::Version;
use crate::network::{Cable, Loss, is_own};
use crate::outages::readiness;
use crate::sse::Stream;
use serde_json::json;

on_both!(
    packets_lost_both_ways_are_told_of_and_no_event_is_lost,
    packets_lost_on_the_way_there_are_told_of_and_no_event_is_lost,
    packets_lost_on_the_way_back_are_told_of_and_no_event_is_lost,
);

async fn packets_lost_both_ways_are_told_of_and_no_event_is_lost(version: Version) {
    let claim = "packets_lost_both_ways_are_told_of_and_no_event_is_lost";
    cut(version, claim, Loss::Both, Duration::ZERO).await;
}

async fn packets_lost_on_the_way_there_are_told_of_and_no_event_is_lost(version: Version) {
    let claim = "packets_lost_on_the_way_there_are_told_of_and_no_event_is_lost";
    cut(version, claim, Loss::There, Duration::ZERO).await;
}

async fn packets_lost_on_the_way_back_are_told_of_and_no_event_is_lost(version: Version) {
    let claim = "packets_lost_on_the_way_back_are_told_of_and_no_event_is_lost";
    cut(version, claim, Loss::Back, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn packets_lost_for_a_minute_lose_no_event_on_2_9() {
    if is_own(&test("packets_lost_for_a_minute_lose_no_event_on_2_9")).await {
        lose(Version::V2_9, Loss::Both, Duration::from_secs(60)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn packets_lost_for_a_minute_lose_no_event_on_2_15() {
    if is_own(&test("packets_lost_for_a_minute_lose_no_event_on_2_15")).await {
        lose(Version::V2_15, Loss::Both, Duration::from_secs(60)).await;
    }
}

/// The name of a test of this module.
fn test(claim: &str) -> String {
    let (_, module) = module_path!().split_once("::").expect("a module");
    format!("{module}::{claim}")
}

async fn cut(version: Version, claim: &str, loss: Loss, longer: Duration) {
    let name = test(&format!("{}::{claim}", version.module()));
    if is_own(&name).await {
        lose(version, loss, longer).await;
    }
}

/// Loses packets until the replicas know of it and for so much longer.
async fn lose(version: Version, loss: Loss, longer: Duration) {
    let cable = Cable::lay();
    let nats = NatsServer::beyond(&cable, version);
    let url = nats.url();
    let arguments = ["--nats", &url, "--nats-timeout", "1"];
    let replicas = [
        Replica::start(&arguments).await,
        Replica::start(&arguments).await,
    ];
    let [one, _] = &replicas;
    let (mut stream, _) = Stream::open(one, "/feeds/outage").await;
    let run = begin(plan(&replicas, &nats)).await;
    assert_eq!(publish(one).await, 201);
    assert_eq!(stream.data(1).await, ["x"]);
    let ends = run.progress().ends;
    cable.lose(loss);
    // Nobody knows yet, so that it is handed over.
    assert_eq!(publish(one).await, 504);
    nobody_connects(&nats).await;
    for replica in &replicas {
        told_of(replica).await;
    }
    tokio::time::sleep(longer).await;
    for replica in &replicas {
        told_of(replica).await;
    }
    let before = run.progress();
    cable.mend();
    all_live(&replicas).await;
    goes_on(&run).await;
    assert_eq!(before.ends, ends, "streams stay open");
    // What was handed over as the packets were lost may have arrived, and this comes after it.
    while publish(one).await != 201 {}
    assert_eq!(stream.data(1).await, ["x"]);
    let report = finish_without_a_word(run).await;
    assert_eq!(report.progress.unknown, 0, "{report}");
}

/// Packets are lost, and nothing is refused.
async fn nobody_connects(nats: &NatsServer) {
    let connect = tokio::net::TcpStream::connect((Cable::FAR, nats.port()));
    let connected = tokio::time::timeout(Duration::from_millis(500), connect).await;
    assert!(connected.is_err(), "{connected:?}");
}

/// Waits until a replica knows, and sees that it says so.
async fn told_of(replica: &Replica) {
    degraded(replica).await;
    let (status, told) = readiness(replica, "/readyz").await;
    assert_eq!((status, &told["status"]), (200, &json!("degraded")));
    let reason = told["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("no answer") || reason.contains("reached"),
        "{reason}"
    );
    assert_eq!(readiness(replica, "/readyz?strict=1").await.0, 503);
    assert_eq!(publish(replica).await, 503);
}
