//! Following: one push consumer of one's own, watched for every sign of doubt.

use super::consumer::{Consumer, HEARTBEAT, Heard, Mode};
use super::message::{Decoder, Place, Stored, pairs};
use super::{Opened, Shared, cut};
use crate::event::Event;
use crate::log::{Followed, LogError};
use async_nats::{Message, StatusCode, Subject};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many messages one step brings at most.
const BATCH_MESSAGES: usize = 1024;
/// After how many bytes of data a step ends.
const BATCH_BYTES: usize = 4 << 20;
/// How long a consumer may be silent: two heartbeats and a half.
const SILENCE: Duration = Duration::from_millis(HEARTBEAT.as_secs() * 2_500);

/// A follower of a [`JetStreamLog`](super::JetStreamLog).
#[derive(Debug)]
pub struct Follow {
    shared: Arc<Shared>,
    opened: Opened,
    consumer: Consumer,
    decoder: Decoder,
    /// The last sequence that came.
    last: u64,
    /// Up to here all is told as lost; what comes of it nevertheless is left out.
    lost_through: u64,
    /// The last sequence of the consumer's own.
    delivery: u64,
    pending: u64,
    batch: Batch,
    ready: VecDeque<Followed>,
    /// Whether the first step has been answered, if only with nothing.
    began: bool,
    /// A flow control request that is answered once what came before it has been taken.
    owed: Option<Subject>,
    heard: Instant,
    failed: Option<LogError>,
}

/// What has come and is not ready yet.
#[derive(Debug, Default)]
struct Batch {
    messages: usize,
    bytes: usize,
    events: Vec<Arc<Event>>,
    jumps: Vec<Jump>,
    /// Whether to look if all that was to come has expired.
    look: bool,
}

/// A stretch of the stream that the consumer passed over: deleted, on other subjects, or expired.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jump {
    /// How many events were there before.
    pub(super) at: usize,
    /// The sequences that it lies between.
    pub(super) after: u64,
    pub(super) to: u64,
}

impl Jump {
    /// Whether retention has reached into it, where the stream begins at `first` afterwards. Then there may have
    /// been events in it.
    pub(super) fn doubtful(&self, first: u64) -> bool {
        self.after + 1 < first
    }

    /// Before which sequence events may have been lost in it.
    pub(super) fn lost_before(&self, first: u64) -> u64 {
        self.to.min(first)
    }
}

impl Follow {
    pub(super) async fn begin(shared: &Arc<Shared>, after: u64) -> Result<Self, LogError> {
        let opened = shared.opened()?;
        let failed = |error| shared.api.explain("give a consumer", &error);
        let filter = opened.filter.as_deref();
        // See `suspects`: this one message is fetched without the client's own parser.
        let suspect = match shared.suspects.between(after, after + 1) {
            true => shared.api.next_message(after + 1, filter).await,
            false => Ok(None),
        };
        let suspect = suspect.map_err(failed)?;
        let start = suspect.as_ref().map_or(after, |message| message.seq);
        let consumer = Consumer::create(&shared.api, Mode::Push, opened.epoch, start, filter).await;
        // The first message may come before the answer, and cut the connection.
        if consumer.is_err() {
            shared.suspects.cut_after(start);
        }
        let consumer = consumer.map_err(failed)?;
        let info = shared.still(&opened).await?;
        if info.state.last_seq < after {
            return Err(LogError::Unavailable(format!(
                "the stream `{}` ends at {}, before {after}, from where it was to be followed: it was rolled back",
                shared.api.stream, info.state.last_seq
            )));
        }
        let mut follow = Self {
            decoder: shared.decoder(),
            shared: shared.clone(),
            opened,
            last: after,
            lost_through: 0,
            delivery: 0,
            pending: consumer.pending,
            consumer,
            batch: Batch::default(),
            ready: VecDeque::new(),
            began: false,
            owed: None,
            heard: Instant::now(),
            failed: None,
        };
        if let Some(message) = suspect
            && let Some(time) = message.time()
        {
            let headers = message.headers();
            let payload = message.payload();
            let stored = Stored {
                subject: &message.subject,
                payload: &payload,
                sequence: message.seq,
                time,
            };
            let headers = headers.iter().map(|(name, value)| (&**name, &**value));
            follow.arrived(&stored, headers);
        } else if follow.pending == 0 {
            follow.batch.look = true;
            follow.settle(info.state.first());
        }
        Ok(follow)
    }

    pub(in crate::log) async fn next(&mut self) -> Result<Followed, LogError> {
        loop {
            if let Some(followed) = self.ready.pop_front() {
                return Ok(followed);
            }
            // By calling again, the caller says that it is done with what came before.
            if let Some(subject) = self.owed.clone() {
                self.shared
                    .api
                    .link
                    .say(subject.to_string(), Bytes::new())
                    .await;
                self.owed = None;
            }
            self.fill().await?;
            let first = match self.batch.jumps.is_empty() && !self.batch.look {
                true => 0,
                false => self.first_held().await?,
            };
            self.settle(first);
        }
    }

    /// Waits until something has come. Cancel-safe, as all that it does is to add to the batch.
    async fn fill(&mut self) -> Result<(), LogError> {
        loop {
            // What came before the connection was cut is still good, as long as the consumer's own sequence
            // goes on; and only so the place of a message that cuts it each time is known.
            let stands = self.shared.api.link.current() == Ok(self.opened.epoch);
            while self.batch.messages < BATCH_MESSAGES
                && self.batch.bytes < BATCH_BYTES
                && self.owed.is_none()
                && self.failed.is_none()
            {
                match self.consumer.ready() {
                    Some(heard) => self.take(heard),
                    None if stands => break,
                    None => self.take(Heard::Cut),
                }
            }
            if self.batch.messages > 0 || self.batch.look {
                return Ok(());
            }
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            if self.owed.is_some() {
                return Ok(());
            }
            let heard = self.consumer.hear(self.heard + SILENCE).await;
            self.take(heard);
        }
    }

    fn take(&mut self, heard: Heard) {
        let message = match heard {
            Heard::Message(message) => message,
            Heard::Cut => {
                self.shared.suspects.cut_after(self.last);
                return self.fail(cut());
            }
            Heard::Silence => {
                return self.doubt(&format!("was silent for {} s", SILENCE.as_secs()));
            }
        };
        self.heard = Instant::now();
        // By its reply subject, and not by its status: that a publisher can write too.
        let place = message.reply.as_deref().and_then(Place::parse);
        if place.is_none() && message.status.is_some() {
            return self.take_status(message);
        }
        // What others send to the inbox is none of ours.
        let Some(place) = place.filter(|place| place.consumer == self.consumer.name()) else {
            return;
        };
        if place.delivery != self.delivery + 1 {
            let (ours, theirs) = (self.delivery, place.delivery);
            return self.doubt(&format!("went from delivery {ours} to {theirs}"));
        }
        self.delivery = place.delivery;
        self.pending = place.pending;
        let stored = Stored {
            subject: &message.subject,
            payload: &message.payload,
            sequence: place.sequence,
            time: place.time,
        };
        match &message.headers {
            None => self.arrived(&stored, std::iter::empty()),
            Some(headers) => self.arrived(&stored, pairs(headers)),
        }
    }

    fn arrived<'h>(
        &mut self,
        stored: &Stored<'_>,
        headers: impl Iterator<Item = (&'h str, &'h str)>,
    ) {
        let sequence = stored.sequence;
        if sequence <= self.lost_through {
            return;
        }
        if sequence <= self.last {
            let last = self.last;
            return self.doubt(&format!("went back from sequence {last} to {sequence}"));
        }
        if sequence > self.last + 1 {
            self.batch.jumps.push(Jump {
                at: self.batch.events.len(),
                after: self.last,
                to: sequence,
            });
        }
        self.last = sequence;
        self.batch.messages += 1;
        self.batch.bytes += stored.payload.len();
        let event = self.decoder.event(stored, headers);
        self.batch.events.extend(event);
    }

    /// Heartbeats, flow control, and the consumer's end.
    fn take_status(&mut self, message: Message) {
        if message.status != Some(StatusCode::IDLE_HEARTBEAT) {
            let text = message.description.as_deref().unwrap_or("no reason given");
            return self.doubt(&format!("was ended by NATS: {text}"));
        }
        if message.reply.is_some() {
            self.owed = message.reply;
            return;
        }
        let header = |name: &'static str| {
            let headers = message.headers.as_ref()?;
            headers.get(name).map(|value| value.as_str())
        };
        let sent = header("Nats-Last-Consumer").and_then(|text| text.parse::<u64>().ok());
        if let Some(sent) = sent.filter(|&sent| sent > self.delivery) {
            let ours = self.delivery;
            return self.doubt(&format!("sent {sent} messages, of which {ours} came"));
        }
        // It waits for an answer that was lost, or is owed still.
        if let Some(subject) = header("Nats-Consumer-Stalled") {
            self.owed = Some(subject.into());
        }
        self.batch.look |= !self.began;
    }

    /// The first sequence that the stream holds, looked up after the batch has come. Where that can't be asked
    /// any more, the batch ends before its first jump.
    async fn first_held(&mut self) -> Result<u64, LogError> {
        match self.shared.still(&self.opened).await {
            Ok(info) => Ok(info.state.first()),
            Err(error) => {
                let batch = std::mem::take(&mut self.batch);
                if let Some(jump) = batch.jumps.first() {
                    self.batch.events = batch.events;
                    self.batch.events.truncate(jump.at);
                    self.last = jump.after;
                }
                if self.shared.api.link.current() != Ok(self.opened.epoch) {
                    self.shared.suspects.cut_after(self.last);
                }
                self.fail(error.clone());
                match self.batch.events.is_empty() {
                    true => Err(error),
                    false => Ok(0),
                }
            }
        }
    }

    /// Makes the batch ready, cut where events may have been lost: the stream begins at `first`.
    fn settle(&mut self, first: u64) {
        let mut batch = std::mem::take(&mut self.batch);
        if batch.look && batch.messages == 0 && self.last + 1 < first {
            let (at, after) = (batch.events.len(), self.last);
            batch.jumps.push(Jump {
                at,
                after,
                to: first,
            });
            self.last = first - 1;
            self.lost_through = self.last;
        }
        let mut lost_before = None;
        let mut taken = 0;
        let mut events = batch.events.into_iter();
        let total = events.len();
        let step = |lost_before, events: Vec<_>, taken| Followed {
            lost_before,
            events,
            pending: self.pending + (total - taken) as u64,
        };
        for jump in batch.jumps.iter().filter(|jump| jump.doubtful(first)) {
            let before: Vec<_> = events.by_ref().take(jump.at - taken).collect();
            taken = jump.at;
            if lost_before.is_some() || !before.is_empty() {
                self.ready.push_back(step(lost_before, before, taken));
            }
            lost_before = Some(jump.lost_before(first));
        }
        let rest: Vec<_> = events.collect();
        let first_answer = !self.began && (batch.look || self.pending == 0);
        if lost_before.is_some() || !rest.is_empty() || first_answer {
            self.ready.push_back(step(lost_before, rest, total));
            self.began = true;
        }
    }

    fn doubt(&mut self, what: &str) {
        let consumer = self.consumer.name();
        let text = format!("the consumer `{consumer}` {what}");
        self.fail(LogError::Unavailable(text));
    }

    fn fail(&mut self, error: LogError) {
        self.failed.get_or_insert(error);
    }
}
