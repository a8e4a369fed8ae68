//! Tidings beside others, and beside the floor: the cost of the `write` calls alone.
//!
//!     cargo bench --bench compare -- --case all [--rounds N] [--server NAME,...] [--output FILE]
//!
//! Every case runs against one server after the other, each started for it alone, and all of that again for
//! each round, so that what else the machine does falls on all of them. The result is a table in Markdown
//! with the medians. nchan takes part where nginx has it (Debian: nginx and libnginx-mod-nchan).
//!
//! A measurement takes some 15 seconds. All cases are 35 of them a round with three servers, which is 9 minutes
//! and so half an hour for three rounds: `--case` with some of their names, as `--case 1000x20,15000x4`, is quicker.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program for the shell

mod cases;
mod floor;
mod servers;
mod table;

use anyhow::{Context, ensure};
use cases::{CASES, Case};
use clap::Parser;
use serde_json::Value;
use servers::{Kind, Server};
use std::collections::HashMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use table::Table;

/// How long one measurement may take. Reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(150);
/// Open files of a server with the largest case's readers.
const FILES: u64 = 19_000;

#[derive(Parser)]
struct Arguments {
    /// Runs of each case with each server; the table has the medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What to measure, several with commas, `all` for everything. Without it, the cases are listed.
    #[arg(long = "case", value_name = "NAME", value_delimiter = ',')]
    cases: Vec<String>,
    /// Only these servers, with commas: floor, tidings or nchan.
    #[arg(long = "server", value_name = "NAME", value_delimiter = ',')]
    servers: Vec<String>,
    /// Where to write the table, if not to standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Just be the floor, on this address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    floor: Option<SocketAddr>,
    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was measured: reports of the rounds, by case and server.
type Reports = HashMap<(&'static str, Kind), Vec<Value>>;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(address) = arguments.floor {
        return floor::serve(address);
    }
    if arguments.cases.is_empty() {
        list();
        return Ok(());
    }
    let kinds = kinds(&arguments.servers)?;
    let cases = chosen(&arguments.cases)?;
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    ensure!(
        files >= FILES,
        "a server needs {FILES} open files, and may have {files}: raise the hard limit (`ulimit -Hn {FILES}` as root)"
    );
    let mut reports = Reports::new();
    for round in 1..=arguments.rounds {
        for case in &cases {
            for &kind in kinds.iter().filter(|kind| case.runs_on(**kind)) {
                eprintln!("round {round}: {}, {}", case.name, kind.name());
                let report = measure(case, kind)
                    .with_context(|| format!("{} with {}", case.name, kind.name()))?;
                reports.entry((case.name, kind)).or_default().push(report);
            }
        }
    }
    let table = Table {
        reports: &reports,
        cases: &cases,
        kinds: &kinds,
        rounds: arguments.rounds,
    };
    match arguments.output {
        Some(file) => std::fs::write(file, table.to_string())?,
        None => print!("{table}"),
    }
    Ok(())
}

fn list() {
    println!(
        "cargo bench --bench compare -- --case all, or --case and some of these, with commas:"
    );
    for case in CASES {
        println!("  {:<11} {}", case.name, case.title);
    }
}

fn kinds(asked: &[String]) -> anyhow::Result<Vec<Kind>> {
    if asked.is_empty() {
        let all = Kind::ALL.into_iter();
        return Ok(all.filter(|kind| kind.is_installed()).collect());
    }
    let find = |name: &String| {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.with_context(|| format!("there is no server `{name}`"))?;
        ensure!(kind.is_installed(), "{name} is not installed");
        Ok(kind)
    };
    asked.iter().map(find).collect()
}

fn chosen(asked: &[String]) -> anyhow::Result<Vec<&'static Case>> {
    if asked == ["all"] {
        return Ok(CASES.iter().collect());
    }
    let find = |name: &String| {
        let case = CASES.iter().find(|case| case.name == name);
        case.with_context(|| format!("there is no case `{name}`"))
    };
    asked.iter().map(find).collect()
}

/// One case against one server, started for it alone.
fn measure(case: &Case, kind: Kind) -> anyhow::Result<Value> {
    let server = Server::start(kind)?;
    let mut bench = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .arg("bench")
        .arg("--json")
        .args(["--pid", &server.pid().to_string()])
        .args(server.templates())
        .args(case.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = bench.try_wait()? {
            break status;
        }
        if began.elapsed() > DEADLINE {
            bench.kill()?;
            bench.wait()?;
            anyhow::bail!("it was not over after {DEADLINE:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let mut json = String::new();
    let mut output = bench.stdout.take().context("its output")?;
    output.read_to_string(&mut json)?;
    // It fails too where a server has lost something, and has a report then.
    let report = serde_json::from_str(&json).with_context(|| format!("no report: {status}"))?;
    if !status.success() {
        eprintln!("  not all went well: {json}");
    }
    Ok(report)
}
