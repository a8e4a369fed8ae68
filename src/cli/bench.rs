//! `tidings bench`: opens readers, publishes, and tells what came of it.
//!
//! It drives this server by default, and any other that sends Server-Sent Events by way of the templates: it
//! looks for its own mark in the bytes of a stream, and parses nothing else.

mod clock;
mod half_open;
mod http;
mod ledger;
mod mark;
mod plan;
mod probe;
mod process;
mod progress;
mod publisher;
mod report;
mod run;
mod stalled;
mod subscribers;
mod template;

use super::remote::Credential;
use crate::config::number::{bytes, count, decimal, whole};
use anyhow::{bail, ensure};
use clap::Args;
use plan::Interest;
pub(super) use process::make_room_for;
use publisher::{HttpTarget, NatsTarget};
use std::num::NonZeroU16;
use std::process::ExitCode;
use subscribers::Way;
use template::{BodyTemplate, UrlTemplate};

const EXAMPLES: &str = "\
Examples:
  tidings bench --readers 5000 --rate 20 --events 200 --pid $(pidof tidings)
  tidings bench --readers 15000 --idle --memory-at 5000,15000 --pid $(pidof tidings)
  tidings bench --subscribe-url 'http://127.0.0.1:8081/sub/{feed}' \\
                --publish-url 'http://127.0.0.1:8081/pub/{feed}'     another server

Its feeds are `bench.<run>.…`, with another <run> each time. A server that says what everyone may do needs \
--anonymous-publish 'bench.>' --anonymous-subscribe 'bench.>' for it.

Exit codes:
  0  every reader connected, every event was taken, and each came once and in order to those who asked for it
  1  a connect or a publish failed, or an event was lost, doubled, out of order or not asked for (the result is \
printed all the same); or nothing could be measured
  2  the command line is wrong";

/// What a run does.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Bench {
    /// The server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Where readers subscribe, if not at <URL>/feeds/{feed}: {feed} stands for a feed or pattern, {query} for
    /// several, as `feed=P1&feed=P2`.
    #[arg(long, value_name = "URL")]
    subscribe_url: Option<String>,
    /// A header line of a subscription; may be given several times. `Accept: text/event-stream` is sent always.
    #[arg(long, value_name = "NAME: VALUE")]
    subscribe_header: Vec<String>,
    /// Where events are posted, if not to <URL>/feeds/{feed}.
    #[arg(long, value_name = "URL")]
    publish_url: Option<String>,
    /// A header line of a publish; may be given several times.
    #[arg(long, value_name = "NAME: VALUE")]
    publish_header: Vec<String>,
    #[command(flatten)]
    credential: Credential,
    /// The body of a publish: {data} stands for the payload, {feed} for the feed.
    #[arg(long, value_name = "TEXT", default_value = "{data}")]
    publish_body: String,
    /// Publish through this NATS server's JetStream instead.
    #[arg(long, value_name = "URL", conflicts_with_all = ["publish_url", "resume_events"])]
    nats: Option<String>,
    /// The subject published to on NATS.
    #[arg(long, value_name = "TEXT", default_value = "feeds.{feed}")]
    nats_subject: String,
    /// On NATS: events without an acknowledgement at a time, for each publisher.
    #[arg(long, value_name = "N", default_value = "64", value_parser = whole::<NonZeroU16>(1..=u16::MAX.into(), ""))]
    in_flight: NonZeroU16,

    /// Readers.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1000, value_parser = whole::<u32>(0..=2_000_000, ""))]
    readers: u32,
    /// Feeds, in turn given to the readers and published to.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u32>(1..=u64::from(mark::MAX_FEEDS) - 1, ""))]
    feeds: u32,
    /// A feed for each reader.
    #[arg(long, conflicts_with_all = ["feeds", "patterns_per_reader"])]
    feed_per_reader: bool,
    /// Patterns for each reader, half of them with wildcards, for each reader others.
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = whole::<usize>(0..=u64::MAX, ""))]
    patterns_per_reader: usize,
    /// Have the patterns of each reader match every feed: each has another set, of two patterns at least.
    #[arg(long)]
    match_all: bool,
    /// Read over HTTP/2 without TLS, which the server must know from the first byte on (h2c with prior knowledge).
    /// Events are still published over HTTP/1.1, and the one reader that learns the id for --resume-events uses it too.
    #[arg(long)]
    http2: bool,
    /// With HTTP/2: readers on each connection. Servers allow some 100 to 250.
    #[arg(long, value_name = "N", default_value = "1", requires = "http2", value_parser = whole::<NonZeroU16>(1..=u16::MAX.into(), ""))]
    streams_per_connection: NonZeroU16,
    /// Beside the readers so many more that never read, over HTTP/1.1: nothing is expected of them.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "resume_events", value_parser = whole::<u32>(0..=20_000, ""))]
    stalled: u32,
    /// Beside the readers so many clients that begin a request and never end it, each followed by another when the server
    /// ends it.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "resume_events", value_parser = whole::<u32>(0..=20_000, ""))]
    half_open: u32,
    /// Connects under way at once.
    #[arg(long, value_name = "N", default_value = "256", value_parser = whole::<NonZeroU16>(1..=u16::MAX.into(), ""))]
    connect_at_once: NonZeroU16,
    /// Threads that read.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u16>(1..=64, ""))]
    threads: u16,

    /// Events, by all publishers together.
    #[arg(long, short = 'e', value_name = "N", default_value_t = 200, value_parser = whole::<u32>(1..=u64::from(mark::MAX_NUMBER) - 1, ""))]
    events: u32,
    /// Events a second, by all publishers together. Without it, as fast as they are taken.
    #[arg(long, value_name = "N", value_parser = decimal)]
    rate: Option<f64>,
    /// Stop publishing after so many seconds, whatever is left of the events.
    #[arg(long, value_name = "SECONDS", value_parser = decimal)]
    seconds: Option<f64>,
    /// Publishers, each with a connection of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u32>(1..=1024, ""))]
    publishers: u32,
    /// The size of an event's data in bytes, 33 at least.
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = bytes::<usize>(mark::MARK_BYTES as u64))]
    payload: usize,

    /// Connect only.
    #[arg(long)]
    idle: bool,
    /// Publish so many events on each feed first, and have the readers come back for them.
    #[arg(long, value_name = "N", conflicts_with_all = ["events", "idle"], value_parser = whole::<u32>(1..=999_999, ""))]
    resume_events: Option<u32>,
    /// The server's process on this machine, to measure its processor time and memory; several with commas.
    #[arg(long, value_name = "PID", value_delimiter = ',', value_parser = count::<u32>(0))]
    pid: Vec<u32>,
    /// Read the memory also when so many readers are connected.
    #[arg(long, value_name = "N", value_delimiter = ',', requires = "pid", value_parser = whole::<usize>(0..=u64::MAX, ""))]
    memory_at: Vec<usize>,
    /// How long to rest before memory is read and before the first event, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.5, value_parser = decimal)]
    rest: f64,
    /// How long to wait for events that do not come, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = decimal)]
    patience: f64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Allow a server on another machine: yours, or one whose owner knows.
    #[arg(long)]
    allow_remote: bool,
}

/// The two ends of a run.
struct Ends {
    readers: subscribers::Target,
    publishers: publisher::Target,
}

impl Bench {
    /// Runs it, and prints the result.
    #[allow(clippy::print_stdout)] // it is what was asked for
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let json = self.json;
        let runtime = tokio::runtime::Handle::current();
        let report = tokio::task::spawn_blocking(move || run::run(&self, &runtime)).await??;
        match json {
            true => println!("{}", serde_json::to_string_pretty(&report)?),
            false => print!("{report}"),
        }
        Ok(match report.is_clean() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    fn feeds(&self) -> u32 {
        match self.feed_per_reader {
            true => self.readers.max(1),
            false => self.feeds,
        }
    }

    fn interest(&self) -> Interest {
        match self.patterns_per_reader {
            0 => Interest::Feed,
            patterns if self.match_all => Interest::All(patterns),
            patterns => Interest::Some(patterns),
        }
    }

    fn way(&self) -> Way {
        match self.http2 {
            true => Way::Http2 {
                streams: self.streams_per_connection.get().into(),
            },
            false => Way::Http1,
        }
    }

    /// Connections of readers, of those that never read or never ask, and of publishers; a thread's last may carry fewer streams than it could.
    fn connections(&self) -> u64 {
        let streams = u64::from(self.streams_per_connection.get());
        let spare = if streams > 1 { self.threads } else { 0 };
        let readers = u64::from(self.readers).div_ceil(streams) + u64::from(spare);
        readers + u64::from(self.stalled + self.half_open + self.publishers)
    }

    fn check(&self) -> anyhow::Result<()> {
        let seconds = |value: f64| (0.0..=3600.0).contains(&value);
        ensure!(
            seconds(self.rest) && seconds(self.patience) && self.seconds.is_none_or(seconds),
            "--rest, --patience and --seconds are from 0 to 3600"
        );
        ensure!(
            self.rate.is_none_or(|rate| rate > 0.0 && rate.is_finite()),
            "--rate is more than 0 events a second"
        );
        ensure!(
            !self.match_all || self.patterns_per_reader > 1,
            "--match-all needs --patterns-per-reader of 2 at least"
        );
        ensure!(
            self.feeds() < mark::MAX_FEEDS,
            "there can be {} feeds at most",
            mark::MAX_FEEDS - 1
        );
        Ok(())
    }

    fn ends(&self) -> anyhow::Result<Ends> {
        let base = self.url.trim_end_matches('/');
        let url = |own: &Option<String>, place: &str| match own {
            Some(own) => UrlTemplate::parse(own),
            None => Ok(UrlTemplate::parse(base)?.below(place)),
        };
        let shown = self.shown()?;
        let several = self.patterns_per_reader > 1;
        let place = if several {
            "/feeds?{query}"
        } else {
            "/feeds/{feed}"
        };
        let readers = subscribers::Target {
            url: self.allowed(url(&self.subscribe_url, place)?)?,
            headers: template::headers(&self.subscribe_header)? + &shown,
            at_once: usize::from(self.connect_at_once.get()).div_ceil(self.threads.into()),
            way: self.way(),
        };
        if self.feeds() > 1 && !readers.url.names_feeds() {
            bail!(
                "with several feeds, --subscribe-url needs a place for the reader's: {{feed}} or {{query}}"
            );
        }
        let publishers = match &self.nats {
            Some(server) => publisher::Target::Nats(NatsTarget {
                server: server.clone(),
                subject: self.nats_subject.clone(),
                in_flight: self.in_flight.get().into(),
            }),
            None => publisher::Target::Http(HttpTarget {
                url: self.allowed(url(&self.publish_url, "/feeds/{feed}")?)?,
                body: BodyTemplate::parse(&self.publish_body)?,
                headers: template::headers(&self.publish_header)? + &shown,
            }),
        };
        Ok(Ends {
            readers,
            publishers,
        })
    }

    /// The header line of each request that shows who sends it; empty where nothing is to be shown.
    fn shown(&self) -> anyhow::Result<String> {
        Ok(match self.credential.header()? {
            Some(value) => format!("Authorization: {}\r\n", value.to_str()?),
            None => String::new(),
        })
    }

    fn allowed(&self, url: UrlTemplate) -> anyhow::Result<UrlTemplate> {
        ensure!(
            self.allow_remote || url.is_local(),
            "{} is not this machine; with --allow-remote you say that its owner knows of this",
            url.authority
        );
        Ok(url)
    }
}
