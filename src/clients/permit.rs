//! What an open connection holds.

use super::Seat;
use tokio::sync::OwnedSemaphorePermit;

/// A connection's place among all that may be open, and among those of its address; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    _place: OwnedSemaphorePermit,
    _seat: Seat,
}

impl Permit {
    /// Of these two.
    pub fn new(place: OwnedSemaphorePermit, seat: Seat) -> Self {
        Self {
            _place: place,
            _seat: seat,
        }
    }
}
