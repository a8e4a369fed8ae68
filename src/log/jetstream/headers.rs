//! A block of NATS headers, as text and back to pairs.
//!
//! Read just as async-nats reads those that it delivers, so that a message is the same event however it was
//! fetched; and leniently where it would not deliver at all.

use async_nats::{HeaderMap, HeaderName, StatusCode};

const VERSION: &str = "NATS/1.0";

/// What a block of headers says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    /// Names and values, in their order.
    pub(super) pairs: Vec<(String, String)>,
    /// Whether async-nats can read the block. It ends the connection over one that it can't, or panics.
    pub(super) readable: bool,
}

impl Headers {
    /// Reads a block; an empty one is that of a message without headers.
    pub(super) fn parse(block: &[u8]) -> Self {
        let text = String::from_utf8_lossy(block);
        let mut lines = text.lines().peekable();
        let mut headers = Self {
            pairs: Vec::new(),
            readable: std::str::from_utf8(block).is_ok() && lines.next().is_none_or(is_version),
        };
        while let Some(line) = lines.next() {
            let Some((name, value)) = line.split_once(':') else {
                headers.readable &= line.is_empty();
                continue;
            };
            let mut value = value.trim_start().to_owned();
            while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
                value.push_str(more);
            }
            value.truncate(value.trim_end().len());
            headers.readable &= name.parse::<HeaderName>().is_ok() && !value.contains('\r');
            headers.pairs.push((name.to_owned(), value));
        }
        headers
    }
}

/// The version, and maybe a status and its description.
fn is_version(line: &str) -> bool {
    let Some(rest) = line.strip_prefix(VERSION).map(str::trim) else {
        return false;
    };
    let status = rest.split_once(' ').map_or(rest, |(status, _)| status);
    status.is_empty() || status.parse::<StatusCode>().is_ok()
}

/// The first value of each header that the client has read.
pub(super) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .iter()
        .filter_map(|(name, values)| Some((name.as_ref(), values.first()?.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(block: &[u8]) -> (Vec<(String, String)>, bool) {
        let headers = Headers::parse(block);
        (headers.pairs, headers.readable)
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn what_the_client_reads_is_readable() {
        for (block, pairs) in [
            (&b""[..], &[][..]),
            (b"NATS/1.0\r\n\r\n", &[]),
            (b"NATS/1.0 503 No Responders\r\nA: b\r\n\r\n", &[("A", "b")]),
            (
                b"NATS/1.0\r\nA:  b c \r\nA:d\r\n\r\n",
                &[("A", "b c"), ("A", "d")],
            ),
            (
                b"NATS/1.0\r\nA: b\r\n  c\r\nD: e\r\n\r\n",
                &[("A", "b  c"), ("D", "e")],
            ),
            (b"NATS/1.0\r\nA: caf\xc3\xa9\r\n\r\n", &[("A", "caf\u{e9}")]),
        ] {
            assert_eq!(
                parsed(block),
                (owned(pairs), true),
                "{}",
                block.escape_ascii()
            );
        }
    }

    #[test]
    fn what_it_does_not_read_is_known_and_read_as_far_as_it_goes() {
        for (block, pairs) in [
            (&b"NATS/2.0\r\nA: b\r\n\r\n"[..], &[("A", "b")][..]),
            (b"NATS/1.0 abc\r\nA: b\r\n\r\n", &[("A", "b")]),
            (b"NATS/1.0\r\nfoo\r\nA: b\r\n\r\n", &[("A", "b")]),
            (b"NATS/1.0\r\nA B: c\r\n\r\n", &[("A B", "c")]),
            (b"NATS/1.0\r\nA: b\rc\r\n\r\n", &[("A", "b\rc")]),
            (b"NATS/1.0\r\nA: \xff\r\n\r\n", &[("A", "\u{fffd}")]),
        ] {
            assert_eq!(
                parsed(block),
                (owned(pairs), false),
                "{}",
                block.escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn a_block_is_read_as_it_was_written(
            pairs in prop::collection::vec(("[A-Za-z-]{1,8}", "([!-~é]([ -~é]{0,8}[!-~é])?)?"), 0..5),
        ) {
            let lines: String = pairs.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let block = format!("NATS/1.0\r\n{lines}\r\n");
            prop_assert_eq!(parsed(block.as_bytes()), (pairs, true));
        }

        #[test]
        fn whatever_bytes_come_no_line_end_of_theirs_is_in_a_name_or_value(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"NATS/1.0\r\n: ".to_vec())], 0..80),
        ) {
            let (pairs, _) = parsed(&[b"NATS/1.0\r\n", &bytes[..]].concat());
            for (name, value) in pairs {
                prop_assert!(!name.contains(['\n', ':']) && !value.contains('\n'));
            }
        }
    }
}
