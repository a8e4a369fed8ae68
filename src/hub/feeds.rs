//! Feed names as small numbers.

use super::groups::GroupId;
use crate::event::Feed;
use hashbrown::HashMap;
use std::collections::BTreeSet;

/// The number of a feed that the window or a reader holds.
pub(super) type FeedId = u32;

/// All feeds with an event in the window or an exact reader, and what is known of each.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    numbers: HashMap<Feed, FeedId>,
    table: Vec<Slot>,
    free: Vec<FeedId>,
    /// Counts how often a number was given to another name.
    reuses: u64,
}

/// What is known of a feed.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: Feed,
    /// Its newest event's ordinal, while `events` is more than 0.
    pub(super) newest: u64,
    /// How many of its events are in the window.
    pub(super) events: usize,
    /// The groups that name it without wildcards.
    pub(super) groups: BTreeSet<GroupId>,
}

impl Feeds {
    /// The number of a feed; a new one where it had none. To be followed by a use of it, or [`tidy`](Self::tidy).
    pub(super) fn intern(&mut self, name: &Feed) -> FeedId {
        if let Some(&id) = self.numbers.get(name) {
            return id;
        }
        let slot = Slot {
            name: name.clone(),
            newest: 0,
            events: 0,
            groups: BTreeSet::new(),
        };
        let id = if let Some(id) = self.free.pop() {
            self.reuses += 1;
            self.table[id as usize] = slot;
            id
        } else {
            self.table.push(slot);
            FeedId::try_from(self.table.len() - 1).expect("memory ends before 2^32 feeds")
        };
        self.numbers.insert(name.clone(), id);
        id
    }

    pub(super) fn get(&self, id: FeedId) -> &Slot {
        &self.table[id as usize]
    }

    pub(super) fn get_mut(&mut self, id: FeedId) -> &mut Slot {
        &mut self.table[id as usize]
    }

    /// Frees the number if nobody needs it any more.
    pub(super) fn tidy(&mut self, id: FeedId) {
        let slot = &mut self.table[id as usize];
        if slot.events == 0 && slot.groups.is_empty() {
            self.numbers.remove(&slot.name);
            self.free.push(id);
        }
    }

    /// How many feeds there are.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// All numbers are below this one.
    pub(super) fn numbers(&self) -> usize {
        self.table.len()
    }

    /// Rises whenever a number has changed its meaning: what was remembered by number is void then.
    pub(super) fn reuses(&self) -> u64 {
        self.reuses
    }
}
