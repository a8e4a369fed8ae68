//! `tidings verify` finds what was lost, doubled, altered or out of order, and nothing where all is well.

mod lying_proxy;

use crate::auth::guarded;
use crate::nats_server::{NatsServer, Version};
use crate::program::{Ended, Program};
use crate::replica::{Replica, within};
use crate::seed;
use lying_proxy::{Lie, LyingProxy};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tidings::verify::{NatsTarget, Plan, Progress, Report, Run};

on_both!(
    two_replicas_on_one_stream_are_sound,
    a_replica_on_nats_that_is_killed_and_comes_back_loses_nothing,
);

/// A plan with much coming and going.
fn plan(addresses: &[SocketAddr]) -> Plan {
    Plan {
        readers: 40,
        rate: 500.0,
        cut: Some(Duration::from_millis(300)),
        slow: 0.2,
        settle: Duration::from_secs(20),
        seed: seed::rng().u64(..),
        ..Plan::at(addresses)
    }
}

fn start(plan: Plan) -> Run {
    Run::start(plan).expect("a run")
}

async fn until(run: &Run, what: &str, is_so: impl FnMut(&Progress) -> bool) {
    within(what, run.wait_for(is_so)).await;
}

async fn finish(run: Run) -> Report {
    let report = within("the report", run.finish()).await;
    assert!(report.is_sound(), "{report}");
    assert!(report.progress.deliveries >= report.progress.acknowledged);
    report
}

/// On this NATS server, with a stream for which every disk has room.
fn on(url: &str) -> [&str; 4] {
    ["--nats", url, "--nats-max-bytes", "100000000"]
}

/// A server in a process of its own, to be killed.
async fn server(address: &str, arguments: &[&str]) -> (Program, SocketAddr) {
    let listen = ["--listen", address, "--retry", "50"];
    let mut server = Program::start(&[&listen[..], arguments].concat());
    let address = server.address().await;
    (server, address)
}

async fn kill(server: Program) {
    server.signal("KILL").await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_a_log_in_memory_is_sound() {
    let replica = Replica::start(&[]).await;
    let run = start(plan(&[replica.address]));
    // Whoever is told where he begins only when all was published hears nothing.
    let is_much = |now: &Progress| now.deliveries >= 3_000 && now.cuts >= 50 && now.heard == 40;
    until(&run, "3,000 deliveries", is_much).await;
    let report = finish(run).await;
    assert_eq!(report.tally.gaps.count + report.tally.resets.count, 0);
    assert_eq!((report.progress.begun, report.progress.heard), (40, 40));
}

async fn two_replicas_on_one_stream_are_sound(version: Version) {
    let nats = NatsServer::start(version);
    let url = nats.url();
    let arguments = [&on(&url)[..], &["--window-events", "100"]].concat();
    let one = Replica::start(&arguments).await;
    let other = Replica::start(&[&arguments[..], &["--shards", "0"]].concat()).await;
    let run = start(Plan {
        nats: Some(NatsTarget::new(nats.url())),
        ..plan(&[one.address, other.address])
    });
    let is_much = |now: &Progress| now.deliveries >= 3_000 && now.cuts >= 50;
    until(&run, "3,000 deliveries", is_much).await;
    let report = finish(run).await;
    assert_eq!(report.tally.gaps.count + report.tally.resets.count, 0);
}

/// With the process goes its log: that is announced, and what is published then is due again.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_killed_with_its_log_announces_that_as_a_reset() {
    let (first, address) = server("127.0.0.1:0", &[]).await;
    let run = start(plan(&[address]));
    let all_have_heard = |now: &Progress| now.heard == 40 && now.deliveries >= 1_000;
    until(&run, "all readers to hear something", all_have_heard).await;
    kill(first).await;
    let (second, _) = server(&address.to_string(), &[]).await;
    until(&run, "all readers to be reset", |now| now.resets >= 40).await;
    let before = run.progress().deliveries;
    let goes_on = |now: &Progress| now.deliveries >= before + 1_000;
    until(&run, "1,000 more deliveries", goes_on).await;
    let report = finish(run).await;
    assert!(report.tally.resets.count >= 40, "{report}");
    kill(second).await;
}

async fn a_replica_on_nats_that_is_killed_and_comes_back_loses_nothing(version: Version) {
    let nats = NatsServer::start(version);
    let url = nats.url();
    let arguments = on(&url);
    let stays = Replica::start(&arguments).await;
    let (first, address) = server("127.0.0.1:0", &arguments).await;
    let run = start(plan(&[address, stays.address]));
    until(&run, "1,000 deliveries", |now| now.deliveries >= 1_000).await;
    kill(first).await;
    until(&run, "readers to come back", |now| now.failures >= 10).await;
    let (second, _) = server(&address.to_string(), &arguments).await;
    let before = run.progress().deliveries;
    let goes_on = |now: &Progress| now.deliveries >= before + 1_000;
    until(&run, "1,000 more deliveries", goes_on).await;
    let report = finish(run).await;
    assert_eq!(report.tally.resets.count, 0, "{report}");
    kill(second).await;
}

/// Readers stay away for longer than events are kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_forgets_announces_it_as_gaps() {
    let arguments = [
        "--retry",
        "300",
        "--memory-events",
        "20",
        "--window-events",
        "20",
    ];
    let replica = Replica::start(&arguments).await;
    let run = start(plan(&[replica.address]));
    let is_much = |now: &Progress| now.gaps >= 50 && now.deliveries >= 1_000;
    until(&run, "50 gaps", is_much).await;
    let report = finish(run).await;
    let gaps = &report.tally.gaps;
    assert!(gaps.count >= 50 && gaps.events > gaps.count, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_can_not_connect_are_told_of() {
    let replica = Replica::start(&[]).await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let run = start(Plan {
        readers: 6,
        cut: None,
        settle: Duration::from_millis(500),
        ..plan(&[replica.address, address])
    });
    until(&run, "events", |now| now.acknowledged >= 20).await;
    let report = finish(run).await;
    assert_eq!(report.unreached.count, 0, "they go to the other: {report}");
    let run = start(Plan {
        patience: Duration::ZERO,
        ..plan(&[address])
    });
    until(&run, "failures", |now| {
        now.failures >= 40 && now.unknown >= 1
    })
    .await;
    let report = within("the report", run.finish()).await;
    assert!(!report.is_sound(), "{report}");
    assert_eq!((report.silent_faults(), report.unreached.count), (0, 40));
    assert!(
        report.to_string().contains("Connection refused"),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn why_readers_are_refused_for_good_is_told_at_once() {
    let guarded = guarded(&["--anonymous-publish=>"]).await;
    let secret = Replica::with_tls(&[]).await;
    let open = Replica::start(&[]).await;
    let elsewhere = format!("{}/elsewhere", open.url(""));
    for (url, expected) in [
        (guarded.url(""), "401 Unauthorized: reading `verify."),
        (secret.url(""), "that is not trusted here; --ca names one"),
        (elsewhere, "404 Not Found"),
    ] {
        // Two of them, and for a time that this test has not.
        let all = format!("{url},{url}/");
        let ended = Program::run(&["verify", "--for=1h", "--url", &all], b"").await;
        assert_eq!((ended.code(), &*ended.out), (Some(1), ""), "{ended:?}");
        let last = ended.err.lines().last().expect("a line");
        let shown = format!("tidings: {url}: ");
        assert!(
            last.starts_with(&shown) && last.contains(expected),
            "{ended:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_reader_was_without_a_connection_is_told_without_an_id_that_there_is_not() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let arguments = [
        "verify",
        "--url",
        &url,
        "--readers=1",
        "--for=0",
        "--settle=0",
    ];
    let ended = Program::run(&arguments, b"").await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let expected = "\n  reader 0: without a connection at the end";
    assert!(ended.out.contains(expected), "{ended:?}");
}

/// Runs the program through a proxy that lies.
async fn verify(lie: Lie, form: &str, arguments: &[&str]) -> (Ended, String) {
    let replica = Replica::start(&[]).await;
    let proxy = LyingProxy::start(replica.address, lie, 20).await;
    let url = format!("http://{}", proxy.address);
    let common = [
        "verify",
        "--url",
        &url,
        "--readers",
        "4",
        "--events",
        "40",
        "--rate",
        "200",
        "--cut",
        "0",
        "--slow",
        "0",
        // What was dropped is waited for.
        "--settle",
        "5",
        "--form",
        form,
    ];
    let ended = Program::run(&[&common[..], arguments].concat(), b"").await;
    (ended, proxy.id())
}

async fn finds(lie: Lie, kind: &str) -> Value {
    let (ended, id) = verify(lie, "sse,sse-envelope", &["--json"]).await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).expect("JSON");
    for name in ["lost", "duplicates", "disordered", "strays", "altered"] {
        let expected = json!(u8::from(name == kind));
        assert_eq!(report[name]["count"], expected, "{name}: {report:#}");
    }
    assert_eq!(report[kind]["examples"][0]["id"], json!(id), "{report:#}");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_dropped_is_found() {
    let report = finds(Lie::Drop, "lost").await;
    assert_eq!(report["silent_gaps"], json!(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_doubled_is_found() {
    finds(Lie::Double, "duplicates").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_behind_the_next_is_found() {
    finds(Lie::Swap, "disordered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_altered_is_found() {
    finds(Lie::Alter, "altered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_is_announced_is_none_of_these() {
    let (ended, _) = verify(Lie::Announce, "sse,sse-envelope", &["--json"]).await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(report["gaps"]["count"], json!(1), "{report:#}");
    assert_eq!(report["gaps"]["events"], json!(1), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_names_the_seed_and_what_was_lost() {
    let (ended, id) = verify(Lie::Drop, "sse", &["--seed", "7"]).await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.err.contains("with seed 7"), "{}", ended.err);
    assert!(ended.out.contains("\nlost: 1\n"), "{}", ended.out);
    assert!(
        ended.out.contains(&format!(", {id} after ")),
        "{}",
        ended.out
    );
    assert!(
        ended.out.ends_with("NOT SOUND: 1 silent faults\n"),
        "{}",
        ended.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_server_is_said_to_be_so() {
    let replica = Replica::start(&[]).await;
    let url = replica.url("");
    let arguments = ["verify", "--url", &url, "--events", "50", "--json"];
    let ended = Program::run(&arguments, b"").await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).expect("JSON");
    // With a last one on each feed.
    assert_eq!(report["progress"]["acknowledged"], json!(59), "{report:#}");
    assert_eq!(report["readers"], json!(50));
    assert_eq!(report["unreached"]["count"], json!(0));
    assert!(report["seed"].is_u64() && report["feeds"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_the_publishing_and_the_report_comes_all_the_same() {
    let replica = Replica::start(&[]).await;
    let url = replica.url("");
    let program = Program::start(&["verify", "--url", &url, "--for", "1h"]);
    while replica.hub().head() < 20 {
        tokio::task::yield_now().await;
    }
    program.signal("INT").await;
    let ended = program.end().await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.out.contains("\nsound: "), "{}", ended.out);
}

#[tokio::test]
async fn wrong_settings_end_it_with_2_and_are_said() {
    for (arguments, expected) in [
        (["--readers", "0"], "at least one"),
        (["--rate", "0"], "more than 0"),
        (["--slow", "2"], "from 0 to 1"),
        (["--form", "sse,json"], "sse, sse-envelope, ndjson or poll"),
        (["--prefix", "a..b"], "empty token"),
        (["--readers", "4000000000"], "are kept account of"),
        (["--padding", "1000000"], "at most"),
        (["--for", "1y"], "as in 90"),
        (["--url", "h:1"], "begins with http://"),
        (["--header", "nonsense"], "Name: value"),
        (["--nats-subject", "a"], "--nats"),
    ] {
        let ended = Program::run(&[&["verify"][..], &arguments].concat(), b"").await;
        assert_eq!(ended.code(), Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(expected), "{arguments:?}: {}", ended.err);
    }
}
