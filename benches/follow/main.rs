//! How a replica follows JetStream, beside a bare consumer of the client library.
//!
//!     cargo bench --bench follow -- --nats-server PROGRAM [--rounds N] [--events N]
//!
//! Each round replays the same stream twice: to a loop that only counts, and to a hub that nobody listens to.
//! Then it takes the share of a core that the program needs to follow a stream of events that nobody reads, the
//! delay from a publish to a reader over a socket, and the time in which a reader gets the newest 1,000 events,
//! from the window and from JetStream.

#![allow(clippy::print_stdout)] // a program for the shell

mod live;
mod nats;

use anyhow::{Context, ensure};
use clap::Parser;
use futures::StreamExt;
use nats::NatsServer;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tidings::config::NatsSettings;
use tidings::event::{Pattern, Patterns};
use tidings::hub::{Hub, HubLimits, Signal, Start, Status, WindowLimits};
use tidings::log::{JetStreamLog, Log};
use tidings::metrics::HubCounters;

/// What the program allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long one measurement may take. Reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(120);
/// Acknowledgements awaited at a time while the stream is filled.
const IN_FLIGHT: usize = 1024;
/// Events that a reader comes back for.
const RESUMED: u64 = 1000;
const MAX_EVENT: usize = 1_000_000;

#[derive(Parser)]
struct Arguments {
    /// Runs of each measurement; the medians count.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Events in the stream.
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    /// Events a second for the program to follow, as far as NATS takes them.
    #[arg(long, default_value_t = 100_000)]
    rate: u64,
    /// For how many seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The NATS server to start. Without it, nothing is measured.
    #[arg(long, value_name = "PROGRAM")]
    nats_server: Option<PathBuf>,
    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    nats: NatsSettings,
}

/// What one replay took.
struct Replay {
    per_second: f64,
    cpu_micros: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let Some(program) = &arguments.nats_server else {
        println!("cargo bench --bench follow -- --nats-server PROGRAM");
        return Ok(());
    };
    let server = NatsServer::start(program)?;
    let url = server.url();
    let settings = Settings::try_parse_from(["follow", "--nats", &url])?.nats;
    let log = Log::JetStream(JetStreamLog::new(settings, MAX_EVENT)?);
    connected(&log).await?;
    fill(&url, arguments.events).await?;

    let (mut bare, mut hub) = (Vec::new(), Vec::new());
    // By default the client drops messages of a subscription that has 65,536 waiting.
    let options = async_nats::ConnectOptions::new().subscription_capacity(1 << 19);
    let client = options.connect(&url).await?;
    for round in 0..arguments.rounds {
        // Who comes second finds the server's caches warm: they take turns.
        for bare_now in [round % 2 == 0, round % 2 != 0] {
            if bare_now {
                let counting = count_bare(client.clone(), arguments.events);
                let replay = timed(arguments.events, counting).await;
                bare.push(replay.context("the bare consumer")?);
            } else {
                let replay = timed(arguments.events, follow(&log, arguments.events)).await;
                hub.push(replay.context("the replica")?);
            }
        }
    }
    let rate = |replays: &[Replay]| median(replays.iter().map(|replay| replay.per_second));
    let cpu = |replays: &[Replay]| median(replays.iter().map(|replay| replay.cpu_micros));
    let (window, stream) = resumes(&log, arguments.rounds, arguments.events).await?;

    println!(
        "{}, {} rounds, {} events of 64 bytes\n",
        server.version()?,
        arguments.rounds,
        arguments.events
    );
    println!("| measure | bare consumer | replica | ratio |\n| --- | ---: | ---: | ---: |");
    let row = |name: &str, one: f64, other: f64, decimals: usize| {
        println!(
            "| {name} | {one:.decimals$} | {other:.decimals$} | {:.2} |",
            other / one
        );
    };
    row(
        "events/s replayed, nobody listening",
        rate(&bare),
        rate(&hub),
        0,
    );
    row("CPU µs an event, client side", cpu(&bare), cpu(&hub), 2);
    println!("\n| measure | |\n| --- | ---: |");
    let live = live::Load::put_on(&url, arguments.rate, arguments.seconds).await?;
    println!(
        "| share of a core that the program takes to follow {:.0} events/s, nobody listening | {:.0} % |",
        live.per_second,
        live.share * 100.0
    );
    for (name, ms) in live::delays(&url)? {
        println!("| {name} | {ms:.2} ms |");
    }
    println!(
        "| the newest {RESUMED} events from the window, to a reader inside the process | {window:.2} ms |"
    );
    println!("| the same from JetStream | {stream:.2} ms |");
    Ok(())
}

/// Waits until NATS is reached and the stream made.
async fn connected(log: &Log) -> anyhow::Result<()> {
    let began = Instant::now();
    while let Err(error) = log.open().await {
        ensure!(began.elapsed() < DEADLINE, error);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn fill(url: &str, events: u64) -> anyhow::Result<()> {
    let context = async_nats::jetstream::new(async_nats::connect(url).await?);
    let publish = |number: u64| {
        let context = context.clone();
        async move {
            let subject = format!("feeds.bench.{}", number % 1000);
            let ack = context.publish(subject, "x".repeat(64).into()).await?;
            ack.await
        }
    };
    let mut acks = futures::stream::iter(0..events)
        .map(publish)
        .buffered(IN_FLIGHT);
    while let Some(ack) = acks.next().await {
        ack?;
    }
    Ok(())
}

async fn timed(
    events: u64,
    replay: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Replay> {
    let own = std::process::id();
    let (began, cpu) = (Instant::now(), nats::cpu(own)?);
    tokio::time::timeout(DEADLINE, replay).await??;
    let cpu = nats::cpu(own)?.saturating_sub(cpu);
    Ok(Replay {
        per_second: events as f64 / began.elapsed().as_secs_f64(),
        cpu_micros: cpu.as_secs_f64() * 1e6 / events as f64,
    })
}

/// The client library's own way to follow: a consumer without acknowledgements, pushed to.
async fn count_bare(client: async_nats::Client, events: u64) -> anyhow::Result<()> {
    use async_nats::jetstream::consumer::{AckPolicy, ReplayPolicy, push};
    let config = push::Config {
        deliver_subject: client.new_inbox(),
        ack_policy: AckPolicy::None,
        replay_policy: ReplayPolicy::Instant,
        flow_control: true,
        idle_heartbeat: Duration::from_secs(5),
        max_deliver: 1,
        memory_storage: true,
        ..push::Config::default()
    };
    let context = async_nats::jetstream::new(client);
    let stream = context.get_stream("TIDINGS").await?;
    let consumer = stream.create_consumer(config).await?;
    let mut messages = consumer.messages().await?;
    for _ in 0..events {
        messages.next().await.context("the consumer has ended")??;
    }
    Ok(())
}

fn hub(log: &Log, events: u64) -> anyhow::Result<Hub> {
    let limits = HubLimits {
        window: WindowLimits {
            bytes: 1 << 40,
            events: usize::try_from(events)?,
        },
        cold_bytes: 32 << 20,
        readers: 10,
    };
    Ok(Hub::new(log.clone(), limits, HubCounters::default()))
}

/// A hub whose window takes in everything.
async fn follow(log: &Log, events: u64) -> anyhow::Result<()> {
    let hub = hub(log, events)?;
    let follower = tokio::spawn(hub.clone().follow());
    hub.status()
        .wait_for(|status| *status == Status::Live)
        .await?;
    ensure!(
        hub.usage().events as u64 == events,
        "the window has {} events",
        hub.usage().events
    );
    follower.abort();
    Ok(())
}

/// In how many milliseconds a reader gets the newest events: from the window, and from the log.
async fn resumes(log: &Log, rounds: usize, events: u64) -> anyhow::Result<(f64, f64)> {
    let mut medians = [0.0; 2];
    for (median_ms, window) in medians.iter_mut().zip([events, 1]) {
        let mut took = Vec::new();
        for _ in 0..rounds {
            // A hub keeps what it has read from the log for the next who asks: each round has a new one.
            let hub = hub(log, window)?;
            let follower = tokio::spawn(hub.clone().follow());
            hub.status()
                .wait_for(|status| *status == Status::Live)
                .await?;
            took.push(resume(&hub).await?.as_secs_f64() * 1e3);
            follower.abort();
        }
        *median_ms = median(took.into_iter());
    }
    Ok((medians[0], medians[1]))
}

async fn resume(hub: &Hub) -> anyhow::Result<Duration> {
    let all: Patterns = ">".parse::<Pattern>()?.into();
    let from = hub.usage().head.sequence() - RESUMED;
    let from = hub.position_of(from, Duration::ZERO).await?;
    let from = from.context("an event to go on from")?;
    let began = Instant::now();
    let mut reader = hub.join(all, Start::After(from)).await?.reader;
    let mut received = 0;
    while received < RESUMED {
        match tokio::time::timeout(DEADLINE, reader.next()).await? {
            Signal::Events(events) => received += events.len() as u64,
            Signal::Notice(notice) => anyhow::bail!("the reader was told {notice:?}"),
        }
    }
    Ok(began.elapsed())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count => (values[(count - 1) / 2] + values[count / 2]) / 2.0,
    }
}
