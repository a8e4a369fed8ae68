//! `tidings tail`.

use super::printable;
use super::remote::{Remote, refusal};
use crate::config::number::whole;
use crate::config::parse_pattern;
use crate::event::{Pattern, Position};
use crate::wire::{Block, Parser};
use anyhow::{Context, anyhow, bail};
use clap::Args;
use http::{StatusCode, header};
use reqwest::{Client, Response, Url};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// When to come back where the server has not said so, before it is spread by ±50 %.
const RETRY: Duration = Duration::from_secs(2);
/// The longest pause between two attempts, to which it doubles while they fail; more only where the server says so.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  tidings tail 'orders.>'                       what comes from now on
  tidings tail 'orders.*' users.new --last 10   the newest ten events first
  tidings tail 'orders.>' --after start         all that there is
  tidings tail jobs.7 --count 1 --json          waits for one event, then ends

Quote patterns: zsh expands `*`, and every shell redirects on `>`.

Standard output has one event a line, as tab-separated id, feed, type and data. Control characters in \
the data are escaped, line ends among them; --json gives the exact data. When the connection is cut, \
tail comes back and goes on exactly where it was. What was lost meanwhile is told on standard error as \
a gap, and with --json also on standard output, as a line whose type begins with `hub:`.

Exit codes:
  0    --count events have come, or nobody reads standard output any more
  1    refused (the reason is on standard error), or the server could not be reached at the start
  2    the command line is wrong
  130  ended by SIGINT (Ctrl-C); 143 by SIGTERM";

/// See [`super::Command::Tail`].
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(super) struct Tail {
    /// Feeds or patterns: `*` is one token, a `>` at the end one or more.
    #[arg(required = true, value_name = "PATTERN", value_parser = parse_pattern)]
    patterns: Vec<Pattern>,

    /// Where to begin: after an event id, with the `start` of the log, or `now`, with what comes next.
    #[arg(
        long,
        env = "TIDINGS_AFTER",
        value_name = "ID|start|now",
        default_value = "now"
    )]
    after: After,

    /// To begin with so many of the newest events, as far as the server has them at hand; at most 1000.
    #[arg(long, env = "TIDINGS_LAST", value_name = "N", conflicts_with = "after", value_parser = whole::<u16>(0..=1000, ""))]
    last: Option<u16>,

    /// One JSON envelope a line.
    #[arg(long, env = "TIDINGS_JSON")]
    json: bool,

    /// To end after so many events.
    #[arg(long, env = "TIDINGS_COUNT", value_name = "N", value_parser = whole::<u64>(1..=u64::MAX, ""))]
    count: Option<u64>,

    #[command(flatten)]
    remote: Remote,
}

/// A position, `start` or `now`.
#[derive(Clone, Debug)]
struct After(String);

impl FromStr for After {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "start" | "now" => Ok(Self(text.to_owned())),
            text => match text.parse::<Position>() {
                Ok(position) => Ok(Self(position.to_string())),
                Err(error) => Err(format!("{error}; it may also be `start` or `now`")),
            },
        }
    }
}

/// What plain output shows of an envelope.
#[derive(Deserialize)]
struct Envelope<'a> {
    id: String,
    feed: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What the hub says, as --json shows it.
#[derive(Serialize)]
struct Said<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Gap {
    after: String,
    before: String,
    reason: String,
}

#[derive(Deserialize)]
struct Closing {
    reason: String,
}

/// Why there is nothing more to read for now.
enum Pause {
    /// As many events have come as were wanted, or nobody reads them.
    Done,
    /// The stream has ended, for this reason.
    Ended(String),
}

impl Tail {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        end_on_signals()?;
        let client = self.remote.client()?;
        let session = Session {
            tail: self,
            client,
            id: None,
            retry: RETRY.mul_f64(0.5 + fastrand::f64()),
            seen: 0,
        };
        session.run().await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Ends the program at once when it is told to: what was written is written, and there is nothing to tidy up.
fn end_on_signals() -> anyhow::Result<()> {
    for (kind, code) in [
        (SignalKind::interrupt(), 130),
        (SignalKind::terminate(), 143),
    ] {
        let mut signals = signal(kind)?;
        tokio::spawn(async move {
            signals.recv().await;
            std::process::exit(code);
        });
    }
    Ok(())
}

/// A subscription through all its connections.
struct Session {
    tail: Tail,
    client: Client,
    /// The id from which to go on, once there is one.
    id: Option<String>,
    retry: Duration,
    /// Events shown.
    seen: u64,
}

impl Session {
    /// Until there is nothing more to do; an error is one that coming back would not mend.
    async fn run(mut self) -> anyhow::Result<()> {
        let mut response = self.connect().await?.map_err(|reason| anyhow!(reason))?;
        loop {
            let mut reason = match self.read(response).await? {
                Pause::Done => return Ok(()),
                Pause::Ended(reason) => reason,
            };
            let mut pause = self.retry;
            response = loop {
                say(&format!(
                    "{reason}; coming back in {} ms",
                    pause.as_millis()
                ));
                tokio::time::sleep(pause).await;
                match self.connect().await? {
                    Ok(response) => break response,
                    Err(failure) => reason = failure,
                }
                pause = (pause * 2).min(LONGEST_PAUSE.max(self.retry));
            };
        }
    }

    fn url(&self) -> Url {
        let mut url = self.tail.remote.feeds(None);
        let mut query = url.query_pairs_mut();
        for pattern in &self.tail.patterns {
            query.append_pair("feed", pattern.as_str());
        }
        query.append_pair("envelope", "1");
        match self.tail.last {
            Some(last) => query.append_pair("last", &last.to_string()),
            None => query.append_pair("after", &self.tail.after.0),
        };
        drop(query);
        url
    }

    /// A stream, or why there is none now. An error is one for good.
    async fn connect(&self) -> anyhow::Result<Result<Response, String>> {
        let shown = match self.tail.remote.renewed() {
            Ok(shown) => shown.map(|value| (header::AUTHORIZATION, value)),
            Err(error) => return Ok(Err(format!("{error:#}"))),
        };
        let mut request = self
            .client
            .get(self.url())
            .header(header::ACCEPT, "text/event-stream")
            .header(header::CACHE_CONTROL, "no-store")
            .headers(shown.into_iter().collect());
        if let Some(id) = &self.id {
            request = request.header("last-event-id", id); // goes before what the URL says
        }
        let server = self.tail.remote.shown();
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let cause = self.tail.remote.cause(&error);
                return Ok(Err(format!("{server} can't be reached: {cause}")));
            }
        };
        let status = response.status();
        if status != StatusCode::OK {
            let refusal = refusal(response).await;
            return match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                true => Ok(Err(refusal)),
                false => bail!(refusal),
            };
        }
        match is_event_stream(&response) {
            true => Ok(Ok(response)),
            false => bail!("{server} answered with no event stream; is it a Tidings server?"),
        }
    }

    async fn read(&mut self, mut response: Response) -> anyhow::Result<Pause> {
        let mut parser = Parser::default();
        let mut closing = None;
        loop {
            let next = match response.chunk().await {
                Ok(Some(chunk)) => Ok(chunk),
                Ok(None) => Err("the server ended the stream".to_owned()),
                Err(error) => {
                    let cause = self.tail.remote.cause(&error);
                    Err(format!("the connection was cut: {cause}"))
                }
            };
            let chunk = match next {
                Ok(chunk) => chunk,
                Err(reason) => return Ok(Pause::Ended(closing.unwrap_or(reason))),
            };
            let mut out = Vec::new();
            let mut blocks = Vec::new();
            parser.read(&chunk, &mut blocks)?;
            let id = parser.last_id().map(str::to_owned);
            for block in &blocks {
                match block.kind.as_str() {
                    "hub:position" => {}
                    "hub:closing" => closing = Some(explain_closing(&block.data)),
                    kind if kind.starts_with("hub:") => self.show_said(block, &mut out)?,
                    _ => self.show_event(block, &mut out)?,
                }
                if self.is_done() {
                    break;
                }
            }
            if !write(&out)? || self.is_done() {
                return Ok(Pause::Done);
            }
            self.id = id.or(self.id.take());
            self.retry = parser.retry().unwrap_or(self.retry);
        }
    }

    fn is_done(&self) -> bool {
        self.tail.count.is_some_and(|count| self.seen >= count)
    }

    fn show_event(&mut self, block: &Block, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let envelope: Envelope<'_> = serde_json::from_str(&block.data)
            .context("the stream has an event that is no envelope; is this a Tidings server?")?;
        self.seen += 1;
        if self.tail.json {
            out.extend_from_slice(block.data.as_bytes());
        } else {
            let data = match serde_json::from_str::<String>(envelope.data.get()) {
                Ok(text) => text,
                Err(_) => envelope.data.get().to_owned(),
            };
            let columns = [envelope.id, envelope.feed, envelope.kind, data];
            out.extend_from_slice(
                columns
                    .map(|text| printable(&text).into_owned())
                    .join("\t")
                    .as_bytes(),
            );
        }
        out.push(b'\n');
        Ok(())
    }

    /// A gap, a reset, or what a newer server has to say.
    fn show_said(&self, block: &Block, out: &mut Vec<u8>) -> anyhow::Result<()> {
        say(&explain(block));
        if self.tail.json {
            let data = serde_json::from_str(&block.data)
                .with_context(|| format!("{} is not JSON", block.kind))?;
            let (kind, id) = (block.kind.as_str(), block.id.as_str());
            serde_json::to_writer(&mut *out, &Said { kind, id, data })?;
            out.push(b'\n');
        }
        Ok(())
    }
}

fn is_event_stream(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

fn explain(block: &Block) -> String {
    match (
        block.kind.as_str(),
        serde_json::from_str::<Gap>(&block.data),
    ) {
        ("hub:gap", Ok(gap)) => format!(
            "gap: what came after {} and before {} is not to be had any more ({})",
            gap.after, gap.before, gap.reason
        ),
        ("hub:reset", _) => format!(
            "reset: the log is not the one read before; going on after {}",
            block.id
        ),
        (kind, _) => format!("{kind} {}", block.data),
    }
}

fn explain_closing(data: &str) -> String {
    let reason =
        serde_json::from_str::<Closing>(data).map_or(data.to_owned(), |closing| closing.reason);
    format!("the server closes the stream ({reason})")
}

/// Writes to standard output; whether there is still someone who reads it.
fn write(out: &[u8]) -> anyhow::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(out).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("standard output can't be written"),
    }
}

#[allow(clippy::print_stderr)] // what a shell user sees
fn say(text: &str) {
    eprintln!("tidings: {}", printable(text));
}
