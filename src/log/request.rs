//! Requests to backends: a question over NATS, and its one answer.

use super::Log;
use crate::event::{Feed, Trace};
use bytes::Bytes;
use std::time::Duration;

/// What the subjects of requests begin with; the rest is the request's name.
pub const REQUESTS: &str = "requests.";

/// A question to whatever backend answers to its name.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Its name: the subject below [`REQUESTS`].
    pub name: Feed,
    /// The connection that it came on.
    pub connection: Box<str>,
    /// Whose it is, as far as that is known.
    pub sender: Option<Box<str>>,
    /// The data's media type, if it was given.
    pub content_type: Option<Box<str>>,
    /// The trace that it is a part of, if that was told.
    pub trace: Option<Box<Trace>>,
    /// What it carries.
    pub data: Bytes,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// What a backend has answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The data's media type, if it was given.
    pub content_type: Option<Box<str>>,
    /// What it carries.
    pub data: Bytes,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no NATS, or the subject is one of the feeds.
    #[error("{0}")]
    Unsupported(String),
    /// It was not sent.
    #[error("the request was not sent: {0}")]
    NotSent(String),
    /// It is larger than NATS takes.
    #[error(
        "the request has {bytes} bytes with its headers; NATS takes at most {max} (`max_payload`)"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest that is taken.
        max: usize,
    },
    /// No backend listens.
    #[error("nobody answers requests named `{0}` now")]
    Nobody(Feed),
    /// It was sent, and what became of it is not known.
    #[error("the request may have been heard: {0}")]
    Unanswered(String),
    /// The backend's own error.
    #[error("{text}")]
    Service {
        /// What it says.
        text: String,
        /// Its code.
        code: u16,
    },
}

impl Log {
    /// Asks a backend, by way of what the log is kept in.
    pub async fn request(&self, ask: Ask) -> Result<Reply, RequestError> {
        match self {
            Self::JetStream(log) => log.request(ask).await,
            _ => Err(RequestError::Unsupported(
                "requests are passed on over NATS, and this server runs without (--nats)"
                    .to_owned(),
            )),
        }
    }
}
