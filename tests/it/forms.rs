//! A client that reads in any of the forms, and is told the same in each.

use crate::replica::within;
use crate::sse::Block;
use fastrand::Rng;
use futures::{SinkExt, StreamExt};
use reqwest::{Client, Response, Url};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::VecDeque;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// A form in which feeds are served. What is added here is read by all tests of exactness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Sse,
    SseEnvelope,
    Lines,
    Poll,
    WebSocket,
}

impl Form {
    pub(crate) const ALL: [Self; 5] = [
        Self::Sse,
        Self::SseEnvelope,
        Self::Lines,
        Self::Poll,
        Self::WebSocket,
    ];

    fn accept(self) -> &'static str {
        match self {
            Self::Sse | Self::SseEnvelope => "text/event-stream",
            Self::Lines => "application/x-ndjson",
            Self::Poll => "application/json",
            Self::WebSocket => unreachable!("it accepts messages"),
        }
    }

    /// What the URL says of it. A poll takes some events, and mostly waits for the first.
    fn parameters(self, rng: &mut Rng) -> String {
        match self {
            Self::Sse | Self::Lines | Self::WebSocket => String::new(),
            Self::SseEnvelope => "envelope=1".to_owned(),
            Self::Poll => {
                let limit = [1, 10, 30, 100][rng.usize(..4)];
                let wait = u8::from(rng.u8(..4) > 0);
                format!("limit={limit}&wait={wait}")
            }
        }
    }
}

/// A client that uses no connection twice: one that is idle for too long is closed, just when it is used again.
pub(crate) fn client() -> Client {
    let builder = Client::builder().pool_max_idle_per_host(0);
    builder.build().expect("a client")
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) kind: String,
    pub(crate) id: String,
    /// The event's feed, where the form names it.
    pub(crate) feed: Option<String>,
    /// Text where it is text, else JSON.
    pub(crate) data: String,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: String,
    feed: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<Envelope<'a>>,
    next: String,
}

/// Where an answer comes from.
enum Source {
    Http(Response),
    WebSocket(Box<WebSocketStream<TcpStream>>),
}

impl Source {
    /// The next bytes. A message is as good as a line.
    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let socket = match self {
            Self::Http(response) => {
                let chunk = within("more of the body", response.chunk()).await;
                return chunk.expect("a whole body").map(|chunk| chunk.to_vec());
            }
            Self::WebSocket(socket) => socket,
        };
        loop {
            let message = within("a message", socket.next()).await?;
            match message.expect("a message") {
                Message::Text(text) => return Some(format!("{text}\n").into_bytes()),
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Close(_) => return None,
                message => panic!("{message:?}"),
            }
        }
    }
}

/// An answer, as it is read.
pub(crate) struct Visit {
    pub(crate) form: Form,
    source: Option<Source>,
    /// How many bytes of the body are taken before the client goes.
    left: usize,
    buffer: Vec<u8>,
    told: VecDeque<Told>,
}

impl Visit {
    /// Asks for what comes after an id, where there is one; the URL has parameters already.
    pub(crate) async fn begin(
        client: &Client,
        url: &str,
        form: Form,
        id: &str,
        rng: &mut Rng,
    ) -> Self {
        if form == Form::WebSocket {
            return Self::subscribe(url, id).await;
        }
        let url = format!("{url}&{}", form.parameters(rng));
        let mut request = client.get(url).header("Accept", form.accept());
        if !id.is_empty() {
            request = request.header("Last-Event-ID", id);
        }
        let response = within("the head", request.send()).await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], form.accept());
        Self::of(form, Source::Http(response))
    }

    fn of(form: Form, source: Source) -> Self {
        Self {
            form,
            source: Some(source),
            left: usize::MAX,
            buffer: Vec::new(),
            told: VecDeque::new(),
        }
    }

    /// Says in a message what the URL says. The answer is told as a `hub:position`, as at the beginning of a stream.
    async fn subscribe(url: &str, id: &str) -> Self {
        let url: Url = url.parse().expect("a URL");
        let address = url.socket_addrs(|| None).expect("an address")[0];
        let tcp = within("a connection", TcpStream::connect(address)).await;
        let request = format!("ws://{address}/ws");
        let opening = tokio_tungstenite::client_async(request, tcp.expect("a connection"));
        let (mut socket, _) = within("a WebSocket", opening).await.expect("a WebSocket");
        let asked = subscription(&url, id).to_string();
        socket.send(Message::text(asked)).await.expect("a server");
        let mut visit = Self::of(Form::WebSocket, Source::WebSocket(Box::new(socket)));
        let source = visit.source.as_mut().expect("it is there");
        loop {
            let message = source.chunk().await.expect("an answer");
            let message: Value = serde_json::from_slice(&message).expect("JSON");
            if message["type"] != "hub:connected" {
                let id = message["result"]["id"].as_str();
                let id = id.unwrap_or_else(|| panic!("{message}"));
                visit.told.push_back(Told::position(id.to_owned()));
                return visit;
            }
        }
    }

    /// Has the client go after so many bytes.
    pub(crate) fn cut_after(&mut self, bytes: usize) {
        self.left = bytes;
    }

    /// The next that it is told: at the end of a page from where to go on, as a `hub:position`. `None` at its end, and
    /// where the client has gone.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            let source = self.source.as_mut().filter(|_| self.left > 0)?;
            match source.chunk().await {
                Some(chunk) => {
                    let taken = chunk.len().min(self.left);
                    self.left -= taken;
                    self.buffer.extend_from_slice(&chunk[..taken]);
                    self.read();
                }
                None => {
                    self.source = None;
                    self.end();
                }
            }
        }
    }

    /// The next that is no `hub:position`.
    pub(crate) async fn event(&mut self) -> Told {
        within("an event", async {
            loop {
                let told = self.next().await.expect("an event");
                if told.kind != "hub:position" {
                    return told;
                }
            }
        })
        .await
    }

    fn read(&mut self) {
        let end: &[u8] = match self.form {
            Form::Sse | Form::SseEnvelope => b"\n\n",
            Form::Lines | Form::WebSocket => b"\n",
            Form::Poll => return, // it counts as a whole
        };
        let is_end = |part: &[u8]| part == end;
        while let Some(at) = self.buffer.windows(end.len()).position(is_end) {
            let part: Vec<u8> = self.buffer.drain(..at + end.len()).collect();
            let part = std::str::from_utf8(&part).expect("UTF-8");
            self.told.push_back(match self.form {
                Form::Lines | Form::WebSocket => envelope(part),
                form => block(part, form == Form::SseEnvelope),
            });
        }
    }

    fn end(&mut self) {
        if self.form != Form::Poll {
            assert!(self.buffer.is_empty(), "the rest of a stream");
            return;
        }
        let page: Page<'_> = serde_json::from_slice(&self.buffer).expect("a page");
        self.told.extend(page.events.iter().map(Told::from));
        self.told.push_back(Told::position(page.next));
    }
}

/// What a client asks for over a WebSocket, after an id where it has one.
fn subscription(url: &Url, id: &str) -> Value {
    let mut message = json!({"op": "subscribe", "ref": "a"});
    let pairs: Vec<_> = url.query_pairs().collect();
    let feeds = pairs.iter().filter(|(name, _)| name == "feed");
    message["feeds"] = feeds.map(|(_, feed)| json!(feed)).collect();
    for (name, value) in &pairs {
        match &**name {
            _ if !id.is_empty() => message["after"] = json!(id),
            "after" => message["after"] = json!(value),
            "last" => message["last"] = json!(value.parse::<u32>().expect("a number")),
            _ => {}
        }
    }
    message
}

impl Told {
    fn position(id: String) -> Self {
        Self {
            kind: "hub:position".to_owned(),
            id,
            feed: None,
            data: "{}".to_owned(),
        }
    }
}

impl From<&Envelope<'_>> for Told {
    fn from(envelope: &Envelope<'_>) -> Self {
        let data = envelope.data.get();
        Self {
            kind: envelope.kind.clone(),
            id: envelope.id.clone(),
            feed: envelope.feed.clone(),
            data: serde_json::from_str(data).unwrap_or_else(|_| data.to_owned()),
        }
    }
}

fn envelope(text: &str) -> Told {
    let envelope: Envelope<'_> = serde_json::from_str(text).expect("an envelope");
    Told::from(&envelope)
}

fn block(text: &str, is_wrapped: bool) -> Told {
    let block = Block::parse(text);
    if is_wrapped && block.kind == "message" {
        let told = envelope(&block.data);
        assert_eq!(told.id, block.id);
        return told;
    }
    Told {
        kind: block.kind,
        id: block.id,
        feed: None,
        data: block.data,
    }
}
