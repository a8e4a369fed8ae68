//! From a feed's name to whoever has a pattern with wildcards that matches it.

use crate::event::{Feed, Pattern};
use std::collections::{BTreeSet, HashMap};

/// Values filed under patterns, found by the names that these match.
#[derive(Debug)]
pub(super) struct Trie<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    tokens: HashMap<Box<str>, Self>,
    /// Under `*`.
    any: Option<Box<Self>>,
    /// Values whose pattern ends with `>` here.
    rest: BTreeSet<T>,
    /// Values whose pattern ends here.
    here: BTreeSet<T>,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        let root = Node::default();
        Self { root }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            tokens: HashMap::new(),
            any: None,
            rest: BTreeSet::new(),
            here: BTreeSet::new(),
        }
    }
}

impl<T: Copy + Ord> Trie<T> {
    /// Files `value` under `pattern`, where it is not filed yet.
    pub(super) fn insert(&mut self, pattern: &Pattern, value: T) {
        let mut node = &mut self.root;
        for token in pattern.tokens() {
            node = match token {
                ">" => {
                    node.rest.insert(value);
                    return;
                }
                "*" => node.any.get_or_insert_default(),
                token => node.tokens.entry(token.into()).or_default(),
            };
        }
        node.here.insert(value);
    }

    /// Takes back an `insert` of the same pattern and value.
    pub(super) fn remove(&mut self, pattern: &Pattern, value: T) {
        self.root.remove(&mut pattern.tokens(), value);
    }

    /// Calls `found` with each value that has a pattern which matches `feed`, once for each such pattern.
    pub(super) fn find(&self, feed: &Feed, found: &mut impl FnMut(T)) {
        if !self.root.is_empty() {
            self.root.find(feed.tokens(), found);
        }
    }
}

impl<T: Copy + Ord> Node<T> {
    fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.any.is_none() && self.rest.is_empty() && self.here.is_empty()
    }

    fn remove<'a>(&mut self, tokens: &mut impl Iterator<Item = &'a str>, value: T) {
        match tokens.next() {
            None => {
                self.here.remove(&value);
            }
            Some(">") => {
                self.rest.remove(&value);
            }
            Some("*") => {
                if let Some(next) = &mut self.any {
                    next.remove(tokens, value);
                    self.any.take_if(|next| next.is_empty());
                }
            }
            Some(token) => {
                if let Some(next) = self.tokens.get_mut(token) {
                    next.remove(tokens, value);
                    if next.is_empty() {
                        self.tokens.remove(token);
                    }
                }
            }
        }
    }

    fn find<'a>(
        &self,
        mut tokens: impl Iterator<Item = &'a str> + Clone,
        found: &mut impl FnMut(T),
    ) {
        let Some(token) = tokens.next() else {
            return self.here.iter().copied().for_each(found);
        };
        self.rest.iter().copied().for_each(&mut *found);
        if let Some(next) = &self.any {
            next.find(tokens.clone(), found);
        }
        if let Some(next) = self.tokens.get(token) {
            next.find(tokens, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn name(tokens: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(select(tokens), 1..5).prop_map(|tokens| tokens.join("."))
    }

    fn pattern() -> impl Strategy<Value = Pattern> {
        (name(&["a", "b", "*"]), any::<bool>()).prop_map(|(name, rest)| {
            let text = if rest { format!("{name}.>") } else { name };
            text.parse().unwrap()
        })
    }

    proptest! {
        #[test]
        fn it_finds_just_the_patterns_that_match_and_forgets_those_removed(
            kept in prop::collection::vec(pattern(), 0..12),
            gone in prop::collection::vec(pattern(), 0..12),
            feed in name(&["a", "b", "c"]),
        ) {
            let feed: Feed = feed.parse().unwrap();
            let mut trie = Trie::default();
            kept.iter().enumerate().for_each(|(i, one)| trie.insert(one, i));
            gone.iter().for_each(|one| trie.insert(one, 99));
            gone.iter().for_each(|one| trie.remove(one, 99));
            let mut found = Vec::new();
            trie.find(&feed, &mut |value| found.push(value));
            found.sort_unstable();
            let matching: Vec<usize> = (0..kept.len()).filter(|&i| kept[i].matches(&feed)).collect();
            prop_assert_eq!(found, matching);
            kept.iter().enumerate().for_each(|(i, one)| trie.remove(one, i));
            prop_assert!(trie.root.is_empty());
        }
    }
}
