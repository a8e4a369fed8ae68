//! The groups that have patterns with wildcards, and which of them a feed is for.

use super::groups::GroupId;
use super::trie::Trie;
use crate::event::{Feed, Pattern};
use hashbrown::HashMap;

/// How many bytes are remembered of which groups feeds are for; beyond that all is forgotten and asked anew.
const REMEMBERED: usize = 16 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Wildcards {
    trie: Trie<GroupId>,
    /// What was found since a pattern last came or went, so that a busy feed is not searched for at each event.
    found: HashMap<Feed, Box<[GroupId]>>,
    /// What `found` takes, about.
    bytes: usize,
}

impl Wildcards {
    pub(super) fn insert(&mut self, pattern: &Pattern, group: GroupId) {
        self.forget();
        self.trie.insert(pattern, group);
    }

    pub(super) fn remove(&mut self, pattern: &Pattern, group: GroupId) {
        self.forget();
        self.trie.remove(pattern, group);
    }

    /// The groups with a pattern that matches `feed`, each once.
    pub(super) fn groups(&mut self, feed: &Feed) -> &[GroupId] {
        if self.trie.is_empty() {
            return &[];
        }
        if self.bytes > REMEMBERED {
            self.forget();
        }
        let Self { trie, found, bytes } = self;
        found.entry(feed.clone()).or_insert_with(|| {
            let groups = search(trie, feed);
            *bytes += 2 * size_of::<(Feed, Box<[GroupId]>)>();
            *bytes += feed.as_str().len() + size_of_val(&*groups);
            groups
        })
    }

    fn forget(&mut self) {
        if self.bytes > 0 {
            self.found = HashMap::new();
            self.bytes = 0;
        }
    }
}

fn search(trie: &Trie<GroupId>, feed: &Feed) -> Box<[GroupId]> {
    let mut groups = Vec::new();
    trie.find(feed, &mut |group| groups.push(group));
    groups.sort_unstable();
    groups.dedup();
    groups.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(name: &str) -> Feed {
        name.parse().unwrap()
    }

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_found_for_a_feed_holds_until_a_pattern_comes_or_goes() {
        let mut wildcards = Wildcards::default();
        assert!(wildcards.groups(&feed("a.b")).is_empty());
        wildcards.insert(&pattern("a.*"), 1);
        wildcards.insert(&pattern("*.b"), 1);
        for _ in 0..2 {
            assert_eq!(wildcards.groups(&feed("a.b")), [1]);
        }
        wildcards.insert(&pattern(">"), 2);
        assert_eq!(wildcards.groups(&feed("a.b")), [1, 2]);
        wildcards.remove(&pattern("a.*"), 1);
        assert_eq!(wildcards.groups(&feed("a.b")), [1, 2]);
        wildcards.remove(&pattern("*.b"), 1);
        assert_eq!(wildcards.groups(&feed("a.b")), [2]);
        wildcards.remove(&pattern(">"), 2);
        assert!(wildcards.groups(&feed("a.b")).is_empty());
        assert_eq!((wildcards.found.len(), wildcards.bytes), (0, 0));
    }

    #[test]
    fn what_was_found_for_feeds_is_bounded() {
        let mut wildcards = Wildcards::default();
        (0..100).for_each(|group| wildcards.insert(&pattern(">"), group));
        let one = 100 * size_of::<GroupId>();
        for number in 0..2 * REMEMBERED / one {
            assert_eq!(wildcards.groups(&feed(&format!("a.{number}"))).len(), 100);
            assert!(wildcards.found.len() <= REMEMBERED / one);
        }
        assert!(wildcards.found.len() > 1);
    }
}
