//! A parser of event streams, by WHATWG HTML 9.2.6.
//!
//! Of our own, since resuming exactly hangs on what the parsers at hand leave out: that an id counts only
//! once its block has ended, the `retry:` of the stream's first block, and a bound on what is held.

use std::borrow::Cow;
use std::time::Duration;

/// The most that is held of a block that has not ended, in bytes.
const MAX_BLOCK_BYTES: usize = 256 << 20;
/// The longest time that a server can tell its clients to wait.
const MAX_RETRY: Duration = Duration::from_secs(3600);

/// An event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) kind: String,
    pub(crate) data: String,
    /// The id from which to go on after it; empty where the stream has given none.
    pub(crate) id: String,
}

/// A block that is larger than any event can be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream has a block of more than {MAX_BLOCK_BYTES} bytes")]
pub(crate) struct TooLong;

/// What has been read of one stream.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    began: bool,
    /// The last byte was a CR, which an LF may follow that belongs to it.
    after_cr: bool,
    kind: String,
    data: String,
    /// The id of the block that is being read, or else of the one before it.
    id: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Parser {
    /// Reads on, and passes on the events that have ended. The bytes may be cut anywhere.
    pub(crate) fn read(&mut self, mut bytes: &[u8], found: &mut Vec<Block>) -> Result<(), TooLong> {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            self.line
                .extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            if self.line.len() + self.data.len() > MAX_BLOCK_BYTES {
                return Err(TooLong);
            }
            let Some(end) = end else { break };
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            let mut line = std::mem::take(&mut self.line);
            found.extend(self.take(&line));
            line.clear();
            self.line = line;
        }
        Ok(())
    }

    /// The id from which to go on: that of the last block that has ended, or the last one before it that had one.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long to wait before coming back, if the stream has said so.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn take(&mut self, line: &[u8]) -> Option<Block> {
        let text = match std::mem::replace(&mut self.began, true) {
            true => line,
            false => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
        };
        if text.is_empty() {
            return self.dispatch();
        }
        let text = String::from_utf8_lossy(text);
        let (name, value) = text.split_once(':').unwrap_or((&text, ""));
        self.field(name, value.strip_prefix(' ').unwrap_or(value));
        None
    }

    /// A field without a name is a comment.
    fn field(&mut self, name: &str, value: &str) {
        match name {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                if let Ok(ms) = value.parse() {
                    self.retry = Some(Duration::from_millis(ms).min(MAX_RETRY));
                }
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Block> {
        self.last_id.clone_from(&self.id);
        let kind = std::mem::take(&mut self.kind);
        let mut data = std::mem::take(&mut self.data);
        data.pop()?; // the LF after the last line; there is none where there was no data
        let kind = match kind.is_empty() {
            true => Cow::Borrowed("message"),
            false => Cow::Owned(kind),
        };
        Some(Block {
            kind: kind.into_owned(),
            data,
            id: self.last_id.clone().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(stream: &[u8]) -> (Vec<Block>, Parser) {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        parser.read(stream, &mut found).unwrap();
        (found, parser)
    }

    fn heard(blocks: &[Block]) -> Vec<(&str, &str)> {
        blocks
            .iter()
            .map(|block| (block.kind.as_str(), block.data.as_str()))
            .collect()
    }

    #[test]
    fn the_examples_of_the_standard_are_read_as_it_says() {
        let (found, _) = parse(b"data: YHOO\ndata: +2\ndata: 10\n\n");
        assert_eq!(heard(&found), [("message", "YHOO\n+2\n10")]);

        let (found, parser) = parse(
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        );
        let expected = ["first event", "second event", " third event"];
        assert_eq!(heard(&found), expected.map(|data| ("message", data)));
        assert_eq!(parser.last_id(), Some(""));

        let (found, _) = parse(b"data\n\ndata\ndata\n\ndata:\n");
        assert_eq!(heard(&found), [("message", ""), ("message", "\n")]);

        let (found, _) = parse(b"data:test\n\ndata: test\n\n");
        assert_eq!(heard(&found), [("message", "test"), ("message", "test")]);
    }

    #[test]
    fn an_id_counts_once_its_block_has_ended_even_without_data() {
        let (found, parser) = parse(b"id: 1\ndata: a\n\nid: 2\n\nid: 3\ndata: b\n");
        assert_eq!(heard(&found), [("message", "a")]);
        assert_eq!((found[0].id.as_str(), parser.last_id()), ("1", Some("2")));
        assert_eq!(parse(b"id: 1\n\nid: a\0b\n\n").1.last_id(), Some("1"));
        assert_eq!(parse(b"data: a\n\n").1.last_id(), None);
    }

    #[test]
    fn retry_is_digits_alone_and_bounded() {
        assert_eq!(
            parse(b"retry: 1500\n").1.retry(),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(parse(b"retry: 99999999999\n").1.retry(), Some(MAX_RETRY));
        for nonsense in ["retry: 1s\n", "retry: -1\n", "retry:\n", "retry: +1\n"] {
            assert_eq!(parse(nonsense.as_bytes()).1.retry(), None, "{nonsense:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_beginning_alone() {
        let (found, _) = parse(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\ndata: c\n\n");
        assert_eq!(heard(&found), [("message", "a"), ("message", "c")]);
    }

    #[test]
    fn a_type_lasts_for_one_block_and_unknown_fields_are_passed_over() {
        let (found, _) = parse(b"event: x\n\ndata: a\n\nevent: y\nother: z\n:\ndata: b\n\n");
        assert_eq!(heard(&found), [("message", "a"), ("y", "b")]);
    }

    proptest! {
        #[test]
        fn it_is_all_the_same_where_the_bytes_are_cut(
            stream in "(data: ?|id: |event: |retry: |:|[ab1]|\r|\n|\r\n|\n\n){0,60}",
            cuts in prop::collection::vec(0usize..200, 0..8),
        ) {
            let (whole, one) = parse(stream.as_bytes());
            let mut parser = Parser::default();
            let mut found = Vec::new();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.sort_unstable();
            let mut from = 0;
            for to in cuts.into_iter().chain([stream.len()]) {
                parser.read(&stream.as_bytes()[from..to], &mut found).unwrap();
                from = to;
            }
            prop_assert_eq!(found, whole);
            prop_assert_eq!(parser.last_id(), one.last_id());
            prop_assert_eq!(parser.retry(), one.retry());
        }
    }
}
