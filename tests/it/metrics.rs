//! What can be counted on: the two text forms, their conventions, and what is counted.

mod counts;
mod stated;

use crate::auth::{bearer, token};
use crate::call::get;
use crate::nats_server::{NatsServer, Version};
use crate::raw::Raw;
use crate::replica::{Replica, within};
use crate::sse::Stream;
use serde_json::json;
use std::collections::BTreeSet;
use std::process::Stdio;
use tidings::version::{COMMIT, VERSION};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const OPEN: [(&str, &str); 1] = [("accept", "application/openmetrics-text")];

/// The metrics in the older form, as operators see them.
async fn metrics(replica: &Replica) -> String {
    let shown = bearer(&token(&json!({"tidings": {"admin": true}})));
    let answer = get(replica, "/metrics", &[("authorization", &shown)]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text
}

/// The sum of a metric's samples whose labels hold all of these; nothing of it is 0.
fn sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let is_wanted = |sample: &str| {
        let (family, given) = sample.split_once('{').unwrap_or((sample, ""));
        family == name && labels.iter().all(|label| given.contains(label))
    };
    let wanted = samples.filter(|(sample, _)| is_wanted(sample));
    wanted
        .map(|(_, value)| value.parse::<f64>().expect("a number"))
        .sum()
}

async fn value(replica: &Replica, name: &str, labels: &[&str]) -> f64 {
    sum(&metrics(replica).await, name, labels)
}

/// Waits until a metric has a value.
async fn comes_to(replica: &Replica, name: &str, labels: &[&str], wanted: f64) {
    within(&format!("{name}{labels:?} to be {wanted}"), async {
        while value(replica, name, labels).await != wanted {}
    })
    .await;
}

/// The names of the families that a text declares.
fn families(text: &str) -> BTreeSet<&str> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|rest| rest.split(' ').next()).collect()
}

#[tokio::test]
async fn the_form_is_the_one_that_is_asked_for() {
    let replica = Replica::start(&[]).await;
    let plain = get(&replica, "/metrics", &[]).await;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(plain.header("content-type"), Some(kind));
    assert!(plain.text.contains("\n# TYPE tidings_gaps_total counter\n"));
    assert!(!plain.text.contains("# EOF") && !plain.text.contains("# UNIT"));
    let open = get(&replica, "/metrics", &OPEN).await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), Some(kind));
    assert!(open.text.contains("\n# TYPE tidings_gaps counter\n"));
    assert!(open.text.ends_with("\n# EOF\n"));
    let build = format!("tidings_build_info{{version=\"{VERSION}\",commit=\"{COMMIT}\"}} 1");
    assert!(plain.text.contains(&build) && open.text.contains(&build));
    assert!(plain.text.contains("# TYPE tidings_build_info gauge\n"));
}

/// What `promtool check metrics` has to say.
async fn findings(text: &str) -> String {
    let mut promtool = Command::new(crate::tools::program("TIDINGS_TEST_PROMTOOL"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("promtool");
    let mut stdin = promtool.stdin.take().expect("piped");
    stdin.write_all(text.as_bytes()).await.expect("it reads");
    drop(stdin);
    let output = within("promtool", promtool.wait_with_output()).await;
    let output = output.expect("its output");
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8(told).expect("text");
    assert_eq!(output.status.success(), told.is_empty(), "{told}");
    told
}

#[tokio::test]
async fn promtool_finds_something_in_what_breaks_the_conventions() {
    let found = findings("# TYPE a_ms counter\na_ms 1\n").await;
    assert!(found.contains("a_ms"), "{found}");
}

/// All metrics: of a server on each kind of log, which have met what makes families appear.
async fn all() -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    let server = NatsServer::start(Version::V2_15);
    let nats = server.url();
    let mut all = Vec::new();
    for log in [&[][..], &["--data", path], &["--nats", &nats]] {
        let replica = counts::open(log).await;
        counts::provoke(&replica).await;
        all.push(metrics(&replica).await);
    }
    let replica = Replica::with_tls(&[]).await;
    let plaintext = Raw::get(&replica, "/").await.head().await;
    assert!(plaintext.status.contains("400"), "{}", plaintext.status);
    all.push(metrics(&replica).await);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_and_each_metric_is_documented_and_none_beside() {
    let all = all().await;
    for text in &all {
        assert_eq!(findings(text).await, "");
    }
    let known: BTreeSet<&str> = all.iter().flat_map(|text| families(text)).collect();
    let table = include_str!("../../docs/metrics.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let unique: BTreeSet<&str> = documented.iter().copied().collect();
    assert_eq!(unique.len(), documented.len(), "a metric is there twice");
    let missing: Vec<_> = known.difference(&unique).collect();
    // Older kernels do not tell it.
    let told = |name: &&&str| **name != "process_open_fds";
    let beside: Vec<_> = unique.difference(&known).filter(told).collect();
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
    assert!(beside.is_empty(), "only in docs/metrics.md: {beside:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_as_many_lines_whatever_is_read_and_published() {
    let replica = counts::open(&[]).await;
    counts::provoke(&replica).await;
    let mut streams = Vec::new();
    let mut lines = Vec::new();
    // The first round is what lines appear with that are there once something has happened.
    for round in [0..1, 1..50] {
        for n in round {
            let (stream, _) = Stream::open(&replica, &format!("/feeds/a.{n}.*?last=1")).await;
            streams.push(stream);
            replica.publish(&format!("a.{n}.b"), "x").await;
            let path = format!("/no/such/path/{n}");
            assert_eq!(get(&replica, &path, &[]).await.status, 404);
        }
        lines.push(metrics(&replica).await.lines().count());
    }
    assert_eq!(lines[0], lines[1]);
}
