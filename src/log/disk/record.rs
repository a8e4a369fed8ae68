//! What stands on disk, sealed: a CRC-32 over the sequence that it belongs to and its bytes, before them.
//!
//! So neither a changed byte nor a record in the place of another is ever taken for what was stored. The
//! bytes are in postcard's form (<https://postcard.jamesmunns.com/wire-format>).

use crate::event::{Data, Event, Message, Position, Timestamp, Trace};
use bytes::Bytes;
use crc32fast::Hasher;
use serde::{Deserialize, Serialize};

const SEAL: usize = size_of::<u32>();

/// An event, but for its sequence, which is its key, and its data, which come after this.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    time: u64,
    feed: &'a str,
    kind: Option<&'a str>,
    key: Option<&'a str>,
    content_type: Option<&'a str>,
    sender: Option<&'a str>,
    connection: Option<&'a str>,
    rest: Rest<'a>,
}

/// What is said of few events. The order of these is the number of each on disk: the first two stand where records once
/// had an optional size, and are written as that was.
#[derive(Serialize, Deserialize)]
enum Rest<'a> {
    /// Nothing.
    Nothing,
    /// How large data were that are left out, being over the limit for one event.
    Oversize(u64),
    /// The trace that it is a part of: `traceparent` and `tracestate`.
    Traced(&'a str, Option<&'a str>),
}

/// A value with its seal.
pub(super) fn seal<T: Serialize>(sequence: u64, value: &T) -> Vec<u8> {
    sealed(sequence, value, &[])
}

/// A value whose seal is whole; the rest is what came after it.
fn open<'a, T: Deserialize<'a>>(sequence: u64, bytes: &'a [u8]) -> Option<(T, &'a [u8])> {
    let (seal, body) = bytes.split_first_chunk::<SEAL>()?;
    if u32::from_le_bytes(*seal) != checksum(sequence, body) {
        return None;
    }
    postcard::take_from_bytes(body).ok()
}

/// A value that was sealed for this sequence; `None` if it is damaged.
pub(super) fn unseal<'a, T: Deserialize<'a>>(sequence: u64, bytes: &'a [u8]) -> Option<T> {
    open(sequence, bytes).map(|(value, _)| value)
}

/// An event as it is stored.
pub(super) fn encode(sequence: u64, time: Timestamp, message: &Message) -> Vec<u8> {
    let (data, rest) = match (&message.data, &message.trace) {
        (Data::Bytes(data), None) => (data.as_ref(), Rest::Nothing),
        (Data::Bytes(data), Some(trace)) => {
            (data.as_ref(), Rest::Traced(trace.parent(), trace.state()))
        }
        (Data::Oversize { bytes }, _) => (&[][..], Rest::Oversize(*bytes as u64)),
    };
    let head = Head {
        time: time.nanos(),
        feed: message.feed.as_str(),
        kind: (!message.kind.is_default()).then_some(message.kind.as_str()),
        key: message.key.as_ref().map(|key| key.as_str()),
        content_type: message.content_type.as_deref(),
        sender: message.sender.as_deref(),
        connection: message.connection.as_deref(),
        rest,
    };
    sealed(sequence, &head, data)
}

/// The event that was stored at this sequence, where its feed is `wanted`; `None` if it is damaged.
pub(super) fn decode_if(
    sequence: u64,
    bytes: &[u8],
    wanted: impl FnOnce(&str) -> bool,
) -> Option<Option<Event>> {
    let (head, data) = open::<Head<'_>>(sequence, bytes)?;
    if !wanted(head.feed) {
        return Some(None);
    }
    let time = Timestamp::from_nanos(head.time);
    let message = Message {
        feed: head.feed.parse().ok()?,
        kind: head.kind.unwrap_or_default().parse().ok()?,
        key: head.key.map(str::parse).transpose().ok()?,
        content_type: head.content_type.map(Box::from),
        sender: head.sender.map(Box::from),
        connection: head.connection.map(Box::from),
        trace: match head.rest {
            Rest::Traced(parent, state) => Trace::read(parent, state).map(Box::new),
            Rest::Nothing | Rest::Oversize(_) => None,
        },
        data: match head.rest {
            Rest::Nothing | Rest::Traced(..) => Data::Bytes(Bytes::copy_from_slice(data)),
            Rest::Oversize(bytes) => Data::Oversize {
                bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            },
        },
    };
    Some(Some(Event {
        position: Position::new(sequence, time),
        time,
        message,
    }))
}

/// When the event was stored that stands at this sequence; `None` if it is damaged.
pub(super) fn time(sequence: u64, bytes: &[u8]) -> Option<Timestamp> {
    let (head, _) = open::<Head<'_>>(sequence, bytes)?;
    Some(Timestamp::from_nanos(head.time))
}

fn sealed<T: Serialize>(sequence: u64, value: &T, data: &[u8]) -> Vec<u8> {
    let bytes = Vec::with_capacity(SEAL + 128 + data.len());
    let mut bytes = postcard::to_extend(value, with_room(bytes)).expect("a Vec takes all");
    bytes.extend_from_slice(data);
    let seal = checksum(sequence, &bytes[SEAL..]);
    bytes[..SEAL].copy_from_slice(&seal.to_le_bytes());
    bytes
}

/// Room for the seal.
fn with_room(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(SEAL, 0);
    bytes
}

fn checksum(sequence: u64, body: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&sequence.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(sequence: u64, bytes: &[u8]) -> Option<Event> {
        decode_if(sequence, bytes, |_| true).flatten()
    }

    fn message() -> impl Strategy<Value = Message> {
        let text = || proptest::option::of("[a-z]{1,20}");
        let data = proptest::collection::vec(any::<u8>(), 0..300);
        let trace = proptest::option::of("00-[a-f]{32}-[1-9]{16}-01");
        ("[a-z]{1,9}", text(), text(), text(), text(), trace, data).prop_map(
            |(feed, kind, key, content_type, sender, trace, data)| Message {
                feed: feed.parse().unwrap(),
                kind: kind
                    .as_deref()
                    .unwrap_or_default()
                    .parse()
                    .unwrap_or_default(),
                key: key.map(|key| key.parse().unwrap()),
                content_type: content_type.map(Box::from),
                connection: sender.clone().map(Box::from),
                sender: sender.map(Box::from),
                trace: trace.and_then(|text| Trace::read(&text, Some("a=1")).map(Box::new)),
                data: Data::Bytes(data.into()),
            },
        )
    }

    proptest! {
        #[test]
        fn an_event_is_read_as_it_was_stored(
            message in message(), sequence in 1..u64::MAX, time in any::<u64>(),
        ) {
            let time = Timestamp::from_nanos(time);
            let bytes = encode(sequence, time, &message);
            let position = Position::new(sequence, time);
            prop_assert_eq!(decode(sequence, &bytes), Some(Event { position, time, message }));
        }

        #[test]
        fn a_changed_byte_is_noticed_wherever_it_stands(
            message in message(), at in any::<proptest::sample::Index>(), change in 1..=u8::MAX,
        ) {
            let mut bytes = encode(7, Timestamp::from_nanos(1), &message);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert_eq!(decode(7, &bytes), None);
        }

        #[test]
        fn a_part_of_a_record_is_none(message in message(), cut in any::<proptest::sample::Index>()) {
            let bytes = encode(7, Timestamp::from_nanos(1), &message);
            prop_assert_eq!(decode(7, &bytes[..cut.index(bytes.len())]), None);
        }

        #[test]
        fn a_record_is_none_in_the_place_of_another(message in message(), other in 8..u64::MAX) {
            let bytes = encode(7, Timestamp::from_nanos(1), &message);
            prop_assert_eq!(decode(other, &bytes), None);
        }
    }

    /// As records were before there were traces, which one without a trace still is.
    #[derive(Serialize)]
    struct Before<'a> {
        time: u64,
        feed: &'a str,
        kind: Option<&'a str>,
        key: Option<&'a str>,
        content_type: Option<&'a str>,
        sender: Option<&'a str>,
        connection: Option<&'a str>,
        oversize: Option<u64>,
    }

    #[test]
    fn records_from_before_there_were_traces_are_read_and_written_alike() {
        for oversize in [None, Some(7)] {
            let mut message = Message::new("a.b".parse().unwrap(), "1");
            message.sender = Some("ann".into());
            let mut data = &b"1"[..];
            if let Some(bytes) = oversize {
                (message.data, data) = (Data::Oversize { bytes }, b"");
            }
            let before = Before {
                time: 5,
                feed: "a.b",
                kind: None,
                key: None,
                content_type: None,
                sender: Some("ann"),
                connection: None,
                oversize: oversize.map(|bytes| bytes as u64),
            };
            let bytes = sealed(7, &before, data);
            assert_eq!(bytes, encode(7, Timestamp::from_nanos(5), &message));
            assert_eq!(decode(7, &bytes).unwrap().message, message);
        }
    }

    #[test]
    fn an_event_over_the_limit_keeps_its_size() {
        let mut message = Message::new("a".parse().unwrap(), "");
        message.data = Data::Oversize { bytes: 7 };
        let stored = decode(1, &encode(1, Timestamp::from_nanos(1), &message));
        assert_eq!(stored.unwrap().message, message);
    }
}
