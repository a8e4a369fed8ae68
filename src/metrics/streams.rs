//! Streams, polls and WebSockets: how many are open, how they end, and what is delivered over them.

use super::{counter_of, gauge_of};
use crate::event::{Pattern, Patterns};
use crate::wire::{Closing, Form};
use http::Version;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use tokio::time::Instant;

/// What streams end with that their clients have ended, or whose connection is gone.
pub const CLIENT: &str = "client";
/// That of a client that took nothing for too long.
pub const STALLED: &str = "stalled";
/// That of a poll that was answered.
pub const ANSWERED: &str = "answered";
/// That of a WebSocket whose client does what none may.
pub const REFUSED: &str = "refused";
/// That of a stream that the server can't go on with, by a fault of its own.
pub const FAILED: &str = "failed";

/// The way in which a reader is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Server-Sent Events.
    Sse,
    /// JSON lines.
    Lines,
    /// Polls.
    Poll,
    /// WebSockets, with all their subscriptions.
    WebSocket,
}

/// The version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0, and what came before.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

/// How a stream is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// In which way.
    pub transport: Transport,
    /// Over which version of HTTP.
    pub protocol: Protocol,
}

/// Events and bytes that were delivered, by transport.
#[derive(Debug, Default)]
pub struct Delivered {
    events: [AtomicU64; Transport::ALL.len()],
    bytes: [AtomicU64; Transport::ALL.len()],
}

/// What is counted of streams. Cloning it shares the counts.
#[derive(Clone, Debug, Default)]
pub struct StreamCounters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    opened: [[AtomicU64; Protocol::ALL.len()]; Transport::ALL.len()],
    over: [[AtomicU64; Protocol::ALL.len()]; Transport::ALL.len()],
    closed: Family<Closed, Counter>,
    delivered: Delivered,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Closed {
    transport: &'static str,
    reason: &'static str,
}

/// An open stream: counted as one until it is dropped, and then logged at debug.
#[derive(Debug)]
pub struct OpenStream {
    counters: StreamCounters,
    kind: Kind,
    reason: &'static str,
    fate: Fate,
    /// Kept only where it will be logged.
    story: Option<Box<Story>>,
}

/// Whether a client has stalled: told by who looks after its connection, and may not see its streams. Cloning it gives
/// another handle.
#[derive(Clone, Debug, Default)]
pub struct Fate(Arc<AtomicBool>);

impl Fate {
    /// It has.
    pub fn stalled(&self) {
        self.0.store(true, Relaxed);
    }
}

/// What is logged of a stream when it ends.
#[derive(Debug)]
struct Story {
    opened: Instant,
    who: Reader,
    events: u64,
    bytes: u64,
}

/// Who reads what, as far as it is known. Nothing of what he has shown of himself.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// The patterns; nothing for a WebSocket, which has several subscriptions.
    pub patterns: Option<Patterns>,
    /// The authenticated subject.
    pub subject: Option<Box<str>>,
    /// The other end of the connection.
    pub peer: Option<SocketAddr>,
}

impl Transport {
    /// All.
    pub const ALL: [Self; 4] = [Self::Sse, Self::Lines, Self::Poll, Self::WebSocket];

    /// As it is written in a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::Lines => "lines",
            Self::Poll => "poll",
            Self::WebSocket => "websocket",
        }
    }
}

impl From<Form> for Transport {
    fn from(form: Form) -> Self {
        match form {
            Form::Sse | Form::SseEnvelope => Self::Sse,
            Form::Lines => Self::Lines,
        }
    }
}

impl Protocol {
    /// All.
    pub const ALL: [Self; 3] = [Self::Http10, Self::Http11, Self::Http2];

    /// As it is written in a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "http/1.0",
            Self::Http11 => "http/1.1",
            Self::Http2 => "http/2",
        }
    }
}

impl From<Version> for Protocol {
    fn from(version: Version) -> Self {
        match version {
            Version::HTTP_11 => Self::Http11,
            Version::HTTP_2 => Self::Http2,
            _ => Self::Http10,
        }
    }
}

impl Delivered {
    /// Adds so many events and notices, and so many bytes.
    pub fn add(&self, transport: Transport, events: u64, bytes: u64) {
        for (counts, more) in [(&self.events, events), (&self.bytes, bytes)] {
            if more > 0 {
                counts[transport as usize].fetch_add(more, Relaxed);
            }
        }
    }

    /// Events and notices over all transports.
    pub fn events(&self) -> u64 {
        self.events.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Bytes over all transports.
    pub fn bytes(&self) -> u64 {
        self.bytes.iter().map(|count| count.load(Relaxed)).sum()
    }
}

impl StreamCounters {
    /// How many are open of a kind.
    pub fn open(&self, kind: Kind) -> u64 {
        let (transport, protocol) = (kind.transport as usize, kind.protocol as usize);
        // In this order, so that none is over that was not opened.
        let over = self.0.over[transport][protocol].load(Relaxed);
        let opened = self.0.opened[transport][protocol].load(Relaxed);
        opened.saturating_sub(over)
    }

    /// What was delivered otherwise than by shards.
    pub fn delivered(&self) -> &Delivered {
        &self.0.delivered
    }

    pub(super) fn encode(
        &self,
        to: &mut DescriptorEncoder<'_>,
        by_shards: &[&Delivered],
    ) -> Result<(), fmt::Error> {
        let kinds: Vec<Kind> = Kind::all().collect();
        let labels = |kind: &Kind| {
            let (transport, protocol) = (kind.transport.as_str(), kind.protocol.as_str());
            [("transport", transport), ("protocol", protocol)]
        };
        gauge_of(
            to,
            "streams",
            "Streams, polls and WebSockets that are open, by how they are served; over HTTP/2 several may share a connection",
            kinds.iter().map(|kind| (labels(kind), self.open(*kind))),
        )?;
        let opened = |kind: &Kind| {
            self.0.opened[kind.transport as usize][kind.protocol as usize].load(Relaxed)
        };
        counter_of(
            to,
            "streams_opened",
            "Streams, polls and WebSockets that were opened",
            kinds.iter().map(|kind| (labels(kind), opened(kind))),
        )?;
        let all = || by_shards.iter().copied().chain([&self.0.delivered]);
        let events = |transport: Transport| {
            let of = |one: &Delivered| one.events[transport as usize].load(Relaxed);
            ([("transport", transport.as_str())], all().map(of).sum())
        };
        counter_of(
            to,
            "deliveries",
            "Events and notices sent to readers, one for each reader that was sent it",
            Transport::ALL.into_iter().map(events),
        )?;
        let bytes = |transport: Transport| {
            let of = |one: &Delivered| one.bytes[transport as usize].load(Relaxed);
            ([("transport", transport.as_str())], all().map(of).sum())
        };
        counter_of(
            to,
            "delivered_bytes",
            "Bytes of bodies and WebSocket messages sent to readers, signs of life and the chunk framing of shards counted",
            Transport::ALL.into_iter().map(bytes),
        )
    }

    pub(super) fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        registry.register(
            "streams_closed",
            "Streams, polls and WebSockets that have ended, by why",
            self.0.closed.clone(),
        );
    }
}

impl Kind {
    fn all() -> impl Iterator<Item = Self> {
        let of = |transport| {
            Protocol::ALL.map(|protocol| Self {
                transport,
                protocol,
            })
        };
        Transport::ALL.into_iter().flat_map(of)
    }
}

impl OpenStream {
    /// One that begins now.
    pub fn new(counters: &StreamCounters, kind: Kind, who: Reader) -> Self {
        counters.0.opened[kind.transport as usize][kind.protocol as usize].fetch_add(1, Relaxed);
        let story = tracing::enabled!(tracing::Level::DEBUG).then(|| {
            Box::new(Story {
                opened: Instant::now(),
                who,
                events: 0,
                bytes: 0,
            })
        });
        Self {
            counters: counters.clone(),
            kind,
            reason: CLIENT,
            fate: Fate::default(),
            story,
        }
    }

    /// Counts what was sent over it.
    pub fn delivered(&mut self, events: u64, bytes: u64) {
        let delivered = &self.counters.0.delivered;
        delivered.add(self.kind.transport, events, bytes);
        self.note(events, bytes);
    }

    /// Notes what was sent over it and is counted elsewhere.
    pub fn note(&mut self, events: u64, bytes: u64) {
        if let Some(story) = &mut self.story {
            story.events += events;
            story.bytes += bytes;
        }
    }

    /// Whether its end will be logged.
    pub fn is_noted(&self) -> bool {
        self.story.is_some()
    }

    /// Who reads, as it has turned out.
    pub fn is_of(&mut self, subject: Option<&str>) {
        if let Some(story) = &mut self.story {
            story.who.subject = subject.map(Box::from);
        }
    }

    /// Ends as that of a client that has stalled, where this comes to say so.
    pub fn heed(&mut self, fate: Fate) {
        self.fate = fate;
    }

    /// With what it ends so.
    pub fn fate(&self) -> Fate {
        self.fate.clone()
    }

    /// Says why it ends; otherwise it is the client that has ended it.
    pub fn ends(&mut self, reason: &'static str) {
        self.reason = reason;
    }

    /// The same, where the server ends it.
    pub fn closes(&mut self, reason: Closing) {
        self.ends(reason.as_str());
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let Kind {
            transport,
            protocol,
        } = self.kind;
        if self.reason == CLIENT && self.fate.0.load(Relaxed) {
            self.reason = STALLED;
        }
        let counts = &self.counters.0;
        counts.over[transport as usize][protocol as usize].fetch_add(1, Relaxed);
        let closed = Closed {
            transport: transport.as_str(),
            reason: self.reason,
        };
        counts.closed.get_or_create(&closed).inc();
        if let Some(story) = self.story.take() {
            story.tell(self.kind, self.reason);
        }
    }
}

fn shown(patterns: &Patterns) -> String {
    let all: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
    all.join(" ")
}

impl Story {
    fn tell(&self, kind: Kind, reason: &'static str) {
        let Reader {
            patterns,
            subject,
            peer,
        } = &self.who;
        tracing::debug!(
            transport = kind.transport.as_str(),
            protocol = kind.protocol.as_str(),
            reason,
            seconds = self.opened.elapsed().as_secs_f64(),
            events = self.events,
            bytes = self.bytes,
            patterns = patterns.as_ref().map(shown),
            subject = subject.as_deref(),
            peer = peer.map(tracing::field::display),
            "a stream has ended"
        );
    }
}
