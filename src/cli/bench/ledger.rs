//! What one reader has received: each event once, in order, or what was wrong.

/// How many numbers back a repeated event can be told from one that comes late.
const MEMORY: u32 = u64::BITS;

/// What one event turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// New, and after all that came before.
    InOrder,
    /// New, but after one that was published later.
    Late,
    /// Received before.
    Duplicate,
}

/// The events of one publisher on one feed.
#[derive(Clone, Copy, Debug, Default)]
struct Track {
    /// The highest number received; 0 before the first.
    last: u32,
    /// Which of the numbers up to it were received: bit 0 is the highest itself.
    received: u64,
}

impl Track {
    fn note(&mut self, number: u32) -> Kind {
        if number > self.last {
            let ahead = number - self.last;
            self.received = self.received.checked_shl(ahead).unwrap_or(0) | 1;
            self.last = number;
            return Kind::InOrder;
        }
        let back = self.last - number;
        // Of what lies further back no more is known: it is late at best.
        if back >= MEMORY || self.received & (1 << back) != 0 {
            return Kind::Duplicate;
        }
        self.received |= 1 << back;
        Kind::Late
    }
}

/// One reader's tracks, by their place among what it reads.
#[derive(Debug)]
pub(super) struct Ledger {
    tracks: Box<[Track]>,
    /// Different events received.
    pub(super) received: u32,
}

impl Ledger {
    pub(super) fn new(tracks: usize) -> Self {
        Self {
            tracks: vec![Track::default(); tracks].into(),
            received: 0,
        }
    }

    /// Notes an event. `None` where there is no such track.
    pub(super) fn note(&mut self, track: usize, number: u32) -> Option<Kind> {
        let kind = self.tracks.get_mut(track)?.note(number);
        self.received += u32::from(kind != Kind::Duplicate);
        Some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(numbers: &[u32]) -> (Vec<Kind>, u32) {
        let mut ledger = Ledger::new(2);
        let kinds = numbers
            .iter()
            .map(|&number| ledger.note(1, number).unwrap())
            .collect();
        (kinds, ledger.received)
    }

    #[test]
    fn events_in_order_are_each_received_once() {
        assert_eq!(kinds(&[1, 2, 3]), (vec![Kind::InOrder; 3], 3));
    }

    #[test]
    fn a_hole_is_no_violation_and_what_fills_it_is_late() {
        use Kind::{Duplicate, InOrder, Late};
        let (kinds, received) = kinds(&[1, 4, 2, 2, 3, 5, 4]);
        assert_eq!(
            kinds,
            [InOrder, InOrder, Late, Duplicate, Late, InOrder, Duplicate]
        );
        assert_eq!(received, 5);
    }

    #[test]
    fn what_lies_too_far_back_counts_as_a_duplicate() {
        assert_eq!(kinds(&[100, 37, 36]).0[1..], [Kind::Late, Kind::Duplicate]);
        assert_eq!(kinds(&[2, 1000, 2]).0[2], Kind::Duplicate);
    }

    #[test]
    fn tracks_do_not_touch_each_other() {
        let mut ledger = Ledger::new(2);
        assert_eq!(ledger.note(0, 1), Some(Kind::InOrder));
        assert_eq!(ledger.note(1, 1), Some(Kind::InOrder));
        assert_eq!(ledger.note(2, 1), None);
    }
}
