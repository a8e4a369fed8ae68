//! Places in the log whose next message may be one that the client can't read.
//!
//! Anybody may publish a message whose headers are not UTF-8. JetStream stores it, and async-nats ends the
//! connection over it, each time that it is delivered anew: a follower would stop at it for ever. So where
//! the connection was cut twice at the same place, the message after it is fetched as JSON instead.

use parking_lot::Mutex;
use std::collections::VecDeque;

/// How many places are remembered.
const PLACES: usize = 64;
/// How many cuts make a place suspect; a single one is an ordinary outage.
const CUTS: u32 = 2;

/// Sequences after which the connection was cut, and how often.
#[derive(Debug, Default)]
pub(super) struct Suspects(Mutex<VecDeque<(u64, u32)>>);

impl Suspects {
    /// The connection was cut when the message at `sequence` was the last to have come.
    pub(super) fn cut_after(&self, sequence: u64) {
        let mut places = self.0.lock();
        if let Some((_, cuts)) = places.iter_mut().find(|(place, _)| *place == sequence) {
            *cuts += 1;
            return;
        }
        if places.len() >= PLACES {
            places.pop_front();
        }
        places.push_back((sequence, 1));
    }

    /// Whether a place from `after` on, and before `through`, is suspect.
    pub(super) fn between(&self, after: u64, through: u64) -> bool {
        let suspect =
            |&(place, cuts): &(u64, u32)| cuts >= CUTS && (after..through).contains(&place);
        self.0.lock().iter().any(suspect)
    }
}
