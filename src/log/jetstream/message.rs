//! Events as NATS messages, and back.
//!
//! The subject is the prefix and the feed; the payload is the data. Headers: `Event-Type` (left out for
//! `message`), `Event-Key`, `Content-Type`, `Tidings-Sender`, `Tidings-Connection`, and W3C Trace Context's
//! `traceparent` and `tracestate`, of which what is not valid is left out. CloudEvents' NATS
//! binding in its binary mode is understood: `ce-type` where there is no `Event-Type`, `ce-id` where there
//! is no `Event-Key`. What is not UTF-8 in a header reads as U+FFFD.

use crate::event::{Data, Event, Feed, Key, Message, Position, Timestamp, Trace};
use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use hashbrown::HashMap;
use percent_encoding::percent_decode_str;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Feeds that a decoder remembers, so that events of one feed share its name.
const CACHED_FEEDS: usize = 4096;
/// The longest content type that is passed on, in bytes.
const MAX_CONTENT_TYPE_BYTES: usize = 255;

const EVENT_TYPE: &str = "Event-Type";
const EVENT_KEY: &str = "Event-Key";
pub(super) const CONTENT_TYPE: &str = "Content-Type";
pub(super) const SENDER: &str = "Tidings-Sender";
pub(super) const CONNECTION: &str = "Tidings-Connection";
/// W3C Trace Context.
pub(super) const TRACE_PARENT: &str = "traceparent";
pub(super) const TRACE_STATE: &str = "tracestate";
/// What JetStream compares over the whole stream to know a repeat.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// What a log has met that it could not pass on as it was. Each event counts once for each time that it
/// is read.
#[derive(Debug, Default)]
pub struct LogCounters {
    /// Messages on a subject under the prefix that is no valid feed.
    pub skipped_subjects: AtomicU64,
    /// Events whose type was none that may be sent; they are of type `message`.
    pub dropped_types: AtomicU64,
    /// Events whose key was none that may be sent; they have none.
    pub dropped_keys: AtomicU64,
    /// Messages with headers or a subject that the NATS client can't read; what of them can be read is passed
    /// on.
    pub unreadable_messages: AtomicU64,
}

/// Where a consumer says that a message stands, in the reply subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) consumer: &'a str,
    /// Its sequence in the stream.
    pub(super) sequence: u64,
    /// Its sequence at the consumer: without jumps, or something was lost on the way.
    pub(super) delivery: u64,
    pub(super) time: Timestamp,
    /// How many more the consumer had to deliver then.
    pub(super) pending: u64,
}

impl<'a> Place<'a> {
    /// Where a message stands that came from a consumer; `None` for any other.
    ///
    /// By its reply subject, and not by its status: that a publisher can write too.
    pub(super) fn of(message: &'a async_nats::Message) -> Option<Self> {
        message.reply.as_deref().and_then(Self::parse)
    }

    /// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<delivery>.<time>.<pending>`, and the newer form with
    /// domain and account before the stream and tokens added at the end; `None` for any other subject.
    pub(super) fn parse(reply: &'a str) -> Option<Self> {
        let rest = reply.strip_prefix("$JS.ACK.")?;
        // Done for each message: one pass, and nothing is made.
        let mut dots = [rest.len(); 10];
        let mut found = 0;
        for (at, _) in rest.bytes().enumerate().filter(|&(_, byte)| byte == b'.') {
            if let Some(dot) = dots.get_mut(found) {
                *dot = at;
            }
            found += 1;
        }
        let stream = match found {
            6 => 0,
            8.. => 2,
            _ => return None,
        };
        let token = |after: usize| &rest[dots[stream + after] + 1..dots[stream + after + 1]];
        Some(Self {
            consumer: token(0),
            sequence: decimal(token(2))?,
            delivery: decimal(token(3))?,
            time: Timestamp::from_nanos(decimal(token(4))?),
            pending: decimal(token(5))?,
        })
    }
}

/// A number of up to 19 digits, which is all that a place can have.
fn decimal(text: &str) -> Option<u64> {
    let digit = |number: u64, byte: u8| match byte {
        b'0'..=b'9' => Some(number * 10 + u64::from(byte - b'0')),
        _ => None,
    };
    match text.len() {
        1..=19 => text.bytes().try_fold(0, digit),
        _ => None,
    }
}

/// A message as the stream holds it, however it was fetched.
pub(super) struct Stored<'a> {
    pub(super) subject: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) sequence: u64,
    pub(super) time: Timestamp,
}

impl<'a> Stored<'a> {
    /// A message that a consumer has brought.
    pub(super) fn delivered(message: &'a async_nats::Message, place: &Place<'_>) -> Self {
        Self {
            subject: &message.subject,
            payload: &message.payload,
            sequence: place.sequence,
            time: place.time,
        }
    }
}

/// Turns messages into events.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The prefix and its dot; empty for none.
    prefix: Arc<str>,
    max_event_bytes: usize,
    counters: Arc<LogCounters>,
    feeds: HashMap<Box<str>, Feed>,
}

impl Decoder {
    pub(super) fn new(
        prefix: Arc<str>,
        max_event_bytes: usize,
        counters: Arc<LogCounters>,
    ) -> Self {
        Self {
            prefix,
            max_event_bytes,
            counters,
            feeds: HashMap::new(),
        }
    }

    /// The event; `None` where the subject is no feed.
    pub(super) fn event<'h>(
        &mut self,
        stored: &Stored<'_>,
        headers: impl Iterator<Item = (&'h str, &'h str)>,
    ) -> Option<Arc<Event>> {
        let feed = self.feed(stored.subject)?;
        // Copied: a slice would keep the client's whole read buffer for as long as the event is kept.
        let data = match stored.payload.len() {
            bytes if bytes > self.max_event_bytes => Data::Oversize { bytes },
            _ => Data::Bytes(Bytes::copy_from_slice(stored.payload)),
        };
        let mut message = Message::new(feed, Bytes::new());
        message.data = data;
        self.apply(headers, &mut message);
        Some(Arc::new(Event {
            position: Position::new(stored.sequence, stored.time),
            time: stored.time,
            message,
        }))
    }

    fn feed(&mut self, subject: &str) -> Option<Feed> {
        // Another of the stream's subjects: not ours, and nothing to count.
        let name = subject.strip_prefix(&*self.prefix)?;
        if let Some(feed) = self.feeds.get(name) {
            return Some(feed.clone());
        }
        let valid = name.parse().ok().filter(|feed| allowed(&self.prefix, feed));
        let Some(feed) = valid else {
            count(&self.counters.skipped_subjects);
            return None;
        };
        if self.feeds.len() >= CACHED_FEEDS {
            self.feeds.clear();
        }
        self.feeds.insert(name.into(), feed.clone());
        Some(feed)
    }

    fn apply<'h>(&self, headers: impl Iterator<Item = (&'h str, &'h str)>, message: &mut Message) {
        let mut found = Headers::default();
        for (name, value) in headers {
            found.take(name, value);
        }
        match parsed(found.kind, found.cloud_kind) {
            Ok(kind) => message.kind = kind.unwrap_or_default(),
            Err(()) => count(&self.counters.dropped_types),
        }
        match parsed(found.key, found.cloud_key) {
            Ok(key) => message.key = key.filter(|key: &Key| !key.as_str().is_empty()),
            Err(()) => count(&self.counters.dropped_keys),
        }
        let text = |named: Named<'_>| {
            let value = named.map(|(_, value)| value);
            value.filter(|text| !text.is_empty()).map(Box::from)
        };
        let content_type = found.content_type.or(found.cloud_content_type);
        message.content_type =
            text(content_type.filter(|(_, value)| value.len() <= MAX_CONTENT_TYPE_BYTES));
        message.sender = text(found.sender);
        message.connection = text(found.connection);
        if let Some((_, parent)) = found.trace_parent {
            let state = found.trace_state.map(|(_, state)| state);
            message.trace = Trace::read(parent, state).map(Box::new);
        }
    }
}

/// A header's name as it was written, and its value.
type Named<'h> = Option<(&'h str, &'h str)>;

/// The headers that say something to us.
#[derive(Default)]
struct Headers<'h> {
    kind: Named<'h>,
    key: Named<'h>,
    content_type: Named<'h>,
    sender: Named<'h>,
    connection: Named<'h>,
    trace_parent: Named<'h>,
    trace_state: Named<'h>,
    cloud_kind: Named<'h>,
    cloud_key: Named<'h>,
    cloud_content_type: Named<'h>,
}

impl<'h> Headers<'h> {
    /// Of several that differ in case alone, the one that sorts first counts, on every replica.
    fn take(&mut self, name: &'h str, value: &'h str) {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let field = match name.len() {
            7 if is("ce-type") => &mut self.cloud_kind,
            5 if is("ce-id") => &mut self.cloud_key,
            18 if is("ce-datacontenttype") => &mut self.cloud_content_type,
            10 if is(EVENT_TYPE) => &mut self.kind,
            9 if is(EVENT_KEY) => &mut self.key,
            12 if is(CONTENT_TYPE) => &mut self.content_type,
            14 if is(SENDER) => &mut self.sender,
            18 if is(CONNECTION) => &mut self.connection,
            11 if is(TRACE_PARENT) => &mut self.trace_parent,
            10 if is(TRACE_STATE) => &mut self.trace_state,
            _ => return,
        };
        if field.is_none_or(|(other, _)| name < other) {
            *field = Some((name, value));
        }
    }
}

/// Our own header where there is one, and otherwise the CloudEvents attribute, percent-decoded.
fn parsed<T: FromStr>(own: Named<'_>, cloud: Named<'_>) -> Result<Option<T>, ()> {
    let text = match (own, cloud) {
        (Some((_, own)), _) => own.into(),
        (None, Some((_, cloud))) => percent_decode_str(cloud).decode_utf8().map_err(|_| ())?,
        (None, None) => return Ok(None),
    };
    text.parse().map(Some).map_err(|_| ())
}

/// Whether a feed may be a subject under `prefix`. Without a prefix it would be the subject itself, and
/// one that begins with `$` or `_` is the server's own or somebody's inbox: publishing there could
/// delete the stream. And none has U+FFFD, which stands for whatever is not UTF-8 in a subject.
pub(super) fn allowed(prefix: &str, feed: &Feed) -> bool {
    let feed = feed.as_str();
    !feed.contains(char::REPLACEMENT_CHARACTER)
        && (!prefix.is_empty() || !feed.starts_with(['$', '_']))
}

/// The headers of a message, and how many bytes they have on the wire; none where it needs none.
///
/// # Errors
/// With a text, where a header has a line end in it.
pub(super) fn headers(
    message: &Message,
    message_id: Option<&str>,
) -> Result<(Option<HeaderMap>, usize), String> {
    let kind = (!message.kind.is_default()).then(|| message.kind.as_str());
    let trace = message.trace.as_deref();
    let all = [
        (EVENT_TYPE, kind),
        (EVENT_KEY, message.key.as_ref().map(Key::as_str)),
        (CONTENT_TYPE, message.content_type.as_deref()),
        (SENDER, message.sender.as_deref()),
        (CONNECTION, message.connection.as_deref()),
        (TRACE_PARENT, trace.map(Trace::parent)),
        (TRACE_STATE, trace.and_then(Trace::state)),
        (MESSAGE_ID, message_id),
    ];
    let mut map = HeaderMap::new();
    let mut bytes = 0;
    for (name, value) in all {
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            continue;
        };
        let value: HeaderValue = value
            .parse()
            .map_err(|_| format!("its {name} has a line end in it, which no header may have"))?;
        bytes += name.len() + value.as_str().len() + ": \r\n".len();
        map.insert(HeaderName::from_static(name), value);
    }
    match bytes {
        0 => Ok((None, 0)),
        _ => Ok((Some(map), bytes + "NATS/1.0\r\n\r\n".len())),
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_of_reply_subjects_are_read() {
        let place = Place {
            consumer: "c",
            sequence: 9,
            delivery: 7,
            time: Timestamp::from_nanos(1_700_000_000_000_000_001),
            pending: 3,
        };
        let ends = "1.9.7.1700000000000000001.3";
        let old = format!("$JS.ACK.S.c.{ends}");
        let new = format!("$JS.ACK.hub.aCcT.S.c.{ends}.r4nd");
        let domainless = format!("$JS.ACK._.aCcT.S.c.{ends}");
        for text in [old, new, domainless] {
            assert_eq!(Place::parse(&text), Some(place), "{text}");
        }
        for text in [
            "",
            "$JS.ACK.S.c.1.2.3.4",
            "$JS.FC.S.c.x",
            "$JS.ACK.S.c.1.x.3.4.5",
        ] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }

    #[test]
    fn without_a_prefix_no_feed_is_a_subject_of_the_servers() {
        for name in ["$JS.API.STREAM.DELETE.X", "_INBOX.a", "$SYS"] {
            assert!(!allowed("", &name.parse().unwrap()));
            assert!(allowed("feeds.", &name.parse().unwrap()));
        }
        assert!(!allowed("feeds.", &"a.\u{fffd}".parse().unwrap()));
        assert!(allowed("", &"orders.eu".parse().unwrap()));
    }

    /// A newer replica's may be among them.
    #[test]
    fn headers_that_are_not_known_are_passed_over() {
        let stored = Stored {
            subject: "feeds.a",
            payload: b"x",
            sequence: 1,
            time: Timestamp::from_nanos(1),
        };
        let known = (EVENT_TYPE, "created");
        let alone = decoder().event(&stored, [known].into_iter());
        let beside = [("Event-Colour", "red"), known, ("Tidings-New", "\u{7f}")];
        assert_eq!(decoder().event(&stored, beside.into_iter()), alone);
        assert!(alone.is_some_and(|event| event.message.kind.as_str() == "created"));
    }

    fn decoder() -> Decoder {
        Decoder::new("feeds.".into(), 1000, Arc::default())
    }

    proptest! {
        #[test]
        fn a_place_is_read_as_it_was_written(
            numbers in prop::array::uniform4(0u64..10_u64.pow(19)), consumer in "[a-zA-Z0-9_-]{1,12}", newer in any::<bool>(),
        ) {
            let [sequence, delivery, time, pending] = numbers;
            let (before, after) = if newer { ("hub.aCcT.", ".r4nd") } else { ("", "") };
            let text = format!("$JS.ACK.{before}S.{consumer}.1.{sequence}.{delivery}.{time}.{pending}{after}");
            let time = Timestamp::from_nanos(time);
            let expected = Place { consumer: &consumer, sequence, delivery, time, pending };
            prop_assert_eq!(Place::parse(&text), Some(expected));
        }

        #[test]
        fn no_subject_breaks_the_reader_of_places(text in "(\\$JS\\.ACK\\.)?([a-z0-9é]{0,3}\\.){0,12}\\PC{0,5}") {
            let _ = Place::parse(&text);
        }

        #[test]
        fn whatever_headers_come_the_event_is_one_that_may_be_sent(
            subject in "feeds\\.(a|b|\\.|\\*|>| |\\PC){0,6}",
            headers in prop::collection::vec((
                "(?i)(event-type|event-key|content-type|tidings-sender|tidings-connection|ce-type|ce-id|ce-datacontenttype|x)",
                prop_oneof!["(hub:|error|open|a|%0A|%00|%FF|%|\r|\n|\u{0}){0,5}", "\\PC{0,20}"],
            ), 0..6),
        ) {
            let stored = Stored { subject: &subject, payload: b"x", sequence: 1, time: Timestamp::from_nanos(1) };
            let pairs = headers.iter().map(|(name, value)| (&**name, &**value));
            let event = decoder().event(&stored, pairs);
            let Some(event) = event else {
                let name = subject.strip_prefix("feeds.").unwrap();
                prop_assert!(name.parse::<Feed>().is_err() || name.contains(char::REPLACEMENT_CHARACTER));
                return Ok(());
            };
            let message = &event.message;
            prop_assert_eq!(format!("feeds.{}", message.feed), &*subject);
            prop_assert_eq!(message.kind.as_str().parse(), Ok(message.kind.clone()));
            if let Some(key) = &message.key {
                prop_assert_eq!(key.as_str().parse(), Ok(key.clone()));
            }
            let longest = message.content_type.as_ref().map_or(0, |text| text.len());
            prop_assert!(longest <= MAX_CONTENT_TYPE_BYTES);
        }
    }
}
