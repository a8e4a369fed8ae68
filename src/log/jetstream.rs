//! The log on NATS JetStream: one stream, shared by all replicas.
//!
//! # Permissions
//! What a NATS user needs for the stream `S`, the prefix `P` and the inbox prefix `I` (by default `TIDINGS`,
//! `feeds` and `_INBOX`); with a JetStream domain `D`, `$JS.D.API` stands for `$JS.API`.
//!
//! | to publish to | for |
//! | --- | --- |
//! | `P.>` | events (`>` less NATS's own subjects, where the prefix is empty) |
//! | `$JS.API.STREAM.INFO.S` | whether the stream is there and fits, and how far it reaches |
//! | `$JS.API.STREAM.MSG.GET.S` | the position at a sequence |
//! | `$JS.API.CONSUMER.CREATE.S.>` | to follow and to read |
//! | `$JS.API.CONSUMER.MSG.NEXT.S.>` | to read |
//! | `$JS.API.CONSUMER.DELETE.S.>` | to leave no consumer behind |
//! | `requests.>` | requests of WebSocket clients to backends |
//! | `_TIDINGS.S.replicas`, and to subscribe to it | what replicas tell each other |
//! | `I.>` | what they answer |
//! | `$JS.FC.S.>` | to follow: flow control |
//! | `$JS.API.STREAM.CREATE.S` | to create the stream; not with `--nats-create never` |
//!
//! And to subscribe to `I.>`, where answers and followed events come.

mod api;
mod append;
mod connect;
mod consumer;
mod follow;
mod headers;
mod jump;
mod link;
mod message;
mod notes;
mod read;
mod replicas;
mod request;
mod singly;
mod stream;
mod watch;

pub(super) use follow::Follow;
pub use link::ConnectionState;
pub use message::LogCounters;

use super::{
    Append, AppendError, Appended, Ask, Batch, Bounds, Limit, LogError, Range, Reply, RequestError,
    Select, Told,
};
use crate::config::NatsSettings;
use crate::event::Position;
use api::{Api, StreamInfo};
use bytes::Bytes;
use link::Epoch;
use message::Decoder;
use parking_lot::Mutex;
use singly::Caution;
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore};

/// How many appends may wait for their answers at once; one more is refused.
const OUTSTANDING_APPENDS: usize = 4096;
/// What an event's headers may need of the server's `max_payload`, in bytes.
const HEADERS_ALLOWANCE: usize = 4096;

/// A log in a JetStream stream. Cloning it gives another handle over the same connection.
#[derive(Clone, Debug)]
pub struct JetStreamLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: NatsSettings,
    api: Api,
    /// The prefix and its dot; empty for none.
    prefix: Arc<str>,
    max_event_bytes: usize,
    counters: Arc<LogCounters>,
    appends: Semaphore,
    /// What the last [`JetStreamLog::open`] found.
    opened: Mutex<Option<Opened>>,
    caution: Caution,
    /// Has the follower look at the stream now.
    nudge: Notify,
}

/// The stream as it was when it was last opened.
#[derive(Clone, Debug)]
struct Opened {
    /// Over this connection; over the next one it may be another.
    epoch: Epoch,
    created: u64,
    /// What a follower has to ask for, where the stream has other subjects too.
    filter: Option<Arc<str>>,
    /// The stream's own limit for a message with its headers, in bytes.
    max_message: Option<usize>,
}

impl JetStreamLog {
    /// A log on the servers of `settings`. Connects in the background, for as long as it takes. Events with
    /// more than `max_event_bytes` of data are read as [`Data::Oversize`](crate::event::Data::Oversize).
    ///
    /// # Errors
    /// Where a setting can't be right: an address, a name, a file that can't be read. The text names the setting.
    /// Also outside of a tokio runtime.
    pub fn new(settings: NatsSettings, max_event_bytes: usize) -> Result<Self, LogError> {
        let link = connect::connect(&settings)?;
        let prefix = match settings.prefix.as_str() {
            "" => String::new(),
            prefix => format!("{prefix}."),
        };
        let shared = Shared {
            api: Api::new(link, &settings),
            settings,
            prefix: prefix.into(),
            max_event_bytes,
            counters: Arc::default(),
            appends: Semaphore::new(OUTSTANDING_APPENDS),
            opened: Mutex::default(),
            caution: Caution::default(),
            nudge: Notify::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Whether NATS can be reached right now, and why not.
    pub fn state(&self) -> ConnectionState {
        self.shared.api.link.state()
    }

    /// How often a connection has come about so far.
    pub fn connects(&self) -> u64 {
        self.shared.api.link.connects()
    }

    /// What it has met that could not be passed on as it was.
    pub fn counters(&self) -> Arc<LogCounters> {
        self.shared.counters.clone()
    }

    /// How many bytes of data an event may have, so that it surely fits with its headers: by the server's
    /// `max_payload` and the stream's `max_msg_size`, or 1 MiB until they are known.
    pub fn largest_event(&self) -> usize {
        self.shared.max_message().saturating_sub(HEADERS_ALLOWANCE)
    }

    /// How far the stream reaches, once it is known to fit; `None` where there is none, and it is to be created. Creates
    /// nothing.
    pub async fn look(&self) -> Result<Option<Bounds>, LogError> {
        let shared = &*self.shared;
        shared.connected().await?;
        match stream::look(&shared.api, &shared.settings).await? {
            None => Ok(None),
            Some(info) => {
                stream::check(&info.config, &shared.settings)?;
                shared.bounds(&info).await.map(Some)
            }
        }
    }

    pub(super) async fn open(&self) -> Result<Bounds, LogError> {
        let shared = &*self.shared;
        let epoch = shared.connected().await?;
        let info = stream::find(&shared.api, &shared.settings).await?;
        stream::check(&info.config, &shared.settings)?;
        let bounds = shared.bounds(&info).await?;
        let filter = stream::filter(&info.config, &shared.settings.prefix);
        let opened = Opened {
            epoch,
            created: info.created(),
            filter: filter.map(Arc::from),
            max_message: info.config.max_message(),
        };
        let before = shared.opened.lock().replace(opened);
        if before.is_none() {
            shared.warn_of_sizes();
        }
        shared.opened().map(|_| bounds)
    }

    pub(super) async fn bounds(&self) -> Result<Bounds, LogError> {
        let info = self.shared.info().await?;
        self.shared.bounds(&info).await
    }

    pub(super) async fn position_at(&self, sequence: u64) -> Result<Option<Position>, LogError> {
        match sequence {
            0 => Ok(None),
            sequence => self.shared.position_at(sequence).await,
        }
    }

    pub(super) async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        append::append(&self.shared, append).await
    }

    pub(super) async fn request(&self, ask: Ask) -> Result<Reply, RequestError> {
        request::request(&self.shared, ask).await
    }

    pub(super) async fn tell_replicas(&self, text: Bytes) -> Result<Vec<Bytes>, String> {
        replicas::tell(&self.shared, text).await
    }

    pub(super) async fn hear_replicas(&self, answer: impl Fn(Told<'_>) -> Option<Bytes>) {
        replicas::hear(&self.shared, answer).await;
    }

    pub(super) async fn follow(&self, after: u64) -> Result<Follow, LogError> {
        Follow::begin(&self.shared, after).await
    }

    pub(super) async fn read(
        &self,
        range: Range,
        select: &Select,
        limit: Limit,
    ) -> Result<Batch, LogError> {
        read::read(&self.shared, range, select, limit).await
    }
}

impl Shared {
    async fn connected(&self) -> Result<Epoch, LogError> {
        let connected = self.api.link.connected().await;
        connected.map_err(|failure| LogError::Unavailable(failure.to_string()))
    }

    /// What the last open found, where its connection still stands.
    fn opened(&self) -> Result<Opened, LogError> {
        let current = self.api.link.current().map_err(LogError::Unavailable)?;
        let opened = self.opened.lock().clone();
        match opened {
            Some(opened) if opened.epoch == current => Ok(opened),
            Some(_) => Err(cut()),
            None => Err(LogError::Unavailable(
                "the log has not been opened yet".to_owned(),
            )),
        }
    }

    /// That the connection and the stream are still those of `opened`, and how far the stream reaches.
    async fn still(&self, opened: &Opened) -> Result<StreamInfo, LogError> {
        let info = self.info().await?;
        self.is_still(opened, &info)?;
        Ok(info)
    }

    /// That the connection and the stream are still those of `opened`, and that the stream still fits.
    fn is_still(&self, opened: &Opened, info: &StreamInfo) -> Result<(), LogError> {
        if self.api.link.current() != Ok(opened.epoch) {
            return Err(cut());
        }
        if info.created() != opened.created {
            let stream = &self.api.stream;
            let text = format!("the stream `{stream}` was re-created");
            return Err(LogError::Unavailable(text));
        }
        stream::check(&info.config, &self.settings)
    }

    /// Takes in the limits of a stream that may have been edited.
    fn note_limits(&self, info: &StreamInfo) {
        if let Some(opened) = &mut *self.opened.lock() {
            opened.max_message = info.config.max_message();
        }
    }

    async fn info(&self) -> Result<StreamInfo, LogError> {
        let info = self.api.stream_info().await;
        info.map_err(|error| self.api.explain("describe the stream", &error))
    }

    async fn bounds(&self, info: &StreamInfo) -> Result<Bounds, LogError> {
        let last = info.state.last_seq;
        // The message itself is the better witness, where it is still there.
        let held = match info.state.messages {
            0 => None,
            _ => self.position_at(last).await?,
        };
        let told = info.state.last_time();
        Ok(Bounds {
            created: info.created(),
            first: info.state.first(),
            last: match (last, held, told) {
                (0, _, _) => Position::START,
                (_, Some(held), _) => held,
                (_, None, Some(time)) => Position::new(last, time),
                (_, None, None) => Position::before(last + 1),
            },
            event_bytes: info.state.bytes / info.state.messages.max(1),
        })
    }

    async fn position_at(&self, sequence: u64) -> Result<Option<Position>, LogError> {
        let message = self.api.message(sequence).await;
        let message = message.map_err(|error| self.api.explain("look up a message", &error))?;
        let time = message.and_then(|message| message.time());
        Ok(time.map(|time| Position::new(sequence, time)))
    }

    /// Tells where events may be larger than NATS takes them.
    fn warn_of_sizes(&self) {
        let (max_event_bytes, max_payload) = (self.max_event_bytes, self.max_message());
        if max_event_bytes > max_payload {
            tracing::warn!(
                max_event_bytes,
                max_payload,
                "--max-event-bytes is more than NATS takes (max_payload): larger events are refused with 413"
            );
        }
    }

    /// The largest message with its headers that is taken now, in bytes.
    fn max_message(&self) -> usize {
        let server = self.api.link.client().max_payload();
        let stream = self.opened.lock().as_ref().and_then(|o| o.max_message);
        stream.map_or(server, |stream| stream.min(server))
    }

    fn decoder(&self) -> Decoder {
        Decoder::new(
            self.prefix.clone(),
            self.max_event_bytes,
            self.counters.clone(),
        )
    }
}

fn cut() -> LogError {
    LogError::Unavailable("the connection to NATS was cut".to_owned())
}
