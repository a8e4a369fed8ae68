//! The clients, all behind one face: each says which events it heard.

use super::{Published, TYPES};
use crate::tools::{program, within};
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use serde::Deserialize;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// What reads a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// npm's `eventsource-parser`, fed from fetch.
    EventsourceParser,
    /// npm's `eventsource`; reconnects.
    Eventsource,
    /// npm's `@microsoft/fetch-event-source` on Node; reconnects.
    FetchEventSource,
    /// PyPI's `httpx-sse`.
    HttpxSse,
    /// PyPI's `sseclient-py`.
    SseclientPy,
    /// The crate `eventsource-stream`.
    EventsourceStream,
    /// The same over HTTP/2.
    EventsourceStreamOverHttp2,
    /// The crate `sse-stream`.
    SseStream,
    /// The same over HTTP/2.
    SseStreamOverHttp2,
    /// Chromium's own `EventSource`, on a page of another origin; reconnects.
    Chromium,
    /// `@microsoft/fetch-event-source` in Chromium, on a page of another origin; reconnects.
    FetchEventSourceInChromium,
}

/// An event as a client heard it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Heard {
    /// Its type.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Its data.
    pub(super) data: String,
    /// Its id.
    pub(super) id: String,
}

/// A client that is subscribed. Dropping it ends it.
pub(super) struct Client {
    reader: Reader,
    heard: mpsc::UnboundedReceiver<Heard>,
    stderr: Arc<Mutex<String>>,
    child: Option<Child>,
    _folder: Option<TempDir>,
}

impl Reader {
    /// How this parser gives data that it is known to get wrong.
    pub(super) fn takes(self, text: &str) -> String {
        match self {
            // Its `getMessages` joins a line to the lines before it only if those are not empty, so
            // empty lines at the start are lost; and it decodes each line by itself with a
            // `TextDecoder` that takes a BOM at the start of a line for the stream's.
            Self::FetchEventSource | Self::FetchEventSourceInChromium => {
                let mut lines = text
                    .split('\n')
                    .map(|line| line.strip_prefix('\u{feff}').unwrap_or(line))
                    .skip_while(|line| line.is_empty());
                let first = lines.next().unwrap_or_default().to_owned();
                lines.fold(first, |text, line| text + "\n" + line)
            }
            _ => text.to_owned(),
        }
    }

    /// Whether it may lose an event that a cut falls into.
    ///
    /// `@microsoft/fetch-event-source` takes an id for the last one heard as soon as it has read the `id:`
    /// line, not when the event is complete; cut between the two, it resumes after an event that it never
    /// dispatched.
    pub(super) fn loses_what_it_is_cut_off_in(self) -> bool {
        matches!(
            self,
            Self::FetchEventSource | Self::FetchEventSourceInChromium
        )
    }

    fn command(self, url: &str, folder: Option<&TempDir>) -> Option<Command> {
        let node = |script| ("TIDINGS_TEST_NODE", script);
        let python = |script| ("TIDINGS_TEST_PYTHON", script);
        let (interpreter, script) = match self {
            Self::EventsourceParser => node("eventsource-parser.mjs"),
            Self::Eventsource => node("eventsource.mjs"),
            Self::FetchEventSource => node("fetch-event-source.mjs"),
            Self::Chromium | Self::FetchEventSourceInChromium => node("chromium.mjs"),
            Self::HttpxSse => python("httpx-sse.py"),
            Self::SseclientPy => python("sseclient-py.py"),
            Self::EventsourceStream
            | Self::EventsourceStreamOverHttp2
            | Self::SseStream
            | Self::SseStreamOverHttp2 => return None,
        };
        let mut command = script_command(interpreter, script);
        command.arg(url);
        if let Some(folder) = folder {
            let inside = match self {
                Self::FetchEventSourceInChromium => "fetch-event-source",
                _ => "eventsource",
            };
            command.arg(inside).arg(folder.path().join("profile"));
            command.env("TMPDIR", folder.path()); // for what playwright leaves behind
            command.env("TIDINGS_TEST_CHROMIUM", program("TIDINGS_TEST_CHROMIUM"));
        }
        command.args(TYPES).args(HUB_TYPES);
        Some(command)
    }

    fn in_browser(self) -> bool {
        matches!(self, Self::Chromium | Self::FetchEventSourceInChromium)
    }
}

/// What the hub itself may say.
const HUB_TYPES: &[&str] = &[
    "hub:position",
    "hub:gap",
    "hub:reset",
    "hub:token-expiring",
    "hub:closing",
];

/// A script in `tests/clients`, run by the interpreter in this variable.
pub(crate) fn script_command(interpreter: &str, script: &str) -> Command {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let mut command = Command::new(program(interpreter));
    command
        .arg(scripts.join(script))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Client {
    /// Subscribes to a URL.
    pub(super) fn start(reader: Reader, url: &str) -> Self {
        let (heard, receiver) = mpsc::unbounded_channel();
        let stderr = Arc::new(Mutex::new(String::new()));
        let folder = reader.in_browser().then(|| TempDir::new().unwrap());
        let child = match reader.command(url, folder.as_ref()) {
            Some(mut command) => {
                let mut child = command.spawn().unwrap();
                let lines = child.stdout.take().unwrap();
                tokio::spawn(forward(lines, stderr.clone(), heard));
                tokio::spawn(collect(child.stderr.take().unwrap(), stderr.clone()));
                Some(child)
            }
            None => {
                tokio::spawn(read_here(reader, url.to_owned(), heard));
                None
            }
        };
        Self {
            reader,
            heard: receiver,
            stderr,
            child,
            _folder: folder,
        }
    }

    /// Which one it is.
    pub(super) fn reader(&self) -> Reader {
        self.reader
    }

    /// What it wrote to standard error.
    pub(super) fn said(&self) -> String {
        format!("its standard error:\n{}", self.stderr.lock())
    }

    /// What it hears before the event that ends the test.
    pub(super) async fn events_before(&mut self, end: &Published) -> Vec<Heard> {
        let mut heard = Vec::new();
        loop {
            let awaited = format!("the end; {} events heard", heard.len());
            let event = self.next_event(&awaited).await;
            if event.id == end.id {
                return heard;
            }
            heard.push(event);
        }
    }

    /// The next event that a publisher sent; the hub's own may only say where the client stands.
    async fn next_event(&mut self, awaited: &str) -> Heard {
        loop {
            let heard = self.next(awaited).await;
            match heard.kind.strip_prefix("hub:") {
                None => return heard,
                Some("position") => {}
                Some(_) => panic!("{:?} was told {heard:?} before {awaited:?}", self.reader),
            }
        }
    }

    /// The first that any client hears: the position at which it has joined.
    pub(super) async fn joined(&mut self) {
        let heard = self.next("position to join at").await;
        assert_eq!(heard.kind, "hub:position", "{}", self.said());
    }

    async fn next(&mut self, awaited: &str) -> Heard {
        let awaited = format!("{awaited:?} at {:?}", self.reader);
        let stderr = &self.stderr;
        let heard = within(&awaited, self.heard.recv(), || stderr.lock().clone()).await;
        heard.unwrap_or_else(|| panic!("it ended before {awaited}; {}", self.said()))
    }

    /// Ends it, and waits until it has: a browser takes its processes and its profile with it.
    pub(super) async fn end(mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        match self.reader.in_browser() {
            true => drop(child.stdin.take()),
            false => child.start_kill().unwrap(),
        }
        let said = || self.said();
        within("end of the client", child.wait(), said)
            .await
            .unwrap();
    }
}

impl Heard {
    /// As it is shown where it is wrong: not a million bytes of it.
    pub(super) fn brief(&self) -> String {
        let shown: String = self.data.chars().take(100).collect();
        let Self { kind, data, id } = self;
        format!("{kind:?} {id} {} bytes {shown:?}", data.len())
    }
}

async fn forward(
    stdout: impl AsyncRead + Unpin,
    stderr: Arc<Mutex<String>>,
    heard: mpsc::UnboundedSender<Heard>,
) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(event) => drop(heard.send(event)),
            Err(error) => *stderr.lock() += &format!("{error} in its output: {line}\n"),
        }
    }
}

async fn collect(stream: impl AsyncRead + Unpin, into: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        *into.lock() += &format!("{line}\n");
    }
}

/// The parsers in Rust run in the test itself.
async fn read_here(reader: Reader, url: String, heard: mpsc::UnboundedSender<Heard>) {
    let http = reqwest::Client::builder().no_proxy();
    let http = match reader {
        Reader::EventsourceStreamOverHttp2 | Reader::SseStreamOverHttp2 => {
            http.http2_prior_knowledge()
        }
        _ => http,
    };
    let http = http.build().unwrap();
    let body = http.get(url).send().await.unwrap().bytes_stream();
    match reader {
        Reader::EventsourceStream | Reader::EventsourceStreamOverHttp2 => {
            let events = eventsource_stream::Eventsource::eventsource(body);
            let events = events.map(|event| {
                let event = event.unwrap();
                Heard {
                    kind: event.event,
                    data: event.data,
                    id: event.id,
                }
            });
            pass_on(events, heard).await;
        }
        _ => {
            let events = sse_stream::SseStream::from_bytes_stream(body);
            let events = events.map(|event| {
                let event = event.unwrap();
                Heard {
                    kind: event.event.unwrap_or_else(|| "message".to_owned()),
                    data: event.data.unwrap_or_default(),
                    id: event.id.unwrap_or_default(),
                }
            });
            pass_on(events, heard).await;
        }
    }
}

async fn pass_on(events: impl Stream<Item = Heard>, heard: mpsc::UnboundedSender<Heard>) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        if heard.send(event).is_err() {
            return;
        }
    }
}
