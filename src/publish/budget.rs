//! How much of what is being published, and of what is being sent, may be held at once.

use prometheus_client::metrics::counter::Counter;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The bytes that bodies under way may hold together. Cloning it gives another handle.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    held: AtomicUsize,
    refused: Counter,
}

/// What one body holds of the budget, given back when this is dropped.
#[derive(Debug)]
pub struct Share {
    budget: BodyBudget,
    bytes: usize,
}

/// There is no more to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "what is under way holds as much as it may together, {0} bytes; nothing was stored or asked, come back later"
)]
pub struct UsedUp(pub usize);

impl BodyBudget {
    /// A budget of `max` bytes.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Shared {
            max,
            held: AtomicUsize::new(0),
            refused: Counter::default(),
        }))
    }

    /// A share that holds nothing yet.
    pub fn share(&self) -> Share {
        Share {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// How many bytes may be held.
    pub fn max(&self) -> usize {
        self.0.max
    }

    /// How many bytes are held.
    pub fn held(&self) -> usize {
        self.0.held.load(Relaxed)
    }

    /// How often it was used up.
    pub fn refused(&self) -> &Counter {
        &self.0.refused
    }
}

impl Share {
    /// Holds so many bytes from now on, more or fewer than before.
    pub fn resize(&mut self, bytes: usize) -> Result<(), UsedUp> {
        let Shared { max, held, refused } = &*self.budget.0;
        let others_and = |held: usize| (held - self.bytes).checked_add(bytes);
        let resized = held.try_update(Relaxed, Relaxed, |held| {
            others_and(held).filter(|sum| *sum <= *max)
        });
        if resized.is_err() {
            refused.inc();
            return Err(UsedUp(*max));
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.held.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_hold_no_more_together_than_there_is_and_give_it_back() {
        let budget = BodyBudget::new(10);
        let (mut one, mut other) = (budget.share(), budget.share());
        assert_eq!((one.resize(6), other.resize(4)), (Ok(()), Ok(())));
        assert_eq!(other.resize(5), Err(UsedUp(10)));
        assert_eq!(other.resize(usize::MAX), Err(UsedUp(10)));
        assert_eq!(budget.held(), 10);
        assert_eq!((one.resize(1), other.resize(9)), (Ok(()), Ok(())));
        drop(other);
        assert_eq!((budget.held(), budget.refused().get()), (1, 2));
    }
}
