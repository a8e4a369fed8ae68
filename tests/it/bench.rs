//! `tidings bench` accounts for every delivery.

use crate::program::{Ended, Program};
use crate::replica::Replica;
use serde_json::{Value, json};

async fn bench(replica: &Replica, arguments: &[&str]) -> Value {
    let ended = run(replica, arguments).await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    serde_json::from_str(&ended.out).expect("JSON")
}

/// The same where something is to go wrong.
async fn bad(replica: &Replica, arguments: &[&str]) -> Value {
    let ended = run(replica, arguments).await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    serde_json::from_str(&ended.out).expect("JSON")
}

async fn run(replica: &Replica, arguments: &[&str]) -> Ended {
    let url = replica.url("");
    let common = ["bench", "--json", "--rest=0.1", "--url", &url];
    Program::run(&[&common[..], arguments].concat(), b"").await
}

fn check(report: &Value, deliveries: u64) {
    let counted = &report["deliveries"];
    assert_eq!(counted["expected"], json!(deliveries), "{report:#}");
    assert_eq!(counted["received"], json!(deliveries), "{report:#}");
    for wrong in ["lost", "duplicates", "out_of_order", "strays"] {
        assert_eq!(counted[wrong], json!(0), "{wrong}: {report:#}");
    }
    assert_eq!(report["connect"]["failed"], json!(0));
    assert_eq!(report["publish"]["failed"], json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_delivery_is_counted_and_none_is_lost() {
    let replica = Replica::start(&[]).await;
    let arguments = ["--readers=40", "--events=50", "--rate=500", "--threads=2"];
    let report = bench(&replica, &arguments).await;
    check(&report, 40 * 50);
    assert_eq!(report["publish"]["acknowledged"], json!(50));
    assert!(
        report["delay_ms"]["p99"]
            .as_f64()
            .is_some_and(|ms| ms > 0.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_over_http_2_are_counted_alike() {
    let replica = Replica::start(&[]).await;
    for streams in ["1", "7"] {
        let arguments = [
            "--http2",
            "--streams-per-connection",
            streams,
            "--readers=40",
            "--events=50",
            "--rate=500",
            "--threads=2",
        ];
        let report = bench(&replica, &arguments).await;
        check(&report, 40 * 50);
        assert_eq!(report["connect"]["open"], json!(40));
        assert_eq!(report["connect"]["closed"], json!(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_never_read_are_there_and_count_for_nothing() {
    let replica = Replica::start(&["--stall-timeout", "1"]).await;
    // All of this is more than a socket takes that is not read.
    let arguments = ["--readers=5", "--stalled=3", "--events=600", "--rate=200"];
    let arguments = [&arguments[..], &["--payload=4096"]].concat();
    let report = bench(&replica, &arguments).await;
    check(&report, 5 * 600);
    let metrics = crate::call::get(&replica, "/metrics", &[]).await.text;
    assert!(metrics.contains("\ntidings_stalled_total 3\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_end_their_requests_are_there_anew_and_count_for_nothing() {
    let replica = Replica::start(&["--head-timeout", "1"]).await;
    let arguments = [
        "--readers=5",
        "--half-open=20",
        "--events=600",
        "--rate=200",
    ];
    let report = bench(&replica, &arguments).await;
    check(&report, 5 * 600);
    let metrics = crate::connections::metrics(replica.address).await;
    assert!(metrics["tidings_http_connections_accepted_total"] > 5 + 20 + 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_publishers_reach_readers_of_patterns() {
    let replica = Replica::start(&[]).await;
    let arguments = [
        "--readers=20",
        "--feeds=100",
        "--patterns-per-reader=4",
        "--publishers=3",
        "--events=300",
    ];
    let report = bench(&replica, &arguments).await;
    let expected = report["deliveries"]["expected"].as_u64().expect("a number");
    assert!(expected > 300);
    check(&report, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_different_patterns_that_match_all_get_every_event() {
    let replica = Replica::start(&[]).await;
    let arguments = [
        "--readers=20",
        "--feeds=20",
        "--patterns-per-reader=20",
        "--match-all",
        "--events=100",
    ];
    let report = bench(&replica, &arguments).await;
    check(&report, 20 * 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_come_back_get_what_they_missed() {
    let replica = Replica::start(&[]).await;
    let report = bench(&replica, &["--readers=30", "--resume-events=20"]).await;
    check(&report, 30 * 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_come_back_over_http_2_get_what_they_missed() {
    let replica = Replica::start(&[]).await;
    let arguments = ["--http2", "--readers=30", "--resume-events=20"];
    let report = bench(&replica, &arguments).await;
    check(&report, 30 * 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_are_refused_have_failed_by_either_way() {
    let replica = Replica::start(&[]).await;
    let nowhere = replica.url("/nowhere");
    let common = ["--readers=20", "--idle", "--subscribe-url", &nowhere];
    let http2 = ["--http2", "--streams-per-connection=4"];
    for way in [&[][..], &http2] {
        let report = bad(&replica, &[&common[..], way].concat()).await;
        let connect = &report["connect"];
        assert!(connect.get("head_ms").is_none(), "{report:#}");
        assert_eq!(connect["open"], json!(0));
        assert_eq!(connect["failed"], json!(20));
        let trouble = connect["trouble"].as_str().expect("a reason");
        assert!(
            trouble.starts_with("a reader was answered with 404: there is nothing at `/nowhere`"),
            "{trouble}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_processor_time_of_a_server_are_measured() {
    let replica = Replica::start(&[]).await;
    let pid = std::process::id().to_string();
    let arguments = ["--readers=20", "--idle", "--memory-at=10", "--pid", &pid];
    let report = bench(&replica, &arguments).await;
    let points = report["memory"]["points"].as_array().expect("points");
    let readers: Vec<&Value> = points.iter().map(|point| &point["readers"]).collect();
    assert_eq!(readers, [&json!(10), &json!(20)]);
    assert!(report["cpu"]["server_us_per_connect"].is_number());
    assert!(report.get("deliveries").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_fails_and_says_why() {
    let replica = Replica::start(&["--anonymous-subscribe", "bench.>"]).await;
    let report = bad(&replica, &["--readers=1", "--events=1"]).await;
    assert_eq!(report["connect"]["failed"], json!(0));
    assert_eq!(report["publish"]["failed"], json!(1));
    assert!(report["publish"].get("ack_ms").is_none(), "{report:#}");
    let trouble = report["publish"]["trouble"].as_str().expect("a reason");
    let expected = "a publish was answered with 403: publishing to `bench.";
    assert!(trouble.starts_with(expected), "{trouble}");
    let replica = Replica::start(&["--anonymous-publish", "bench.>"]).await;
    let ended = run(&replica, &["--readers=1", "--resume-events=1"]).await;
    assert_eq!((ended.code(), ended.out.as_str()), (Some(1), ""));
    let expected = "a reader was answered with 403: reading `bench.";
    assert!(ended.err.contains(expected), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_counted_and_a_failure() {
    let (published_to, read_from) = (Replica::start(&[]).await, Replica::start(&[]).await);
    let elsewhere = read_from.url("/feeds/{feed}");
    let arguments = [
        "--readers=2",
        "--events=3",
        "--patience=0.1",
        "--subscribe-url",
        &elsewhere,
    ];
    let report = bad(&published_to, &arguments).await;
    assert_eq!(report["deliveries"]["lost"], json!(6), "{report:#}");
    assert!(report.get("delay_ms").is_none(), "{report:#}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let arguments = [
        "bench",
        "--url",
        &url,
        "--readers=1",
        "--events=1",
        "--rest=0",
    ];
    let ended = Program::run(&arguments, b"").await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.out.contains("1 failed"), "{ended:?}");
    assert!(!ended.out.contains("p50"), "{ended:?}");
}

#[tokio::test]
async fn a_server_with_tls_is_refused_by_the_url_that_was_given() {
    let ended = Program::run(&["bench", "--url", "https://localhost:1"], b"").await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let expected = "`https://localhost:1` does not begin with http://, and bench speaks no TLS";
    assert!(ended.err.contains(expected), "{ended:?}");
}

#[tokio::test]
async fn another_machine_is_left_alone_unless_one_insists() {
    let ended = Program::run(&["bench", "--url", "http://192.0.2.1"], b"").await;
    assert_eq!(ended.code(), Some(1));
    assert!(ended.err.contains("--allow-remote"), "{}", ended.err);
}
