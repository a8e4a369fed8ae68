//! `tidings publish`.

use super::remote::{Remote, refusal};
use crate::event::{EventType, Feed, Key};
use anyhow::{Context, bail, ensure};
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::Response;
use serde::Deserialize;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// The most that is read from standard input, in bytes: more than any server takes for an event.
const MAX_DATA_BYTES: usize = 64 << 20;
/// How long the server may take to answer. It gives up by itself long before.
const ANSWER: Duration = Duration::from_secs(60);

const EXAMPLES: &str = "\
Examples:
  tidings publish orders.eu '{\"n\":1}'
  tidings publish orders.eu --type created --key 42 '{\"n\":1}'
  tidings publish logs.app < app.log
  tidings publish orders.eu --idempotency-key order-42 '{\"n\":1}'

Exit codes:
  0  published; the event's id is on standard output
  1  not published, or not known to be; the reason is on standard error, and whether to repeat it
  2  the command line is wrong";

/// See [`super::Command::Publish`].
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Publish {
    /// The feed, as in `orders.eu`.
    feed: Feed,

    /// The data. Without it, or where it is `-`, it is read from standard input to its end (at most 64 MiB).
    #[arg(allow_negative_numbers = true)]
    data: Option<String>,

    /// The event's type; `message` unless said otherwise.
    #[arg(long = "type", env = "TIDINGS_TYPE", value_name = "TYPE")]
    kind: Option<EventType>,

    /// A key of your own for the event, passed on to its readers.
    #[arg(long, env = "TIDINGS_KEY", value_name = "KEY")]
    key: Option<Key>,

    /// The data's media type. Without it, data that parses as JSON is JSON, and all else is text.
    #[arg(long, env = "TIDINGS_CONTENT_TYPE", value_name = "TYPE")]
    content_type: Option<String>,

    /// A repeat under the same key, on the same feed and within two minutes, is the same event.
    #[arg(long, env = "TIDINGS_IDEMPOTENCY_KEY", value_name = "KEY")]
    idempotency_key: Option<String>,

    #[command(flatten)]
    remote: Remote,
}

#[derive(Deserialize)]
struct Receipt {
    id: String,
}

impl Publish {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let response = self.send().await?;
        match response.status() {
            StatusCode::OK | StatusCode::CREATED => {}
            StatusCode::SERVICE_UNAVAILABLE => {
                bail!("{}; it may be repeated", refusal(response).await)
            }
            StatusCode::GATEWAY_TIMEOUT => {
                bail!("{}; {}", refusal(response).await, self.unknown())
            }
            _ => bail!("{}", refusal(response).await),
        }
        let answer = response.bytes().await;
        let receipt: Receipt = answer
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok())
            .context("the answer is no receipt; is this a Tidings server?")?;
        writeln!(std::io::stdout(), "{}", super::printable(&receipt.id))
            .context("the event was published, but its id can't be written")?;
        Ok(ExitCode::SUCCESS)
    }

    async fn send(&self) -> anyhow::Result<Response> {
        let headers = self.headers()?;
        let data = match self.data.as_deref() {
            None | Some("-") => stdin().await?,
            Some(data) => data.into(),
        };
        let request = self
            .remote
            .client()?
            .post(self.remote.feeds(Some(self.feed.as_str())))
            .headers(headers)
            .timeout(ANSWER)
            .body(data);
        match request.send().await {
            Ok(response) => Ok(response),
            Err(error) if error.is_connect() => bail!(
                "nothing was published: {} can't be reached: {}",
                self.remote.shown(),
                self.remote.cause(&error)
            ),
            Err(error) => bail!(
                "no answer came ({}); {}",
                self.remote.cause(&error),
                self.unknown()
            ),
        }
    }

    /// What to do where it is not known whether the event was stored.
    fn unknown(&self) -> &'static str {
        match self.idempotency_key {
            Some(_) => {
                "the event may be stored; it may be repeated with the same --idempotency-key"
            }
            None => {
                "the event may be stored; repeated without an --idempotency-key, it may be there twice"
            }
        }
    }

    fn headers(&self) -> anyhow::Result<HeaderMap> {
        let kind = self.kind.as_ref().filter(|kind| !kind.is_default());
        let fields = [
            ("event-type", "--type", kind.map(EventType::as_str)),
            ("event-key", "--key", self.key.as_ref().map(Key::as_str)),
            (
                "content-type",
                "--content-type",
                self.content_type.as_deref(),
            ),
            (
                "idempotency-key",
                "--idempotency-key",
                self.idempotency_key.as_deref(),
            ),
        ];
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        for (name, option, value) in fields {
            let Some(value) = value else { continue };
            let value = HeaderValue::from_bytes(value.as_bytes()).with_context(|| {
                format!("{option} has a character that no HTTP header may have")
            })?;
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }
}

#[allow(clippy::print_stderr)] // what a shell user sees
async fn stdin() -> anyhow::Result<Vec<u8>> {
    if std::io::stdin().is_terminal() {
        eprintln!("tidings: reading the data from the terminal; Ctrl-D ends it");
    }
    let mut data = Vec::new();
    tokio::io::stdin()
        .take(MAX_DATA_BYTES as u64 + 1)
        .read_to_end(&mut data)
        .await
        .context("standard input can't be read")?;
    ensure!(
        data.len() <= MAX_DATA_BYTES,
        "nothing was published: standard input has more than {MAX_DATA_BYTES} bytes"
    );
    Ok(data)
}
