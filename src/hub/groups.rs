//! Readers with the same patterns, as one group that shares their work.

use super::bell::Bell;
use super::feeds::{FeedId, Feeds};
use super::trie::NODES_BYTES;
use super::wildcards::Wildcards;
use crate::event::{Feed, Pattern, Patterns};
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use slab::Slab;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The number of a group that has members.
pub(super) type GroupId = usize;

/// How many of its newest matches a group remembers, so that its live readers need not search for them.
const RECENT: usize = 64;
/// How many bytes all groups together remember of the feeds that they match; beyond that each search asks anew.
const REMEMBERED: usize = 16 << 20;

/// All groups, found by their patterns and by the feeds that these match.
#[derive(Debug, Default)]
pub(super) struct Groups {
    numbers: HashMap<Patterns, GroupId>,
    table: Slab<Group>,
    wildcards: Wildcards,
    /// What the patterns of all groups take.
    pattern_bytes: usize,
    remembered: Arc<AtomicUsize>,
}

/// The readers of one set of patterns.
#[derive(Debug)]
pub(super) struct Group {
    patterns: Patterns,
    members: usize,
    /// The one feed that it is about, if its patterns are a single name.
    pub(super) single: Option<FeedId>,
    /// The ordinals of its newest matches: of all that are not before `recent_from`.
    recent: VecDeque<u64>,
    recent_from: u64,
    matches: Mutex<Matches>,
    /// Rung when something for its members has come.
    pub(super) bell: Arc<Bell>,
}

/// An event to be noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted {
    pub(super) ordinal: u64,
    /// The ordinal from which on bells have been gathered.
    pub(super) since: u64,
}

/// Which feeds a group has been found to match, by number: one byte each.
#[derive(Debug)]
struct Matches {
    reuses: u64,
    known: Vec<Option<bool>>,
    /// What all groups have in `known`.
    remembered: Arc<AtomicUsize>,
}

impl Groups {
    /// Adds a member to the group of these patterns. `now` is the ordinal that the next event will have.
    pub(super) fn join(&mut self, patterns: &Patterns, feeds: &mut Feeds, now: u64) -> GroupId {
        if let Some(&id) = self.numbers.get(patterns) {
            self.table[id].members += 1;
            return id;
        }
        let id = self.table.insert(Group {
            patterns: patterns.clone(),
            members: 1,
            single: patterns.single().map(|feed| feeds.intern(&feed)),
            recent: VecDeque::new(),
            recent_from: now,
            matches: Mutex::new(Matches::new(self.remembered.clone())),
            bell: Arc::default(),
        });
        for pattern in patterns.iter() {
            match pattern.exact() {
                Some(feed) => {
                    let feed = feeds.intern(&feed);
                    feeds.get_mut(feed).groups.insert(id);
                }
                None => self.wildcards.insert(pattern, id),
            }
        }
        self.numbers.insert(patterns.clone(), id);
        self.pattern_bytes += pattern_bytes(patterns);
        id
    }

    pub(super) fn add_member(&mut self, id: GroupId) {
        self.table[id].members += 1;
    }

    /// Takes a member away; the last one takes the group with it.
    pub(super) fn leave(&mut self, id: GroupId, feeds: &mut Feeds) {
        self.table[id].members -= 1;
        if self.table[id].members > 0 {
            return;
        }
        let group = self.table.remove(id);
        self.numbers.remove(&group.patterns);
        self.pattern_bytes -= pattern_bytes(&group.patterns);
        for pattern in group.patterns.iter() {
            self.unfile(pattern, id, feeds);
        }
    }

    fn unfile(&mut self, pattern: &Pattern, id: GroupId, feeds: &mut Feeds) {
        let Some(feed) = pattern.exact() else {
            return self.wildcards.remove(pattern, id);
        };
        let feed = feeds.intern(&feed);
        feeds.get_mut(feed).groups.remove(&id);
        feeds.tidy(feed);
    }

    pub(super) fn get(&self, id: GroupId) -> &Group {
        &self.table[id]
    }

    /// Notes an event on `feed` with each group that matches it, and adds the group's bell to `bells` unless
    /// it is there already.
    pub(super) fn note(
        &mut self,
        noted: Noted,
        feed: &Feed,
        exact: &BTreeSet<GroupId>,
        bells: &mut Vec<Arc<Bell>>,
    ) {
        let Self {
            table, wildcards, ..
        } = self;
        let mut note = |id: GroupId| {
            let group: &mut Group = &mut table[id];
            let last = group.recent.back().copied();
            if last == Some(noted.ordinal) {
                return; // by another of its patterns
            }
            group.note(noted.ordinal);
            if last.is_none_or(|last| last < noted.since) {
                bells.push(group.bell.clone());
            }
        };
        exact.iter().copied().for_each(&mut note);
        wildcards.groups(feed).iter().copied().for_each(note);
    }

    /// Forgets all matches: the ordinals from `now` on will be used for other events.
    pub(super) fn forget_matches(&mut self, now: u64) {
        for (_, group) in &mut self.table {
            group.recent.clear();
            group.recent_from = now;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes of the patterns of all groups, and of what finds them, about.
    pub(super) fn pattern_bytes(&self) -> usize {
        self.pattern_bytes
    }

    /// The bells of all groups.
    pub(super) fn bells(&self) -> Vec<Arc<Bell>> {
        self.table
            .iter()
            .map(|(_, group)| group.bell.clone())
            .collect()
    }
}

fn pattern_bytes(patterns: &Patterns) -> usize {
    let fixed = 2 * size_of::<Pattern>() + NODES_BYTES; // in the set, and before its text
    patterns
        .iter()
        .map(|pattern| pattern.as_str().len() + fixed)
        .sum()
}

impl Group {
    fn note(&mut self, ordinal: u64) {
        if self.recent.len() == RECENT
            && let Some(oldest) = self.recent.pop_front()
        {
            self.recent_from = oldest + 1;
        }
        self.recent.push_back(ordinal);
    }

    /// The ordinals of its matches from `start` on, if it remembers them all.
    pub(super) fn recent(&self, start: u64) -> Option<impl Iterator<Item = u64> + '_> {
        if start < self.recent_from {
            return None;
        }
        let skip = self.recent.partition_point(|&ordinal| ordinal < start);
        Some(self.recent.range(skip..).copied())
    }

    /// Asks its patterns about feeds, once for each feed.
    pub(super) fn matcher<'a>(&'a self, feeds: &'a Feeds) -> Matcher<'a> {
        let mut matches = self.matches.lock();
        if matches.reuses != feeds.reuses() {
            matches.reuses = feeds.reuses();
            matches.resize(0);
        }
        matches.resize(feeds.numbers());
        Matcher {
            patterns: &self.patterns,
            feeds,
            matches,
        }
    }
}

impl Matches {
    fn new(remembered: Arc<AtomicUsize>) -> Self {
        Self {
            reuses: 0,
            known: Vec::new(),
            remembered,
        }
    }

    fn resize(&mut self, feeds: usize) {
        self.remembered.fetch_sub(self.known.len(), Relaxed);
        self.known.resize(feeds, None);
        self.remembered.fetch_add(feeds, Relaxed);
    }
}

impl Drop for Matches {
    fn drop(&mut self) {
        self.resize(0);
    }
}

/// See [`Group::matcher`].
pub(super) struct Matcher<'a> {
    patterns: &'a Patterns,
    feeds: &'a Feeds,
    matches: MutexGuard<'a, Matches>,
}

impl Drop for Matcher<'_> {
    fn drop(&mut self) {
        if self.matches.remembered.load(Relaxed) > REMEMBERED {
            self.matches.resize(0);
            self.matches.known.shrink_to_fit();
        }
    }
}

impl Matcher<'_> {
    pub(super) fn matches(&mut self, id: FeedId) -> bool {
        let known = &mut self.matches.known[id as usize];
        *known.get_or_insert_with(|| self.patterns.matches(&self.feeds.get(id).name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_groups_remember_of_feeds_is_bounded_for_all_together() {
        const FEEDS: usize = 100_000;
        let mut feeds = Feeds::default();
        for number in 0..FEEDS {
            feeds.intern(&format!("a.{number}").parse().unwrap());
        }
        let mut groups = Groups::default();
        let patterns =
            |number| Patterns::new(vec![format!("a.*.{number}").parse().unwrap()], 1).unwrap();
        let ids: Vec<_> = (0..500)
            .map(|number| groups.join(&patterns(number), &mut feeds, 0))
            .collect();
        for &id in &ids {
            assert!(!groups.get(id).matcher(&feeds).matches(7));
            assert!(groups.remembered.load(Relaxed) <= REMEMBERED);
        }
        assert!(groups.remembered.load(Relaxed) > REMEMBERED - FEEDS);
        assert!(groups.pattern_bytes() > ids.len() * "a.*.0".len());
        ids.iter().for_each(|&id| groups.leave(id, &mut feeds));
        assert_eq!(groups.remembered.load(Relaxed), 0);
        assert_eq!(groups.pattern_bytes(), 0);
    }
}
