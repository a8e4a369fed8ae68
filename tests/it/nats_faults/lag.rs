//! Replicas that lag: one that NATS keeps waiting, and one that does not run for a while.

use super::stream::api;
use super::*;
use crate::lagging::delivery_proxy::DeliveryProxy;
use crate::moves::{EVENTS, publish_all};
use crate::nats_server::Version;
use crate::program::Program;
use serde_json::json;

on_both!(
    readers_who_move_between_a_replica_that_lags_and_one_that_does_not_miss_nothing,
    a_replica_that_was_frozen_while_much_was_published_has_lost_nothing,
    a_replica_that_nats_has_cut_off_as_too_slow_has_lost_nothing,
    a_replica_that_comes_back_to_a_stream_that_has_forgotten_tells_gaps,
);

/// Where JetStream keeps what it has.
const JETSTREAM: &str = "jetstream { store_dir: $STORE }";
/// Settings with which NATS soon takes a client for too slow.
const SLOW: &str = "write_deadline: \"1s\"\nmax_pending: 200000\nmax_payload: 100000";
/// After how long without a byte readers leave a replica that is frozen.
const SILENCE: Duration = Duration::from_secs(1);

async fn readers_who_move_between_a_replica_that_lags_and_one_that_does_not_miss_nothing(
    version: Version,
) {
    let nats = NatsServer::start(version);
    let proxy = DeliveryProxy::start(nats.port()).await;
    let replicas = [
        Replica::start(&["--nats", &nats.url()]).await,
        Replica::start(&["--nats", &proxy.url()]).await,
    ];
    let run = begin(plan(&replicas, &nats)).await;
    let head = |replica: &Replica| replica.hub().usage().head.sequence();
    for _ in 0..10 {
        proxy.withhold();
        goes_on(&run).await;
        let [fresh, lagging] = &replicas;
        assert!(head(lagging) < head(fresh));
        proxy.pass_on();
        goes_on(&run).await;
    }
    finish_without_a_word(run).await;
}

/// A replica in a process of its own, that is frozen while much is published.
struct Frozen {
    nats: NatsServer,
    stays: Replica,
    program: Program,
    run: Run,
}

impl Frozen {
    /// On a server with these settings beside JetStream, with readers who are so long without a byte before they
    /// leave.
    async fn start(version: Version, config: &str, silence: Duration) -> Self {
        let config = format!("{JETSTREAM}\n{config}");
        let nats = NatsServer::with(version, &config);
        let url = nats.url();
        let common = ["--nats", &url, "--nats-max-bytes", "100000000"];
        let own = ["--listen", "127.0.0.1:0", "--retry", "50"];
        let stays = Replica::start(&common).await;
        let mut program = Program::start(&[common, own].concat());
        let addresses = [stays.address, program.address().await];
        let plan = plan_at(&addresses, &nats);
        let run = begin(Plan { silence, ..plan }).await;
        program.signal("STOP").await;
        Self {
            nats,
            stays,
            program,
            run,
        }
    }

    async fn publish_much(&self) {
        let before = self.stays.hub().head();
        publish_all(&self.nats).await;
        let all = || self.stays.hub().head() >= before + EVENTS;
        until(&self.run, "the other to have all", |_| all()).await;
    }

    /// Waits until it says, after that, that it has come to the end of the log.
    async fn has_caught_up(&mut self) {
        while !self.program.complaint().await.contains("following the log") {}
    }

    /// Waits until it says that NATS has cut it off.
    async fn is_cut_off(&mut self) {
        while !self.program.complaint().await.contains("was cut") {}
    }
}

/// Flow control has NATS wait for it.
async fn a_replica_that_was_frozen_while_much_was_published_has_lost_nothing(version: Version) {
    let frozen = Frozen::start(version, "", SILENCE).await;
    frozen.publish_much().await;
    frozen.program.signal("CONT").await;
    goes_on(&frozen.run).await;
    finish_without_a_word(frozen.run).await;
}

/// NATS comes back with settings of every day: with those of before it would cut off a replica on a busy machine again and
/// again, as it holds less for a client than JetStream sends at once.
async fn a_replica_that_nats_has_cut_off_as_too_slow_has_lost_nothing(version: Version) {
    let mut frozen = Frozen::start(version, SLOW, SILENCE).await;
    frozen.publish_much().await;
    frozen.program.signal("CONT").await;
    frozen.is_cut_off().await;
    frozen.nats.stop();
    frozen.nats.configure(JETSTREAM);
    frozen.nats.run();
    frozen.has_caught_up().await;
    goes_on(&frozen.run).await;
    finish_without_a_word(frozen.run).await;
}

/// Its readers stay, and have been overtaken with it.
async fn a_replica_that_comes_back_to_a_stream_that_has_forgotten_tells_gaps(version: Version) {
    let frozen = Frozen::start(version, "", Duration::from_secs(60)).await;
    let mut config = api(&frozen.nats, "INFO", json!({})).await["config"].take();
    config["max_msgs"] = json!(100);
    api(&frozen.nats, "UPDATE", config).await;
    frozen.publish_much().await;
    frozen.program.signal("CONT").await;
    until(&frozen.run, "a gap", |now| now.gaps > 0).await;
    goes_on(&frozen.run).await;
    let report = finish(frozen.run).await;
    let gaps = &report.tally.gaps;
    assert!(
        gaps.events > 0 && report.tally.resets.count == 0,
        "{report}"
    );
}
