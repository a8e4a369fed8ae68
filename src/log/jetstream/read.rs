//! Reading a range: one pull consumer, which sends no more than is asked for.

use super::consumer::{Consumer, Heard, Mode};
use super::headers::pairs;
use super::jump::Jump;
use super::message::{Decoder, Place, Stored};
use super::{Opened, Shared, cut};
use crate::event::Event;
use crate::log::{Batch, Limit, LogError, Range, Select};
use async_nats::{Message, StatusCode};
use std::sync::Arc;
use tokio::time::Instant;

/// How many messages are asked for at once at most.
const PULL_MESSAGES: u64 = 4096;
/// The least that is asked for, in bytes, so that the end of a limit is not reached in tiny steps.
const PULL_BYTES: usize = 64 << 10;

/// A read under way.
struct Reading<'a> {
    shared: &'a Shared,
    opened: Opened,
    range: Range,
    filter: Option<String>,
    limit: Limit,
    decoder: Decoder,
    events: Vec<Arc<Event>>,
    bytes: usize,
    jumps: Vec<Jump>,
    /// The last sequence that came.
    last: u64,
    /// Where the read is complete, and what it was complete through.
    through: Option<u64>,
}

/// What a request for messages came to.
enum Pulled {
    /// All or some of them; more may be asked for.
    Some,
    /// The next message is over the size that was allowed for.
    TooLarge,
}

pub(super) async fn read(
    shared: &Shared,
    range: Range,
    select: &Select,
    limit: Limit,
) -> Result<Batch, LogError> {
    let opened = shared.opened()?;
    let filter = match select {
        // Not filtered by the prefix: on a million messages 2.9 takes 400 ms to begin with a wildcard.
        Select::All => None,
        Select::Feed(feed) => Some(format!("{}{feed}", shared.prefix)),
    };
    let mut reading = Reading {
        decoder: shared.decoder(),
        shared,
        opened,
        range,
        filter,
        limit,
        events: Vec::new(),
        bytes: 0,
        jumps: Vec::new(),
        last: range.after,
        through: (range.after >= range.through).then_some(range.through),
    };
    if reading.through.is_none() {
        match shared.is_cautious().await? {
            true => reading.fetch_singly().await?,
            false => reading.pull_all().await?,
        }
    }
    reading.finish().await
}

impl Reading<'_> {
    async fn pull_all(&mut self) -> Result<(), LogError> {
        let filter = self.filter.as_deref();
        let shared = self.shared;
        let consumer =
            Consumer::create(shared, Mode::Pull, self.opened.epoch, self.last, filter).await;
        let mut consumer =
            consumer.map_err(|error| shared.api.explain("give a consumer", &error))?;
        if consumer.pending == 0 {
            self.look_beyond().await?;
        }
        let mut delivery = 0;
        let mut too_large = false;
        while self.through.is_none() {
            let messages = match too_large {
                true => 1,
                false => self.wanted(),
            };
            let bytes = self.limit.bytes.saturating_sub(self.bytes).max(PULL_BYTES);
            consumer.pull(messages, (!too_large).then_some(bytes)).await;
            let pulled = self.pull(&mut consumer, messages, &mut delivery).await?;
            too_large = matches!(pulled, Pulled::TooLarge);
        }
        Ok(())
    }

    /// How many messages can be of use at most.
    fn wanted(&self) -> usize {
        let events = self.limit.events.saturating_sub(self.events.len()).max(1);
        let stretch = self.range.through - self.last;
        let messages = (events as u64).min(PULL_MESSAGES).min(stretch);
        usize::try_from(messages).unwrap_or(usize::MAX)
    }

    /// Takes what comes to one request for `wanted` messages.
    async fn pull(
        &mut self,
        consumer: &mut Consumer,
        wanted: usize,
        delivery: &mut u64,
    ) -> Result<Pulled, LogError> {
        let before = *delivery;
        while *delivery < before + wanted as u64 && self.through.is_none() {
            let until = Instant::now() + self.shared.api.link.timeout;
            let message = match consumer.hear(until).await {
                Heard::Message(message) => message,
                Heard::Cut => {
                    self.shared
                        .caution
                        .cut_after(self.last, self.filter.as_deref());
                    return Err(cut());
                }
                Heard::Silence => return self.silence().await,
            };
            let delivered = Place::of(&message).is_some();
            let status = message.status.filter(|_| !delivered);
            match status.map(|status| pull_status(status, &message)) {
                None => self.take(consumer, &message, delivery).await?,
                Some(Status::Nothing) => {}
                Some(Status::Over) if *delivery == before => return Ok(Pulled::TooLarge),
                Some(Status::Over | Status::Complete) => return Ok(Pulled::Some),
                Some(Status::Expired) => return self.silence().await,
                Some(Status::Ended(text)) => return Err(self.doubt(&text)),
            }
        }
        Ok(Pulled::Some)
    }

    async fn take(
        &mut self,
        consumer: &Consumer,
        message: &Message,
        delivery: &mut u64,
    ) -> Result<(), LogError> {
        // What others send to the inbox is none of ours.
        let place = Place::of(message).filter(|place| place.consumer == consumer.name());
        let Some(place) = place else {
            return Ok(());
        };
        *delivery += 1;
        if place.delivery != *delivery {
            return Err(self.doubt("its consumer skipped a message"));
        }
        let stored = Stored::delivered(message, &place);
        match &message.headers {
            None => self.arrived(&stored, std::iter::empty()),
            Some(headers) => self.arrived(&stored, pairs(headers)),
        }
        match place.pending == 0 && self.through.is_none() {
            true => self.look_beyond().await,
            false => Ok(()),
        }
    }

    fn arrived<'h>(
        &mut self,
        stored: &Stored<'_>,
        headers: impl Iterator<Item = (&'h str, &'h str)>,
    ) {
        let sequence = stored.sequence;
        if sequence > self.range.through {
            return self.nothing_more();
        }
        if sequence > self.last + 1 {
            self.jump(sequence);
        }
        self.last = sequence;
        if let Some(event) = self.decoder.event(stored, headers) {
            self.bytes += event.message.heap_bytes();
            self.events.push(event);
        }
        let full = self.events.len() >= self.limit.events || self.bytes >= self.limit.bytes;
        if full || sequence == self.range.through {
            self.through = Some(sequence);
        }
    }

    fn jump(&mut self, to: u64) {
        self.jumps.push(Jump {
            at: self.events.len(),
            after: self.last,
            to,
        });
    }

    /// The range has nothing after the last message that came.
    fn nothing_more(&mut self) {
        if self.last < self.range.through {
            self.jump(self.range.through + 1);
        }
        self.through = Some(self.range.through);
    }

    /// Asks the stream's leader whether anything more is in the range: a consumer's count of what is pending may
    /// be wrong, and that nothing comes means nothing.
    async fn look_beyond(&mut self) -> Result<(), LogError> {
        let api = &self.shared.api;
        let filter = self.filter.as_deref();
        let found = api.next_message(self.last + 1, filter).await;
        match found.map_err(|error| api.explain("look up a message", &error))? {
            Some(message) if message.seq <= self.range.through => {}
            _ => self.nothing_more(),
        }
        Ok(())
    }

    async fn silence(&mut self) -> Result<Pulled, LogError> {
        self.look_beyond().await?;
        match self.through {
            Some(_) => Ok(Pulled::Some),
            None => Err(self.doubt("nothing came in time, though there is more")),
        }
    }

    /// Takes one step without a consumer; see `singly`.
    async fn fetch_singly(&mut self) -> Result<(), LogError> {
        let through = self.range.through;
        let filter = self.filter.as_deref();
        let singles = self.shared.singles(self.last, through, filter).await?;
        if singles.is_empty() {
            self.nothing_more();
        }
        for single in &singles {
            self.arrived(&single.stored(), single.headers());
            if self.through.is_some() {
                break;
            }
        }
        self.through.get_or_insert(self.last);
        Ok(())
    }

    /// What was read, less what lies before a stretch from which retention may have taken something meanwhile.
    async fn finish(mut self) -> Result<Batch, LogError> {
        // After everything has come: retention may overtake a read at any point of it.
        let info = self.shared.still(&self.opened).await?;
        let held = info.state.first();
        let mut jumps = self.jumps.iter().rev();
        let first = match jumps.find(|jump| jump.doubtful(held)) {
            Some(jump) => {
                self.events.drain(..jump.at);
                jump.lost_before(held)
            }
            None => held.min(self.range.after + 1),
        };
        Ok(Batch {
            events: self.events,
            through: self.through.unwrap_or(self.last),
            first,
            created: info.created(),
        })
    }

    fn doubt(&self, what: &str) -> LogError {
        let Range { after, through } = self.range;
        LogError::Unavailable(format!(
            "the range from {after} to {through} could not be read: {what}"
        ))
    }
}

enum Status {
    /// Says nothing about this request.
    Nothing,
    /// The next message is over the bytes that were asked for.
    Over,
    /// No more is coming for this request.
    Complete,
    /// The request was given up by the server.
    Expired,
    /// The consumer is gone, or goes.
    Ended(String),
}

fn pull_status(status: StatusCode, message: &Message) -> Status {
    let text = message.description.as_deref().unwrap_or("no reason given");
    let left = || {
        let headers = message.headers.as_ref()?;
        headers.get("Nats-Pending-Messages")?.as_str().parse().ok()
    };
    match status {
        StatusCode::IDLE_HEARTBEAT => Status::Nothing,
        StatusCode::NOT_FOUND | StatusCode::TIMEOUT => Status::Expired,
        _ if text.contains("MaxBytes") => Status::Over,
        // Said also of a request that brought all its messages, maybe only when the next was made.
        _ if text.contains("Batch Completed") => match left() {
            Some(0u64) => Status::Nothing,
            _ => Status::Complete,
        },
        _ => Status::Ended(format!("NATS ended its consumer: {text}")),
    }
}
