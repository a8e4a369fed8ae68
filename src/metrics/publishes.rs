//! What is published through this server.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// Publishes, by their way and outcome. Cloning it shares the counts.
pub type Publishes = Family<Publish, Counter>;

/// How a publish came, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Publish {
    /// `http`, `batch` or `websocket`.
    pub way: &'static str,
    /// See [`Outcome`].
    pub outcome: &'static str,
}

/// The way in which a publish has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A request of its own.
    Http,
    /// A line of many.
    Batch,
    /// A message over a WebSocket.
    WebSocket,
}

/// What has become of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The log holds it.
    Stored,
    /// The log had it already, under the same idempotency key.
    Repeated,
    /// It is not allowed.
    Denied,
    /// It is larger than may be, or its idempotency key is none.
    Invalid,
    /// As many are under way as may be.
    Overload,
    /// The log does not take it.
    NotStored,
    /// The log may have it.
    Unknown,
}

impl Way {
    const ALL: [Self; 3] = [Self::Http, Self::Batch, Self::WebSocket];

    /// As it is written in a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Batch => "batch",
            Self::WebSocket => "websocket",
        }
    }
}

impl Outcome {
    const ALL: [Self; 7] = [
        Self::Stored,
        Self::Repeated,
        Self::Denied,
        Self::Invalid,
        Self::Overload,
        Self::NotStored,
        Self::Unknown,
    ];

    /// As it is written in a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Repeated => "repeated",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::Overload => "overload",
            Self::NotStored => "not_stored",
            Self::Unknown => "unknown",
        }
    }
}

impl Publish {
    /// Of this way and outcome.
    pub const fn new(way: Way, outcome: Outcome) -> Self {
        Self {
            way: way.as_str(),
            outcome: outcome.as_str(),
        }
    }
}

/// Counts of all ways and outcomes, so that each is there before it has happened.
pub fn publishes() -> Publishes {
    let all = Publishes::default();
    for way in Way::ALL {
        for outcome in Outcome::ALL {
            let _ = all.get_or_create(&Publish::new(way, outcome));
        }
    }
    all
}
