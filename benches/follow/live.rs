//! The program as it follows what is published now.

use crate::DEADLINE;
use crate::nats;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidings");
/// How often the next events are published.
const STEP: Duration = Duration::from_millis(5);

/// The program on a NATS server, ended when dropped.
struct Replica {
    address: SocketAddr,
    child: Child,
}

impl Replica {
    fn start(url: &str) -> anyhow::Result<Self> {
        let address = nats::free_address()?;
        let child = Command::new(PROGRAM)
            .args(["--nats", url, "--listen", &address.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let replica = Self { address, child };
        nats::wait_for_http_200(address, "/readyz", DEADLINE)?;
        Ok(replica)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What following a stream of events costs.
pub(crate) struct Load {
    /// Events published a second.
    pub(crate) per_second: f64,
    /// The processor time that the program took, over the time that passed.
    pub(crate) share: f64,
}

impl Load {
    /// Publishes so many events a second, as far as NATS takes them, while the program follows and nobody reads.
    pub(crate) async fn put_on(url: &str, rate: u64, seconds: u64) -> anyhow::Result<Self> {
        let replica = Replica::start(url)?;
        let client = async_nats::connect(url).await?;
        let (began, before) = (Instant::now(), nats::cpu(replica.child.id())?);
        let mut published = 0;
        while began.elapsed() < Duration::from_secs(seconds) {
            let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
            while published < due {
                let subject = format!("feeds.bench.{}", published % 1000);
                let data = "x".repeat(64).into();
                published += 1;
                // A server drops plain publishes of which more than 10,000 wait to be stored.
                match published % 5000 {
                    0 => drop(client.request(subject, data).await?),
                    _ => client.publish(subject, data).await?,
                }
            }
            tokio::time::sleep(STEP).await;
        }
        // Stored, and so delivered but for what is on its way.
        client.request("feeds.bench.end", "x".into()).await?;
        let took = began.elapsed();
        let cpu = nats::cpu(replica.child.id())?.saturating_sub(before);
        Ok(Self {
            per_second: published as f64 / took.as_secs_f64(),
            share: cpu.as_secs_f64() / took.as_secs_f64(),
        })
    }
}

/// From a publish over NATS to a reader of the program, as `tidings bench` takes it.
pub(crate) fn delays(url: &str) -> anyhow::Result<[(&'static str, f64); 2]> {
    let replica = Replica::start(url)?;
    let bench = Command::new(PROGRAM)
        .args(["bench", "--json", "--nats", url, "--url"])
        .arg(format!("http://{}", replica.address))
        .args(["--readers=16", "--events=1000", "--rate=200"])
        .output()?;
    let report: Value = serde_json::from_slice(&bench.stdout)?;
    let ms = |pointer| report.pointer(pointer).and_then(Value::as_f64);
    let lost = report.pointer("/deliveries/lost").and_then(Value::as_u64);
    ensure!(lost == Some(0), "deliveries were lost: {report:#}");
    Ok([
        (
            "publish over NATS to reader, p50",
            ms("/delay_ms/p50").context("p50")?,
        ),
        (
            "publish over NATS to reader, p99",
            ms("/delay_ms/p99").context("p99")?,
        ),
    ])
}
