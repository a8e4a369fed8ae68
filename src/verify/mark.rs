//! What is in each event's data: which it is, padding, and a checksum of both.

/// What an event tells about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Tells this run's events from those of others.
    pub(super) run: u64,
    /// The publisher's number.
    pub(super) publisher: u32,
    /// The feed's number.
    pub(super) feed: u32,
    /// Which of this publisher's events on this feed it is, from 1 on.
    pub(super) number: u32,
}

impl Mark {
    /// The data of the event, with so many bytes of padding.
    ///
    /// It is no JSON, so that every server takes it for text, whatever way it is published.
    pub(super) fn data(&self, padding: usize) -> String {
        let Self {
            run,
            publisher,
            feed,
            number,
        } = self;
        let mut data = format!("verify {run:016x} {publisher} {feed} {number} ");
        data.extend((0..padding).map(|at| char::from(b'a' + (at % 26) as u8)));
        let sum = checksum(data.as_bytes());
        data.push_str(&format!(" {sum:016x}"));
        data
    }

    /// Reads data that is whole and unaltered.
    pub(super) fn parse(data: &str) -> Option<Self> {
        let (rest, sum) = data.rsplit_once(' ')?;
        if sum.len() != 16 || u64::from_str_radix(sum, 16) != Ok(checksum(rest.as_bytes())) {
            return None;
        }
        let mut words = rest.strip_prefix("verify ")?.split(' ');
        Some(Self {
            run: u64::from_str_radix(words.next()?, 16).ok()?,
            publisher: words.next()?.parse().ok()?,
            feed: words.next()?.parse().ok()?,
            number: words.next()?.parse().ok()?,
        })
    }
}

/// FNV-1a (Fowler, Noll, Vo) in 64 bits: nobody forges here, things only break.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_mark_is_read_as_it_was_written_and_not_once_a_byte_is_another(
            run in any::<u64>(), publisher in any::<u32>(), feed in any::<u32>(),
            number in any::<u32>(), padding in 0usize..100, at in any::<prop::sample::Index>(),
        ) {
            let mark = Mark { run, publisher, feed, number };
            let data = mark.data(padding);
            prop_assert_eq!(Mark::parse(&data), Some(mark));
            let mut altered = data.clone().into_bytes();
            let at = at.index(altered.len());
            altered[at] ^= 1;
            prop_assert_eq!(Mark::parse(std::str::from_utf8(&altered).unwrap()), None);
            prop_assert_eq!(Mark::parse(&data[..data.len() - 1]), None);
        }
    }
}
