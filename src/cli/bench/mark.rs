//! The mark in each event's data, and how it is found again in the bytes of a stream.
//!
//! A mark is so many bytes that need no escaping in SSE, JSON and URLs. The scanner looks for it wherever it
//! may be, and parses nothing else: any server's events will do, as long as it sends a mark in one piece.

use memchr::memmem::Finder;

const MAGIC: &[u8] = b"~tb~";
/// The length of a mark in bytes: the least that a payload has.
pub(super) const MARK_BYTES: usize = 33;
/// What a stream may hold back of a mark that goes on in the next read.
pub(super) const MAX_TAIL: usize = MARK_BYTES - 1;

/// What an event tells about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Tells this run's events from those of others.
    pub(super) run: u32,
    /// The feed's number.
    pub(super) feed: u32,
    /// The publisher's number.
    pub(super) publisher: u32,
    /// Which of this publisher's events on this feed it is, from 1 on.
    pub(super) number: u32,
    /// When it was sent, in microseconds since the run began.
    pub(super) sent: u64,
}

/// The bounds of what a mark can hold.
pub(super) const MAX_FEEDS: u32 = 1 << 20;
pub(super) const MAX_PUBLISHERS: u32 = 1 << 12;
pub(super) const MAX_RUN: u32 = 1 << 16;
pub(super) const MAX_NUMBER: u32 = 1 << 28;

impl Mark {
    /// A payload of `size` bytes, or as many as a mark needs.
    pub(super) fn payload(&self, size: usize) -> String {
        let Self {
            run,
            feed,
            publisher,
            number,
            sent,
        } = self;
        let mut text = format!("~tb~{run:04x}{feed:05x}{publisher:03x}{number:07x}{sent:09x}~");
        debug_assert_eq!(text.len(), MARK_BYTES);
        while text.len() < size {
            text.push('x');
        }
        text
    }

    /// Reads what stands after the magic.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut at = MAGIC.len();
        let mut field = |width: usize| {
            let value = hex(&bytes[at..at + width]);
            at += width;
            value
        };
        let narrow = |value: Option<u64>| value.and_then(|value| u32::try_from(value).ok());
        let mark = Self {
            run: narrow(field(4))?,
            feed: narrow(field(5))?,
            publisher: narrow(field(3))?,
            number: narrow(field(7))?,
            sent: field(9)?,
        };
        (bytes[at] == b'~').then_some(mark)
    }
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value: u64, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

/// Finds marks; one serves any number of streams.
#[derive(Debug)]
pub(super) struct Scanner(Finder<'static>);

impl Scanner {
    pub(super) fn new() -> Self {
        Self(Finder::new(MAGIC))
    }

    /// Passes on each mark in `bytes`. Returns how many of the last bytes, at most [`MAX_TAIL`], are to be
    /// scanned again in front of what comes next.
    pub(super) fn scan(&self, bytes: &[u8], mut found: impl FnMut(Mark)) -> usize {
        let mut rest = bytes;
        while let Some(start) = self.0.find(rest) {
            rest = &rest[start..];
            if rest.len() < MARK_BYTES {
                return rest.len();
            }
            match Mark::parse(rest) {
                Some(mark) => {
                    found(mark);
                    rest = &rest[MARK_BYTES..];
                }
                None => rest = &rest[MAGIC.len()..],
            }
        }
        (1..MAGIC.len())
            .rev()
            .find(|&length| rest.ends_with(&MAGIC[..length]))
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark {
        run: 0xbeef,
        feed: 77_777,
        publisher: 63,
        number: 123_456,
        sent: 9_876_543_210,
    };

    #[test]
    fn a_payload_has_the_size_asked_for_or_what_a_mark_needs() {
        assert_eq!(MARK.payload(64).len(), 64);
        assert_eq!(MARK.payload(0).len(), MARK_BYTES);
        let largest = Mark {
            run: MAX_RUN - 1,
            feed: MAX_FEEDS - 1,
            publisher: MAX_PUBLISHERS - 1,
            number: MAX_NUMBER - 1,
            sent: (1 << 36) - 1,
        };
        assert_eq!(largest.payload(0).len(), MARK_BYTES);
    }

    /// What a stream's bytes are found to hold when they come in pieces of `size`.
    fn found_in_pieces(stream: &[u8], size: usize) -> Vec<Mark> {
        let scanner = Scanner::new();
        let (mut marks, mut tail) = (Vec::new(), Vec::new());
        for piece in stream.chunks(size) {
            tail.extend_from_slice(piece);
            let keep = scanner.scan(&tail, |mark| marks.push(mark));
            assert!(keep <= MAX_TAIL);
            tail.drain(..tail.len() - keep);
        }
        marks
    }

    #[test]
    fn a_mark_is_found_wherever_reads_cut_the_stream() {
        let second = Mark { number: 2, ..MARK };
        let stream = format!(
            "a~\r\nid: 1\ndata: {}\n\n~tb~ ~tb~no mark, nor ~tb~12~~~tb~\n\ndata: {{\"v\":\"{}\"}}\n\n~t",
            MARK.payload(40),
            second.payload(0)
        );
        for size in 1..=stream.len() {
            assert_eq!(
                found_in_pieces(stream.as_bytes(), size),
                [MARK, second],
                "{size}"
            );
        }
    }
}
