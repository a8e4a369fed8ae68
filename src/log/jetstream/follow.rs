//! Following: one push consumer of one's own, watched for every sign of doubt.

use super::api::StreamInfo;
use super::consumer::{Consumer, HEARTBEAT, Heard, Mode};
use super::headers::pairs;
use super::jump::Jump;
use super::message::{Decoder, Place, Stored};
use super::watch::Watch;
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
/// How often the stream is looked at while messages are fetched singly.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long a consumer may be silent: two heartbeats and a half.
const SILENCE: Duration = Duration::from_millis(HEARTBEAT.as_secs() * 2_500);

/// A follower of a [`JetStreamLog`](super::JetStreamLog).
#[derive(Debug)]
pub struct Follow {
    shared: Arc<Shared>,
    opened: Opened,
    /// `None` while messages are fetched singly.
    consumer: Option<Consumer>,
    watch: Watch,
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

impl Follow {
    pub(super) async fn begin(shared: &Arc<Shared>, after: u64) -> Result<Self, LogError> {
        let opened = shared.opened()?;
        let mut follow = Self {
            decoder: shared.decoder(),
            shared: shared.clone(),
            watch: Watch::begin(shared, &opened, after),
            opened,
            consumer: None,
            last: after,
            lost_through: 0,
            delivery: 0,
            pending: 0,
            batch: Batch::default(),
            ready: VecDeque::new(),
            began: false,
            owed: None,
            heard: Instant::now(),
            failed: None,
        };
        if !shared.is_cautious().await? {
            let info = follow.consume().await?;
            if follow.pending == 0 {
                follow.batch.look = true;
                follow.settle(info.state.first());
            }
        }
        Ok(follow)
    }

    /// Gets a consumer that goes on where this is.
    async fn consume(&mut self) -> Result<StreamInfo, LogError> {
        let (shared, epoch) = (&self.shared, self.opened.epoch);
        let filter = self.opened.filter.as_deref();
        let consumer = Consumer::create(shared, Mode::Push, epoch, self.last, filter).await;
        let consumer = consumer.map_err(|error| shared.api.explain("give a consumer", &error))?;
        match self.still_there().await {
            Ok(info) => {
                self.delivery = 0;
                self.pending = consumer.pending;
                self.heard = Instant::now();
                self.consumer = Some(consumer);
                Ok(info)
            }
            Err(error) => {
                consumer.give_up(shared, self.last, filter);
                Err(error)
            }
        }
    }

    /// The stream, where it is the one that was opened, and reaches as far as this has followed it.
    async fn still_there(&self) -> Result<StreamInfo, LogError> {
        let info = self.shared.still(&self.opened).await?;
        let (end, last) = (info.state.last_seq, self.last);
        match end >= last {
            true => Ok(info),
            false => Err(LogError::Unavailable(format!(
                "the stream `{}` ends at {end}, before {last}, from where it was to be followed: it was rolled back",
                self.shared.api.stream
            ))),
        }
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
            match self.consumer {
                Some(_) => self.fill().await?,
                None => self.fill_singly().await?,
            }
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
            if self.take_ready() {
                self.heard = Instant::now();
                self.watch.heard(self.last);
            }
            if let Some(error) = self.watch.doubt() {
                self.fail(error);
            }
            if self.batch.messages > 0 || self.batch.look {
                return Ok(());
            }
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            let Some(consumer) = self.consumer.as_mut().filter(|_| self.owed.is_none()) else {
                return Ok(());
            };
            let heard = tokio::select! {
                biased;
                heard = consumer.hear(self.heard + SILENCE) => heard,
                () = self.watch.doubted() => continue,
            };
            self.heard = Instant::now();
            self.take(heard);
            self.watch.heard(self.last);
        }
    }

    /// Takes what has come already, and returns whether anything has. What came before the connection was cut is
    /// still good, as long as the consumer's own sequence goes on; and only so the place of a message that cuts
    /// it each time is known.
    fn take_ready(&mut self) -> bool {
        let mut taken = false;
        let stands = self.shared.api.link.current() == Ok(self.opened.epoch);
        while self.batch.messages < BATCH_MESSAGES
            && self.batch.bytes < BATCH_BYTES
            && self.owed.is_none()
            && self.failed.is_none()
            && let Some(consumer) = &mut self.consumer
        {
            match consumer.ready() {
                Some(heard) => self.take(heard),
                None if stands => break,
                None => self.take(Heard::Cut),
            }
            taken = true;
        }
        taken
    }

    /// The same without a consumer, until one may be used again; see `singly`.
    async fn fill_singly(&mut self) -> Result<(), LogError> {
        if !self.shared.is_cautious().await? {
            let info = self.consume().await?;
            self.batch.look = !self.began && self.pending == 0 && info.state.last_seq == self.last;
            return Ok(());
        }
        let end = self.still_there().await?.state.last_seq;
        let singles = self.shared.singles(self.last, end, None).await?;
        for single in &singles {
            self.arrived(&single.stored(), single.headers());
        }
        self.watch.heard(self.last);
        match singles.is_empty() {
            false => self.pending = end.saturating_sub(self.last),
            true => self.pending = 0,
        }
        if self.batch.messages == 0 {
            match self.began {
                false => self.batch.look = true,
                true => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
        Ok(())
    }

    fn take(&mut self, heard: Heard) {
        let message = match heard {
            Heard::Message(message) => message,
            Heard::Cut => {
                self.note_cut();
                return self.fail(cut());
            }
            Heard::Silence => {
                return self.doubt(&format!("was silent for {} s", SILENCE.as_secs()));
            }
        };
        let place = Place::of(&message);
        if place.is_none() && message.status.is_some() {
            return self.take_status(message);
        }
        // What others send to the inbox is none of ours.
        let Some(place) = place.filter(|place| place.consumer == self.consumer_name()) else {
            return;
        };
        if place.delivery != self.delivery + 1 {
            let (ours, theirs) = (self.delivery, place.delivery);
            return self.doubt(&format!("went from delivery {ours} to {theirs}"));
        }
        self.delivery = place.delivery;
        self.pending = place.pending;
        let stored = Stored::delivered(&message, &place);
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
                    self.note_cut();
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

    fn consumer_name(&self) -> &str {
        self.consumer.as_ref().map_or("", Consumer::name)
    }

    fn note_cut(&self) {
        let filter = self.opened.filter.as_deref();
        self.shared.caution.cut_after(self.last, filter);
    }

    fn doubt(&mut self, what: &str) {
        let text = format!("the consumer `{}` {what}", self.consumer_name());
        self.fail(LogError::Unavailable(text));
    }

    fn fail(&mut self, error: LogError) {
        self.failed.get_or_insert(error);
    }
}
