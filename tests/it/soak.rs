//! Half an hour of faults, one after the other at random: nothing is lost, and nothing piles up.

use crate::nats_server::{NatsServer, Version};
use crate::replica::within;
use crate::rolling::{Server, plan};
use crate::seed::rng;
use fastrand::Rng;
use std::fs;
use std::time::{Duration, Instant};
use tidings::verify::{NatsTarget, Plan, Progress, Run};

/// How long it takes, unless `TIDINGS_TEST_SOAK` says how many minutes.
const MINUTES: u64 = 30;

/// What a process takes.
#[derive(Clone, Copy, Debug)]
struct Taken {
    files: usize,
    kib: u64,
}

impl Taken {
    fn by(process: u32) -> Self {
        let folder = fs::read_dir(format!("/proc/{process}/fd")).expect("its files");
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        Self {
            files: folder.count(),
            kib: kib.expect("its memory").parse().expect("a number"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half an hour"]
async fn half_an_hour_of_faults_loses_nothing_and_leaves_nothing_behind() {
    let minutes = std::env::var("TIDINGS_TEST_SOAK").ok();
    let minutes = minutes.map_or(MINUTES, |text| text.parse().expect("minutes"));
    let time = Duration::from_secs(60 * minutes);
    let mut random = rng();
    let mut nats = NatsServer::start(Version::V2_15);
    let url = nats.url();
    let arguments = [
        "--nats",
        &url,
        "--nats-timeout",
        "2",
        "--window-bytes",
        "4000000",
        "--drain",
        "3",
    ];
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Server::start(&arguments).await);
    }
    let before = Taken::by(servers[0].id());
    let run = Run::start(Plan {
        nats: Some(NatsTarget::new(nats.url())),
        ..plan(&servers)
    })
    .expect("a run");
    let (began, mut taken) = (Instant::now(), Vec::new());
    while began.elapsed() < time {
        fault(&mut random, &mut servers, &mut nats, &run).await;
        taken.push(Taken::by(servers[0].id()));
    }
    let report = run.finish().await;
    assert!(report.is_sound(), "{report}");
    assert_flat(&taken);
    let files_are_closed = async {
        while Taken::by(servers[0].id()).files > before.files + 2 {
            tokio::task::yield_now().await;
        }
    };
    within("all files to be closed", files_are_closed).await;
    show(&taken, &report.to_string());
}

/// Something fails, is mended, and everything goes on. The first replica is never ended.
async fn fault(random: &mut Rng, servers: &mut [Server], nats: &mut NatsServer, run: &Run) {
    let victim = random.usize(1..servers.len());
    match random.u8(..5) {
        0 => {
            servers[victim].end("KILL").await;
            more(run, |now| now.deliveries, random.u64(..5_000)).await;
            servers[victim].run().await;
        }
        1 => {
            servers[victim].end("TERM").await;
            servers[victim].run().await;
        }
        2 => {
            nats.stop();
            more(run, |now| now.repeats, random.u64(1..20)).await;
            nats.run();
        }
        3 => {
            nats.freeze();
            more(run, |now| now.repeats, random.u64(1..5)).await;
            nats.thaw();
        }
        _ => more(run, |now| now.cuts, random.u64(..200)).await,
    }
    more(run, |now| now.deliveries, 5_000).await;
}

/// Waits until something has happened so many times more.
async fn more(run: &Run, what: fn(&Progress) -> u64, count: u64) {
    let before = what(&run.progress());
    let has_come = run.wait_for(|now| what(now) >= before + count);
    // An outage that was frozen in the middle takes the publishers some time to give up.
    let patience = Duration::from_secs(180);
    let came = tokio::time::timeout(patience, has_come).await;
    came.unwrap_or_else(|_| panic!("nothing goes on: {:?}", run.progress()));
}

/// The last third takes no more than the second did, but for chance.
fn assert_flat(taken: &[Taken]) {
    let third = taken.len() / 3;
    let most = |part: &[Taken]| {
        let kib = part.iter().map(|one| one.kib).max();
        let files = part.iter().map(|one| one.files).max();
        (kib.unwrap_or_default(), files.unwrap_or_default())
    };
    let (middle, end) = (most(&taken[third..2 * third]), most(&taken[2 * third..]));
    assert!(
        end.0 <= middle.0 + middle.0 / 10 + 4096,
        "memory: {taken:?}"
    );
    assert!(end.1 <= middle.1 + 20, "open files: {taken:?}");
}

#[allow(clippy::print_stderr)] // for whom it runs half an hour
fn show(taken: &[Taken], report: &str) {
    let of = |number: usize| taken.get(number).copied();
    let (first, middle, last) = (of(0), of(taken.len() / 2), taken.last());
    eprintln!(
        "{} faults: {first:?} {middle:?} {last:?}\n{report}",
        taken.len()
    );
}
