//! Replicas that are replaced one after the other, under load: nobody loses or doubles anything.

use crate::nats_server::{NatsServer, Version};
use crate::program::Program;
use crate::replica::within;
use crate::seed;
use std::net::SocketAddr;
use std::time::Duration;
use tidings::verify::{NatsTarget, Plan, Progress, Report, Run};

const READERS: u32 = 60;

on_both!(a_rolling_restart_of_three_replicas_loses_and_doubles_nothing);

/// A server in a process of its own that can be replaced.
pub(crate) struct Server {
    program: Option<Program>,
    pub(crate) address: SocketAddr,
    arguments: Vec<String>,
}

impl Server {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let mut server = Self {
            program: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            arguments: arguments.iter().map(|&one| one.to_owned()).collect(),
        };
        server.run().await;
        server
    }

    /// Starts it (again) on the port that it had; returns once it follows its log.
    pub(crate) async fn run(&mut self) {
        let listen = self.address.to_string();
        let mut all = vec!["--listen", &listen, "--retry", "50"];
        all.extend(self.arguments.iter().map(String::as_str));
        let mut program = Program::start(&all);
        self.address = program.address().await;
        while !program.complaint().await.contains("following the log") {}
        self.program = Some(program);
    }

    /// Ends it with a signal; returns its exit code.
    pub(crate) async fn end(&mut self, signal: &str) -> Option<i32> {
        let program = self.program.take().expect("it runs");
        program.signal(signal).await;
        program.end().await.code()
    }

    pub(crate) fn id(&self) -> u32 {
        self.program.as_ref().expect("it runs").id()
    }
}

pub(crate) fn plan(servers: &[Server]) -> Plan {
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    Plan {
        readers: READERS,
        rate: 300.0,
        cut: Some(Duration::from_secs(1)),
        slow: 0.1,
        seed: seed::rng().u64(..),
        ..Plan::at(&addresses)
    }
}

pub(crate) async fn more_deliveries(run: &Run, count: u64) {
    let before = run.progress().deliveries;
    let goes_on = |now: &Progress| now.deliveries >= before + count;
    within("more deliveries", run.wait_for(goes_on)).await;
}

pub(crate) async fn sound(run: Run) -> Report {
    let report = within("the report", run.finish()).await;
    assert!(report.is_sound(), "{report}");
    report
}

async fn a_rolling_restart_of_three_replicas_loses_and_doubles_nothing(version: Version) {
    let nats = NatsServer::start(version);
    let url = nats.url();
    let arguments = ["--nats", &url, "--drain", "2", "--window-events", "500"];
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Server::start(&arguments).await);
    }
    let run = Run::start(Plan {
        nats: Some(NatsTarget::new(nats.url())),
        ..plan(&servers)
    })
    .expect("a run");
    more_deliveries(&run, 2_000).await;
    for server in &mut servers {
        assert_eq!(server.end("TERM").await, Some(0));
        more_deliveries(&run, 1_000).await;
        server.run().await;
        more_deliveries(&run, 1_000).await;
    }
    let report = sound(run).await;
    assert_eq!(
        report.tally.gaps.count + report.tally.resets.count,
        0,
        "{report}"
    );
    assert_eq!(report.progress.unknown, 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_its_log_on_disk_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("text");
    let mut servers = [Server::start(&["--data", data, "--window-events", "100"]).await];
    let run = Run::start(plan(&servers)).expect("a run");
    for signal in ["KILL", "TERM", "KILL", "INT", "KILL"] {
        more_deliveries(&run, 2_000).await;
        servers[0].end(signal).await;
        servers[0].run().await;
    }
    more_deliveries(&run, 2_000).await;
    let report = sound(run).await;
    assert_eq!(
        report.tally.gaps.count + report.tally.resets.count,
        0,
        "{report}"
    );
    assert_eq!(report.progress.unknown, 0, "{report}");
}
