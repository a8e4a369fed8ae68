//! NATS fails in many ways while publishers and readers work: all that was acknowledged comes, or is told as a gap or
//! a reset, and neither is told where none is due.

mod cluster;
mod lag;
mod partition;
mod restarts;
mod stream;

use crate::nats_server::NatsServer;
use crate::outages::{degraded, live};
use crate::replica::{Replica, within};
use crate::seed;
use std::net::SocketAddr;
use std::time::Duration;
use tidings::verify::{NatsTarget, Plan, Progress, Report, Run};

const READERS: u64 = 24;

/// Publishers over HTTP and NATS, and readers who come and go.
fn plan(replicas: &[Replica], nats: &NatsServer) -> Plan {
    let addresses: Vec<_> = replicas.iter().map(|replica| replica.address).collect();
    plan_at(&addresses, nats)
}

fn plan_at(addresses: &[SocketAddr], nats: &NatsServer) -> Plan {
    Plan {
        nats: Some(NatsTarget::new(nats.url())),
        readers: READERS as u32,
        rate: 300.0,
        cut: Some(Duration::from_millis(300)),
        slow: 0.2,
        settle: Duration::from_secs(15),
        seed: seed::rng().u64(..),
        ..Plan::at(addresses)
    }
}

/// Two replicas, the second of which serves through the HTTP library, and has a small window.
async fn two_replicas(nats: &NatsServer) -> [Replica; 2] {
    let url = nats.url();
    let other = ["--nats", &url, "--shards", "0", "--window-events", "100"];
    [
        Replica::start(&["--nats", &url]).await,
        Replica::start(&other).await,
    ]
}

/// Publishers and readers at work.
async fn begin(plan: Plan) -> Run {
    let run = Run::start(plan).expect("a run");
    all_have_heard(&run).await;
    run
}

/// The id `0-0`, from which a reader of an empty log goes on, is one of every log: who has heard an event has another.
async fn all_have_heard(run: &Run) {
    until(run, "all readers to hear", |now| now.heard == READERS).await;
    goes_on(run).await;
}

async fn until(run: &Run, what: &str, is_so: impl FnMut(&Progress) -> bool) {
    within(what, run.wait_for(is_so)).await;
}

/// Waits until more was published and read.
async fn goes_on(run: &Run) {
    let before = run.progress();
    until(run, "it to go on", |now| {
        now.acknowledged >= before.acknowledged + 100 && now.deliveries >= before.deliveries + 800
    })
    .await;
}

async fn finish(run: Run) -> Report {
    let report = within("the report", run.finish()).await;
    assert!(report.is_sound(), "{report}");
    report
}

/// Ends it where no gap and no reset was due.
async fn finish_without_a_word(run: Run) -> Report {
    let report = finish(run).await;
    let told = (report.tally.gaps.count, report.tally.resets.count);
    assert_eq!(told, (0, 0), "{report}");
    report
}

async fn all_live(replicas: &[Replica]) {
    for replica in replicas {
        live(replica).await;
    }
}

/// Waits until they know that NATS is away, and sees that a publish is told so at once, and when to come back.
async fn all_refuse(replicas: &[Replica]) {
    for replica in replicas {
        degraded(replica).await;
        assert_eq!(publish(replica).await, 503);
    }
}

/// The status of a publish, which if it failed says whether and when to come back.
async fn publish(replica: &Replica) -> u16 {
    let request = reqwest::Client::new().post(replica.url("/feeds/outage"));
    let response = within("an answer", request.body("x").send()).await.unwrap();
    let status = response.status().as_u16();
    let says_when = response.headers().contains_key("retry-after");
    assert_eq!(says_when, status >= 500, "{response:?}");
    status
}
