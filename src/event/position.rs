//! Positions in the log, and event ids.

use super::Timestamp;
use std::fmt;
use std::str::FromStr;

/// Letters of a check, and their number for each value: 36 to the power of 6.
const CHECK_LENGTH: usize = 6;
const CHECKS: u64 = 36u64.pow(6);

/// Where an event stands in a log: its sequence, and a check of the log's own time stamp there.
///
/// As text it is the event id, `<sequence>-<check>`, for example `48213-k3f9xq`. The check tells a log
/// from one that was re-created or rolled back and has used the same sequences for other events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    sequence: u64,
    check: u32,
}

impl Position {
    /// Before the first event of any log: `0-0`.
    pub const START: Self = Self {
        sequence: 0,
        check: 0,
    };

    /// The position of the event that the log stored at `sequence` (1 or more) at `time`.
    pub fn new(sequence: u64, time: Timestamp) -> Self {
        debug_assert!(sequence > 0);
        // The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit of the time stamp moves
        // every letter. Zero is kept for positions whose event is gone, see `before`.
        let mut mixed = time.nanos().wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let check = u32::try_from(mixed % (CHECKS - 1) + 1).expect("36^6 fits into 32 bits");
        Self { sequence, check }
    }

    /// The position just before `sequence`, where the log no longer holds the event before it.
    ///
    /// Its check is one that no event has: it holds good while the log has nothing at that place, and
    /// is found foreign by a log that has.
    pub const fn before(sequence: u64) -> Self {
        Self {
            sequence: sequence.saturating_sub(1),
            check: 0,
        }
    }

    /// Whether it has an event's check, and not that of [`before`](Self::before).
    pub const fn has_check(self) -> bool {
        self.check != 0
    }

    /// The place in the log's total order; 0 is before the first event.
    pub const fn sequence(self) -> u64 {
        self.sequence
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::START {
            return f.write_str("0-0");
        }
        let mut letters = [b'0'; CHECK_LENGTH];
        let mut rest = self.check;
        for letter in letters.iter_mut().rev() {
            *letter = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
            rest /= 36;
        }
        let check = std::str::from_utf8(&letters).map_err(|_| fmt::Error)?;
        write!(f, "{}-{check}", self.sequence)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        if text == "0-0" {
            return Ok(Self::START);
        }
        let (sequence, check) = text.split_once('-').ok_or(InvalidPosition)?;
        // `u64::from_str` would take a sign and leading zeros: one position has one text.
        let plain = sequence.bytes().all(|b| b.is_ascii_digit()) && !sequence.starts_with('0');
        let letters = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase();
        if !plain || check.len() != CHECK_LENGTH || !check.bytes().all(letters) {
            return Err(InvalidPosition);
        }
        Ok(Self {
            sequence: sequence.parse().map_err(|_| InvalidPosition)?,
            check: u32::from_str_radix(check, 36).map_err(|_| InvalidPosition)?,
        })
    }
}

/// A text that is no event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no event id, which looks like `48213-k3f9xq` or `0-0`")]
pub struct InvalidPosition;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Position> {
        let new = |(sequence, time)| Position::new(sequence, Timestamp::from_nanos(time));
        prop_oneof![
            8 => (1..=u64::MAX, any::<u64>()).prop_map(new),
            1 => (2..=u64::MAX).prop_map(Position::before),
            1 => Just(Position::START),
        ]
    }

    #[test]
    fn before_the_first_event_is_the_start() {
        assert_eq!(Position::before(0), Position::START);
        assert_eq!(Position::before(1), Position::START);
        assert_eq!(Position::START.to_string(), "0-0");
        assert_eq!(Position::before(8).to_string(), "7-000000");
    }

    /// Replicas of two versions serve the same clients while one takes the other's place.
    #[test]
    fn an_event_has_the_same_id_in_every_version() {
        for (sequence, nanos, id) in [
            (1, 0, "1-5909bw"),
            (48_213, 1_763_823_845_123_456_789, "48213-fwes91"),
            (u64::MAX, u64::MAX, "18446744073709551615-ry3eqn"),
        ] {
            let position = Position::new(sequence, Timestamp::from_nanos(nanos));
            assert_eq!(position.to_string(), id);
        }
    }

    #[test]
    fn an_id_has_one_text_alone() {
        for text in [
            "",
            "-",
            "0-0 ",
            " 0-0",
            "0",
            "1",
            "1-",
            "1-abc",
            "1-abcdefg",
            "1-ABCDEF",
            "01-abcdef",
            "+1-abcdef",
            "-1-abcdef",
            "0-abcdef",
            "0-000000",
            "00-0",
            "0-00",
            "1-abcde-",
            "1-abcdé",
            "1_abcdef",
            "１-abcdef",
            "1-abcdef\n",
            "18446744073709551616-abcdef",
        ] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text:?}");
        }
        let last = "18446744073709551615-zzzzzz";
        assert_eq!(last.parse::<Position>().unwrap().to_string(), last);
    }

    proptest! {
        #[test]
        fn an_id_is_read_as_the_position_that_it_was_printed_from(position in position()) {
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn a_text_that_is_read_as_an_id_prints_as_it_was(text in "[0-9+]{0,3}-?[0-9a-zA-Z]{0,7}|[0-9]{18,22}-[0-9a-z]{6}|\\PC{0,20}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }

        #[test]
        fn an_event_has_a_check_that_is_never_that_of_a_place_without_one(
            sequence in 1..u64::MAX, time in any::<u64>(),
        ) {
            let position = Position::new(sequence, Timestamp::from_nanos(time));
            prop_assert!(position.has_check());
            prop_assert!(!Position::before(sequence + 1).has_check());
            prop_assert_ne!(position, Position::before(sequence + 1));
            prop_assert_eq!(Position::before(sequence + 1).sequence(), sequence);
        }
    }
}
