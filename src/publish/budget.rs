//! How much of what is being published, and of what is being sent, may be held at once.

use crate::clients::Account;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use std::collections::HashMap;
use std::sync::Arc;

/// What part of a budget the bodies of one client may hold, where they are several.
const PARTS: usize = 4;

/// The bytes that bodies under way may hold together. Cloning it gives another handle.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    held: Mutex<Held>,
    refused: Counter,
}

/// How many bytes are held.
#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// By each client that holds any.
    clients: HashMap<Account, usize>,
}

/// What one body holds of the budget, given back when this is dropped.
#[derive(Debug)]
pub struct Share {
    budget: BodyBudget,
    account: Option<Account>,
    bytes: usize,
}

/// There is no more to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsedUp {
    /// For anyone.
    #[error(
        "what is under way holds as much as it may together, {0} bytes; nothing was stored or asked, come back later"
    )]
    All(usize),
    /// For this client.
    #[error(
        "what this client has under way holds as much as that of one client may, {0} bytes; nothing was stored or asked, come back later"
    )]
    Client(usize),
}

impl BodyBudget {
    /// A budget of `max` bytes.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Shared {
            max,
            held: Mutex::default(),
            refused: Counter::default(),
        }))
    }

    /// A share that holds nothing yet, for a body of this client. One body of a client may hold what there is, and several
    /// a quarter of the budget, so that no client keeps it from all others; what is nobody's account has no such bound.
    pub fn share(&self, account: Option<Account>) -> Share {
        Share {
            budget: self.clone(),
            account,
            bytes: 0,
        }
    }

    /// How many bytes may be held.
    pub fn max(&self) -> usize {
        self.0.max
    }

    /// How many bytes are held.
    pub fn held(&self) -> usize {
        self.0.held.lock().all
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
        let mut held = held.lock();
        let resized = held.resize(self, bytes, *max);
        match resized {
            Ok(()) => self.bytes = bytes,
            Err(_) => {
                refused.inc();
            }
        }
        resized
    }
}

impl Held {
    fn resize(&mut self, share: &Share, bytes: usize, max: usize) -> Result<(), UsedUp> {
        let others = self.all - share.bytes;
        let all = others.checked_add(bytes).filter(|all| *all <= max);
        let all = all.ok_or(UsedUp::All(max))?;
        if let Some(account) = &share.account {
            let before = self.clients.get(account).copied().unwrap_or_default();
            let others = before - share.bytes;
            if bytes > share.bytes && others > 0 && others + bytes > max / PARTS {
                return Err(UsedUp::Client(max / PARTS));
            }
            match others + bytes {
                0 => self.clients.remove(account),
                own => self.clients.insert(account.clone(), own),
            };
        }
        self.all = all;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Less is always to be had.
        let _ = self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_hold_no_more_together_than_there_is_and_give_it_back() {
        let budget = BodyBudget::new(10);
        let (mut one, mut other) = (budget.share(None), budget.share(None));
        assert_eq!((one.resize(6), other.resize(4)), (Ok(()), Ok(())));
        assert_eq!(other.resize(5), Err(UsedUp::All(10)));
        assert_eq!(other.resize(usize::MAX), Err(UsedUp::All(10)));
        assert_eq!(budget.held(), 10);
        assert_eq!((one.resize(1), other.resize(9)), (Ok(()), Ok(())));
        drop(other);
        assert_eq!((budget.held(), budget.refused().get()), (1, 2));
    }

    #[test]
    fn one_body_of_a_client_may_hold_all_and_several_a_quarter() {
        let budget = BodyBudget::new(100);
        let ann = || budget.share(Some(Account::Subject("ann".into())));
        let (mut one, mut two) = (ann(), ann());
        let mut bob = budget.share(Some(Account::Subject("bob".into())));
        assert_eq!((one.resize(90), bob.resize(10)), (Ok(()), Ok(())));
        assert_eq!(two.resize(1), Err(UsedUp::All(100)));
        assert_eq!((one.resize(20), two.resize(5)), (Ok(()), Ok(())));
        assert_eq!(two.resize(6), Err(UsedUp::Client(25)));
        assert_eq!(one.resize(21), Err(UsedUp::Client(25)));
        assert_eq!(bob.resize(75), Ok(()));
        drop(one);
        assert_eq!(two.resize(25), Ok(()));
        drop((two, bob));
        assert_eq!((budget.held(), budget.refused().get()), (0, 3));
        assert!(budget.0.held.lock().clients.is_empty());
    }
}
