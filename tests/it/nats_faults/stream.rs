//! What becomes of the stream itself: it is deleted, purged, and overtakes those who come back late.

use super::*;
use crate::nats_server::Version;
use serde_json::{Value, json};

on_both!(
    a_stream_that_is_deleted_has_every_reader_reset,
    a_stream_that_is_purged_is_told_as_gaps,
    a_stream_that_forgets_is_told_as_gaps,
);

/// What JetStream answers to a request about the stream.
pub(super) async fn api(nats: &NatsServer, request: &str, body: Value) -> Value {
    let client = nats.client().await;
    let body = body.to_string().into();
    let asked = client.request(format!("$JS.API.STREAM.{request}.TIDINGS"), body);
    let answer: Value = serde_json::from_slice(&asked.await.unwrap().payload).unwrap();
    assert_eq!(answer.get("error"), None, "{answer}");
    answer
}

/// Replicas with windows so small that who comes back late is told what the stream says, and readers who do.
async fn replicas_of_little_memory(nats: &NatsServer) -> [Replica; 2] {
    let url = nats.url();
    let arguments = ["--nats", &url, "--window-events", "10", "--retry", "300"];
    [
        Replica::start(&arguments).await,
        Replica::start(&arguments).await,
    ]
}

async fn a_stream_that_is_deleted_has_every_reader_reset(version: Version) {
    let nats = NatsServer::start(version);
    let replicas = two_replicas(&nats).await;
    let run = begin(plan(&replicas, &nats)).await;
    api(&nats, "DELETE", json!({})).await;
    until(&run, "all to be reset", |now| now.resets >= READERS).await;
    all_live(&replicas).await;
    goes_on(&run).await;
    let report = finish(run).await;
    assert_eq!(report.tally.gaps.count, 0, "{report}");
}

async fn a_stream_that_is_purged_is_told_as_gaps(version: Version) {
    let nats = NatsServer::start(version);
    let replicas = replicas_of_little_memory(&nats).await;
    let run = begin(plan(&replicas, &nats)).await;
    while run.progress().gaps < 20 {
        api(&nats, "PURGE", json!({})).await;
        goes_on(&run).await;
    }
    let report = finish(run).await;
    let gaps = &report.tally.gaps;
    assert!(
        gaps.events > 0 && report.tally.resets.count == 0,
        "{report}"
    );
}

async fn a_stream_that_forgets_is_told_as_gaps(version: Version) {
    let nats = NatsServer::start(version);
    let replicas = replicas_of_little_memory(&nats).await;
    let run = begin(plan(&replicas, &nats)).await;
    assert_eq!(run.progress().gaps, 0);
    let mut config = api(&nats, "INFO", json!({})).await["config"].take();
    config["max_msgs"] = json!(30);
    api(&nats, "UPDATE", config).await;
    until(&run, "20 gaps", |now| now.gaps >= 20).await;
    goes_on(&run).await;
    let report = finish(run).await;
    let gaps = &report.tally.gaps;
    assert!(
        gaps.events > 0 && report.tally.resets.count == 0,
        "{report}"
    );
}
