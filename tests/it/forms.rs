//! A client that reads in any of the forms, and is told the same in each.

use crate::replica::within;
use crate::sse::Block;
use fastrand::Rng;
use reqwest::{Client, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::VecDeque;

/// A form in which feeds are served. What is added here is read by all tests of exactness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Sse,
    SseEnvelope,
    Lines,
    Poll,
}

impl Form {
    pub(crate) const ALL: [Self; 4] = [Self::Sse, Self::SseEnvelope, Self::Lines, Self::Poll];

    fn accept(self) -> &'static str {
        match self {
            Self::Sse | Self::SseEnvelope => "text/event-stream",
            Self::Lines => "application/x-ndjson",
            Self::Poll => "application/json",
        }
    }

    /// What the URL says of it. A poll takes some events, and mostly waits for the first.
    fn parameters(self, rng: &mut Rng) -> String {
        match self {
            Self::Sse | Self::Lines => String::new(),
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

/// An answer, as it is read.
pub(crate) struct Visit {
    pub(crate) form: Form,
    response: Option<Response>,
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
        let url = format!("{url}&{}", form.parameters(rng));
        let mut request = client.get(url).header("Accept", form.accept());
        if !id.is_empty() {
            request = request.header("Last-Event-ID", id);
        }
        let response = within("the head", request.send()).await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], form.accept());
        Self {
            form,
            response: Some(response),
            left: usize::MAX,
            buffer: Vec::new(),
            told: VecDeque::new(),
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
            let response = self.response.as_mut().filter(|_| self.left > 0)?;
            let chunk = within("more of the body", response.chunk()).await;
            match chunk.expect("a whole body") {
                Some(chunk) => {
                    let taken = chunk.len().min(self.left);
                    self.left -= taken;
                    self.buffer.extend_from_slice(&chunk[..taken]);
                    self.read();
                }
                None => {
                    self.response = None;
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
            Form::Lines => b"\n",
            Form::Poll => return, // it counts as a whole
        };
        let is_end = |part: &[u8]| part == end;
        while let Some(at) = self.buffer.windows(end.len()).position(is_end) {
            let part: Vec<u8> = self.buffer.drain(..at + end.len()).collect();
            let part = std::str::from_utf8(&part).expect("UTF-8");
            self.told.push_back(match self.form {
                Form::Lines => envelope(part),
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
        self.told.push_back(Told {
            kind: "hub:position".to_owned(),
            id: page.next,
            feed: None,
            data: "{}".to_owned(),
        });
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
