//! `tidings verify`: see [`crate::verify`].

use super::bench::make_room_for;
use super::remote::{Credential, Remote, Trust, is_for_good, parse_url, refusal};
use crate::config::number::{bytes, count, decimal, whole};
use crate::verify::{Form, NatsTarget, Plan, Progress, Run, StartError};
use clap::Args;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::Url;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

/// How long a replica may take to say that it will never have a reader.
const ASKED: Duration = Duration::from_secs(5);
/// How often the line on a terminal is written, and how often one where there is no terminal.
const ON_TERMINAL: Duration = Duration::from_millis(250);
const ELSEWHERE: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  tidings verify                                       a server on this machine, for 10 s
  tidings verify --url http://10.0.0.1:8080 --url http://10.0.0.2:8080 --for 10m
  tidings verify --url https://events.example.com --token-file token --ca ca.pem
  tidings verify --nats nats://127.0.0.1:4222 --readers 500 --rate 1000 --for 1h

Kill replicas, NATS and the network while it runs: that is what it is for. Its feeds are `verify.<run>.…`, with \
another <run> each time. A server that says what everyone may do needs \
--anonymous-publish 'verify.>' --anonymous-subscribe 'verify.>' for it. SIGINT (Ctrl-C) ends the publishing \
early, and a second one the program, with 130.

Exit codes:
  0  every reader had every event that it was due, once, unaltered and in order, or was told of a gap or a reset
  1  something was lost, doubled, altered or out of order without a word; or nothing was acknowledged, or a \
reader was without a connection at the end (the report says which); or no replica will ever have a reader
  2  the settings are wrong";

/// See [`super::Command::Verify`].
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Verify {
    /// A replica, and the path below which it is mounted if there is one; several times, or with commas.
    #[arg(long, value_name = "URL", value_delimiter = ',', default_value = "http://127.0.0.1:8080", value_parser = parse_url)]
    url: Vec<Url>,
    /// Have every other publisher publish through this NATS server's JetStream; the others publish over HTTP.
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// The subject published to on NATS: {feed} stands for the feed.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "feeds.{feed}",
        requires = "nats"
    )]
    nats_subject: String,
    /// A header line of every request; may be given several times.
    #[arg(long, value_name = "NAME: VALUE", value_parser = parse_header)]
    header: Vec<(HeaderName, HeaderValue)>,
    #[command(flatten)]
    credential: Credential,
    #[command(flatten)]
    trust: Trust,

    /// Readers: in turn of one feed, of a wildcard `*`, of `>`, and of several patterns.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = count::<u32>(0))]
    readers: u32,
    /// Feeds, all of which every publisher publishes to.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = count::<u32>(0))]
    feeds: u32,
    /// Publishers, each of which sends one event after the other.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count::<u32>(0))]
    publishers: u32,
    /// Events a second, by all publishers together.
    #[arg(long, value_name = "N", default_value_t = 100.0, value_parser = decimal)]
    rate: f64,
    /// How long to publish, as in 90, 60s, 10m or 2h.
    #[arg(long = "for", value_name = "TIME", default_value = "10s", conflicts_with = "events", value_parser = parse_time)]
    time: Duration,
    /// How many events to publish, however long that takes.
    #[arg(long, short = 'e', value_name = "N", value_parser = whole::<u64>(1..=u64::MAX, ""))]
    events: Option<u64>,
    /// The largest padding of an event in bytes; each has another.
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = bytes::<usize>(0))]
    padding: usize,

    /// After how long a reader cuts itself off, on average, to come back mostly elsewhere; 0 for never.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_time)]
    cut: Duration,
    /// How many of the readers read slowly, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = decimal)]
    slow: f64,
    /// The forms in which readers ask, with commas: one of them by chance, each time that a reader comes back.
    #[arg(
        long,
        value_name = "FORM",
        value_delimiter = ',',
        default_value = "sse,sse-envelope,ndjson,poll"
    )]
    form: Vec<Form>,
    /// How long nothing may come at the end, until what has not come counts as lost.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_time)]
    settle: Duration,
    /// The first tokens of the feeds.
    #[arg(long, value_name = "FEED", default_value = "verify")]
    prefix: String,
    /// Where chance comes from: the same draws the same patterns, and cuts after the same times.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(0..=u64::MAX, ""))]
    seed: Option<u64>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Runs it, and prints the report.
    #[allow(clippy::print_stdout)] // it is what was asked for
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (json, time, events) = (self.json, self.time, self.events);
        let plan = self.plan()?;
        plan.check().unwrap_or_else(|error| wrong(&error));
        make_room_for(u64::from(plan.readers) + u64::from(plan.publishers))?;
        let (seed, asked) = (plan.seed, plan.clone());
        let run = match Run::start(plan) {
            Ok(run) => run,
            Err(StartError::Plan(error)) => wrong(&error),
            Err(error @ StartError::Authorities(_)) => super::wrong(&error.to_string()).exit(),
            Err(error) => return Err(error.into()),
        };
        write(&format!("verify: {} with seed {seed}\n", run.feeds()));
        ask(&asked, &run.feeds()).await?;
        publish(&run, time, events).await?;
        write("verify: waiting for what has not come yet\n");
        let report = run.finish().await;
        match json {
            true => println!("{}", serde_json::to_string_pretty(&report)?),
            false => print!("{report}"),
        }
        Ok(match report.is_sound() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    fn plan(self) -> anyhow::Result<Plan> {
        let subject = self.nats_subject;
        let defaults = Plan::new(self.url);
        let shown = self.credential.header()?;
        let shown = shown.map(|value| (AUTHORIZATION, value));
        Ok(Plan {
            nats: self.nats.map(|server| NatsTarget { server, subject }),
            headers: self.header.into_iter().chain(shown).collect::<HeaderMap>(),
            ca: self.trust.trusted,
            publishers: self.publishers,
            feeds: self.feeds,
            readers: self.readers,
            rate: self.rate,
            events: self.events,
            padding: self.padding,
            cut: Some(self.cut).filter(|cut| !cut.is_zero()),
            slow: self.slow,
            forms: self.form,
            settle: self.settle,
            prefix: self.prefix,
            seed: self.seed.unwrap_or(defaults.seed),
            ..defaults
        })
    }
}

/// Fails where no replica will ever have a reader, however often it comes back: it says no, or is not who it has to be.
async fn ask(plan: &Plan, feeds: &str) -> anyhow::Result<()> {
    let mut refused = None;
    for url in &plan.replicas {
        let trusted = plan.ca.clone();
        let remote = Remote::new(url.clone(), Credential::default(), Trust { trusted }).direct();
        let request = remote.client()?.get(remote.feeds(Some(feeds)));
        let request = request.headers(plan.headers.clone());
        let request = request.header(ACCEPT, "application/json").timeout(ASKED);
        let shown = remote.shown();
        refused = Some(match request.send().await {
            Ok(answer) if is_no(answer.status()) => format!("{shown}: {}", refusal(answer).await),
            Err(error) if is_for_good(&error) => format!("{shown}: {}", remote.cause(&error)),
            _ => return Ok(()),
        });
    }
    refused.map_or(Ok(()), |refused| Err(anyhow::Error::msg(refused)))
}

fn is_no(status: StatusCode) -> bool {
    let all = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
    ];
    all.contains(&status)
}

/// Until the time is over, all is published, or the program is told to end.
async fn publish(run: &Run, time: Duration, events: Option<u64>) -> anyhow::Result<()> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let ends = async {
        match events {
            Some(events) => {
                let settled = |progress: &Progress| progress.acknowledged + progress.unknown;
                run.wait_for(|progress| settled(progress) >= events).await;
            }
            None => sleep(time).await,
        }
    };
    tokio::select! {
        () = ends => {}
        _ = interrupts.recv() => {}
        () = show(run) => {}
    }
    tokio::spawn(async move {
        interrupts.recv().await;
        std::process::exit(130);
    });
    Ok(())
}

/// Tells how far it is, for ever.
async fn show(run: &Run) {
    let began = Instant::now();
    let is_terminal = std::io::stderr().is_terminal();
    let (period, start, end) = match is_terminal {
        true => (ON_TERMINAL, "\r\x1b[K", ""),
        false => (ELSEWHERE, "", "\n"),
    };
    let _line = Line(is_terminal);
    loop {
        sleep(period).await;
        let progress = run.progress();
        write(&format!(
            "{start}verify: {} s, {} acknowledged, {} unknown, {} deliveries, {} streams, {} gaps, {} resets{end}",
            began.elapsed().as_secs(),
            progress.acknowledged,
            progress.unknown,
            progress.deliveries,
            progress.connections,
            progress.gaps,
            progress.resets,
        ));
    }
}

/// A line on a terminal, which goes when it is done.
struct Line(bool);

impl Drop for Line {
    fn drop(&mut self) {
        if self.0 {
            write("\r\x1b[K");
        }
    }
}

fn write(text: &str) {
    // Nobody there to read it is no reason to stop.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn wrong(error: &crate::verify::InvalidPlan) -> ! {
    super::wrong(&error.to_string()).exit()
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let header = text.split_once(':').and_then(|(name, value)| {
        let name = name.trim().parse().ok()?;
        Some((name, value.trim().parse().ok()?))
    });
    header.ok_or_else(|| "it is a header line, as in `Name: value`".to_owned())
}

/// A number of seconds, or one with a unit; at most some 136 years.
pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || "it is a time, as in 90, 0.5s, 10m, 2h or 1d, up to 136 years".to_owned();
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let unit = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 24.0 * 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds =
        Some(number * unit).filter(|seconds| (0.0..=f64::from(u32::MAX)).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_unless_it_says_otherwise() {
        for (text, seconds) in [
            ("90", 90.0),
            ("0.5s", 0.5),
            ("10m", 600.0),
            ("2h", 7200.0),
            ("1d", 86400.0),
        ] {
            assert_eq!(parse_time(text), Ok(Duration::from_secs_f64(seconds)));
        }
        for text in ["", "s", "-1s", "1y", "inf", "NaN", "1 s", "1e30"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_plan() {
        use clap::Parser;
        #[derive(Parser)]
        struct Arguments {
            #[command(flatten)]
            verify: Verify,
        }
        let plan = Arguments::parse_from(["verify"]).verify.plan().unwrap();
        let seed = plan.seed;
        let mut expected = Plan::new(plan.replicas.clone());
        expected.seed = seed;
        assert_eq!(format!("{plan:?}"), format!("{expected:?}"));
    }
}
